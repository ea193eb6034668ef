// Command own-bridge is Bridge with the connector of a vendor that Bridge does not know, and with two of Bridge's own.
package main

import (
	"github.com/webhook-bridge/bridge"
	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/retino"

	"example.com/own-connector/parcelino"
)

func main() { bridge.Main(plugins()) }

// plugins lists the connectors and the kinds of sinks of this program. cmd/bridge/plugins.go lists all that Bridge has.
func plugins() bridge.Plugins {
	return bridge.Plugins{
		Connectors: []*connectors.Connector{
			kasafik.New(),
			parcelino.New(),
			retino.New(),
		},
		Sinks: []bridge.SinkKind{
			bridge.FileSink(),
			bridge.KafkaSink(),
		},
	}
}
