package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"golang.org/x/term"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

// The collector's settings, unless GOGC or GOMEMLIMIT say otherwise. Little of what is live survives a webhook, so that
// collecting at four times the live heap takes a fifth off the cost of a webhook; the limit keeps large bodies from
// making the heap as large as that would allow.
const (
	gcPercent   = 400
	memoryLimit = 160 << 20
)

// serve runs the server until ctx is done.
func serve(ctx context.Context, env environment, args []string) error {
	tuneCollector(env)
	cfg, err := configFrom("serve", env, args)
	if err != nil {
		return err
	}
	log := newLogger(env.stderr, cfg.Log)
	a, err := daemon.Open(ctx, cfg, env.plugins, log)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func tuneCollector(env environment) {
	if _, set := env.lookup("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	if _, set := env.lookup("GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// newLogger returns the program's logger: text for people, JSON for programs.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	format := c.Format
	if format == "" {
		format = "json"
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			format = "text"
		}
	}
	options := &slog.HandlerOptions{Level: c.Level}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
