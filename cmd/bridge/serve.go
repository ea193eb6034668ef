package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/webhook-bridge/bridge/internal/config"
)

// serve runs the server until ctx is done.
func serve(ctx context.Context, env environment, args []string) error {
	cfg, err := configFrom("serve", env, args)
	if err != nil {
		return err
	}
	log := newLogger(env.stderr, cfg.Log)
	a, err := openApp(ctx, cfg, log)
	if err != nil {
		return err
	}
	return a.run(ctx)
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
