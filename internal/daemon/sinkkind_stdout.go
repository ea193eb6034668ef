package daemon

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/stdout"
)

// StdoutSink is the kind of sink that prints events to the standard output, out.
func StdoutSink(out *os.File) SinkKind {
	output := stdout.New(out)
	return SinkKind{
		Name:     "stdout",
		Describe: func(config.Sink) string { return "the standard output" },
		Open: func(_ context.Context, _ config.Sink, from sinks.Origin) (sinks.Sink, error) {
			// Without this, the program would end when the reader of its output does.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			return output.Open(from), nil
		},
	}
}
