// Package bridge is the program Bridge as a library: command bridge is built from it, and so is a program of your own that has
// other connectors and sinks.
//
//	func main() {
//		bridge.Main(bridge.Plugins{
//			Connectors: []*connectors.Connector{acme.New(), retino.New()},
//			Sinks:      []bridge.SinkKind{bridge.FileSink(), bridge.KafkaSink()},
//		})
//	}
//
// Such a program has all commands of Bridge. Package connectors is the contract of a connector, package connectortest its tests.
// Bridge's own connectors are packages below connectors; cmd/bridge/plugins.go lists all of them. docs/examples/own-connector is
// a whole module to begin from.
package bridge

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/cli"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

// Plugins are the connectors and the kinds of sinks that a program has. No two connectors, and no two kinds of sinks, have the
// same name.
type Plugins struct {
	Connectors []*connectors.Connector
	Sinks      []SinkKind
}

// SinkKind is a kind of sink. A configuration may have any number of sinks of a kind.
type SinkKind struct{ kind daemon.SinkKind }

// FileSink is the kind of sink that appends events to files, with the key `file` in the configuration.
func FileSink() SinkKind { return SinkKind{daemon.FileSink()} }

// KafkaSink is the kind of sink that writes events to topics of Apache Kafka, with the key `kafka` in the configuration.
func KafkaSink() SinkKind { return SinkKind{daemon.KafkaSink()} }

// PostgresSink is the kind of sink that writes events and the current state to tables of PostgreSQL, with the key `postgres` in the
// configuration.
func PostgresSink() SinkKind { return SinkKind{daemon.PostgresSink()} }

// NATSSink is the kind of sink that publishes events to streams of NATS JetStream, with the key `nats` in the configuration.
func NATSSink() SinkKind { return SinkKind{daemon.NATSSink()} }

// AMQPSink is the kind of sink that publishes events to RabbitMQ, with the key `amqp` in the configuration.
func AMQPSink() SinkKind { return SinkKind{daemon.AMQPSink()} }

// RedisSink is the kind of sink that appends events to streams of Redis, with the key `redis` in the configuration.
func RedisSink() SinkKind { return SinkKind{daemon.RedisSink()} }

// WebhookSink is the kind of sink that sends events as HTTP requests, with the key `webhook` in the configuration.
func WebhookSink() SinkKind { return SinkKind{daemon.WebhookSink()} }

// StdoutSink is the kind of sink that prints events to the standard output, with the key `stdout` in the configuration. A
// configuration has at most one.
func StdoutSink() SinkKind { return SinkKind{daemon.StdoutSink(os.Stdout)} }

// S3Sink is the kind of sink that writes events as objects to S3, with the key `s3` in the configuration.
func S3Sink() SinkKind { return SinkKind{daemon.S3Sink()} }

// Environment is the part of the process that commands use.
type Environment struct {
	// LookupEnv finds environment variables, as [os.LookupEnv] does.
	LookupEnv      func(string) (string, bool)
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs the command that args name, such as "serve", "-c", "bridge.yaml", and returns the process's exit code. It returns when
// the command ends; when ctx is done, the command shuts down in order.
func Run(ctx context.Context, plugins Plugins, args []string, env Environment) int {
	inner := daemon.Plugins{Connectors: plugins.Connectors}
	for _, s := range plugins.Sinks {
		inner.Sinks = append(inner.Sinks, s.kind)
	}
	return cli.Run(ctx, inner, args, cli.Environment(env))
}

// exitInterrupted is the exit code after a second signal: the shutdown was not waited for.
const exitInterrupted = 130

// sameSignal is how long signals after the first one are taken for the same one: timeout and process managers signal the
// process and then its group, which it is in.
const sameSignal = time.Second

// Main is the whole main function of a program: it runs the command line and exits. SIGINT and SIGTERM shut down in order; a second
// signal, a second later or more, ends the program at once.
func Main(plugins Plugins) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go obey(signals, cancel, func() { os.Exit(exitInterrupted) })
	os.Exit(Run(ctx, plugins, os.Args[1:], Environment{
		LookupEnv: os.LookupEnv,
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
	}))
}

// obey calls stop, for an orderly end, at the first signal, and abort at another one that comes [sameSignal] later or more.
func obey(signals <-chan os.Signal, stop, abort func()) {
	<-signals
	first := time.Now()
	stop()
	for range signals {
		if time.Since(first) >= sameSignal {
			abort()
			return
		}
	}
}
