// Package cli has the program's commands. [Run] finds the command that the arguments name, runs it and returns the exit code.
//
// Three sorts of commands are here, one file each:
//
//   - Commands that talk to a server: tail by the subscription service; webhooks, quarantine, retranslate and drift by the
//     operator's service (operator.go, client.go); send and simulate as a vendor does, by HTTP.
//   - Commands that need no server: check, connectors list, describe and sample, version.
//   - Commands that are a server: serve, and demo, which starts one, sends it webhooks and shows the events.
//
// Each file makes its commands for cobra: [rootCommand] has them all, in groups. flags.go defines each flag that several commands have,
// once. A command has nothing but its arguments, its environment and the plug-ins of the program. It reads no global state.
//
// Not in this package: the server itself (internal/daemon), the engine of simulate (internal/simulate), and the list of connectors
// and sinks (cmd/bridge/plugins.go).
package cli
