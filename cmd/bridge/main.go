// Command bridge turns vendors' webhooks into one durable stream of typed, canonical events.
package main

import "github.com/webhook-bridge/bridge"

func main() { bridge.Main(plugins()) }
