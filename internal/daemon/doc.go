// Package daemon is the server: `bridge serve`, and the server inside `bridge demo`.
//
// [Open] opens the parts in the order of their dependencies: the journal, intake, the edge, the sinks, the alerts, then the
// listeners, with the vendors' listener last. [Server.Run] serves until its context is done, then shuts down in the order of
// [Server.shutdown]: vendors first, so that each accepted webhook is answered, and the journal last.
//
// In this package are the parts that only a server has: listeners and their TLS, bearer-token authentication, the operations
// endpoint, the collectors that read metrics, the wiring of alerts and sinks, and wire.go, which tells each package its part of the
// configuration. [Plugins] are the connectors and kinds of sinks that the program has; main hands them in.
//
// Not in this package: the commands and what they print (internal/cli), the reading of the configuration (internal/config), and
// every decision about a webhook or an event (internal/ingress, internal/intake, internal/journal, internal/dispatch).
package daemon
