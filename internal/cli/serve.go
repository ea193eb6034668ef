package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/daemon"
	"github.com/webhook-bridge/bridge/internal/handover"
)

// The collector's settings, unless GOGC or GOMEMLIMIT say otherwise. Little of what is live survives a webhook, so that
// collecting at four times the live heap takes a fifth off the cost of a webhook; the limit keeps large bodies from
// making the heap as large as that would allow.
const (
	gcPercent   = 400
	memoryLimit = 160 << 20
)

func serveCommand(env environment) *cobra.Command {
	var file string
	var acceptLoss bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Receive webhooks, and serve their events to subscribers and sinks",
		Long: `Receive webhooks, store them and their events in the journal, and serve the events to subscribers and sinks.

SIGINT or SIGTERM ends the server in order; a second one, a second later or more, ends it at once. SIGHUP reads the
configuration again, with secrets and certificates, and applies it whole or not at all, as bridge reload does. SIGUSR2 starts the program's file again, and hands the sockets and the journal over to it: no request is refused.
Sockets from systemd are used for the listeners that they are named after.`,
		Example: "  bridge serve -c bridge.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tuneCollector(env)
			return serve(cmd.Context(), env, file, acceptLoss)
		},
	}
	configFlag(cmd.Flags(), &file)
	cmd.Flags().BoolVar(&acceptLoss, "accept-loss", false,
		"start although the disk lost data that were confirmed, and record the loss; see docs/operating.md")
	return cmd
}

// serve serves until ctx is done, or a successor has taken over.
func serve(ctx context.Context, env environment, file string, acceptLoss bool) error {
	sockets, predecessor, err := handover.Inherit(daemon.Listeners)
	if err != nil {
		return err
	}
	defer func() { _ = sockets.Close() }()
	cfg, err := loadConfig(file, env)
	if err != nil {
		return err
	}
	if acceptLoss && cfg.Journal.Postgres != nil {
		return &usageError{"--accept-loss is for the folder of journal.dir: what a database lost, its own tools restore; see docs/scaling.md#backup"}
	}
	cfg.Journal.AcceptLoss = acceptLoss
	hangups, handovers := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // from here on it does not end the program
	defer signal.Stop(hangups)
	notifyHandover(handovers)
	defer signal.Stop(handovers)
	log := newLogger(env.stderr, cfg.Log)
	if err := preflight(ctx, env, cfg, log); err != nil {
		return err
	}
	place := daemon.Place{Sockets: sockets}
	if predecessor != nil {
		place.Predecessor = predecessor
	}
	var current atomic.Pointer[daemon.Server]
	watched, stopWatch := context.WithCancel(context.WithoutCancel(ctx)) // a shutdown is watched, too
	defer stopWatch()
	go feedWatchdog(watched, &current)
	for again := false; ; again = true {
		var err error
		cfg, err = serveOnce(ctx, env, cfg, place, again, &current, hangups, handovers, log)
		if !errors.Is(err, daemon.ErrTakeBack) {
			return err
		}
		if ctx.Err() != nil {
			return nil // Both processes were told to end.
		}
		place.Predecessor = nil
	}
}

// reopenPause is how long to wait before the server is opened once more after a hand-over that failed.
const reopenPause = time.Second

// serveOnce opens the server and runs it. again says that a successor failed: what it failed at, a database that is away for example, may
// also keep this process from opening. Then it tries until it can, because requests wait on its sockets.
// It returns the configuration that was in effect last.
func serveOnce(
	ctx context.Context, env environment, cfg *config.Config, place daemon.Place, again bool, current *atomic.Pointer[daemon.Server],
	hangups, handovers <-chan os.Signal, log *slog.Logger,
) (*config.Config, error) {
	a, err := daemon.Open(ctx, cfg, env.plugins, place, log)
	for err != nil && again && ctx.Err() == nil {
		log.Error("the server cannot be opened again; trying again", "error", err)
		select {
		case <-time.After(reopenPause):
		case <-ctx.Done():
		}
		a, err = daemon.Open(ctx, cfg, env.plugins, place, log)
	}
	if errors.Is(err, daemon.ErrAcceptableLoss) && !cfg.Journal.AcceptLoss {
		return cfg, fmt.Errorf("%w\nNothing was changed. Put the missing files back, or restore a backup. bridge verify %s shows what is left.\n"+
			"bridge serve --accept-loss starts without the lost data, and records the loss", err, cfg.Journal.Dir)
	}
	if err != nil {
		return cfg, err
	}
	current.Store(a)
	defer current.Store(nil)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go callOn(running, hangups, a.Reload)
	go callOn(running, handovers, func() {
		program, err := handover.Self()
		if err == nil {
			err = a.HandOver(running, program)
		}
		if err != nil {
			log.Error("no hand-over; this process goes on", "error", err)
		}
	})
	// The start does not wait for name servers.
	go logFindings(log, func() []daemon.Finding { return env.plugins.Preflight(running, cfg, daemon.Probes{Lookups: true}) })
	err = a.Run(ctx)
	return a.Config(), err
}

// feedWatchdog tells the service manager again and again that this process is alive, if the manager asks for that. It stops telling while a
// server does not answer.
func feedWatchdog(ctx context.Context, current *atomic.Pointer[daemon.Server]) {
	limit := handover.Watchdog()
	if limit == 0 {
		return
	}
	tick := time.NewTicker(limit / 3)
	defer tick.Stop()
	for {
		if server := current.Load(); server != nil {
			server.Alive()
		}
		handover.Notify(handover.AliveState)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// preflight refuses a start that must fail, with all reasons, and logs what will not work.
func preflight(ctx context.Context, env environment, cfg *config.Config, log *slog.Logger) error {
	findings := env.plugins.Preflight(ctx, cfg, daemon.Probes{Files: true})
	refused := slices.ContainsFunc(findings, func(f daemon.Finding) bool { return f.Severity == daemon.Refusal })
	if refused {
		printFindings(env.stderr, findings, daemon.Refusal)
		return &reportedError{exitUsage}
	}
	logFindings(log, func() []daemon.Finding { return findings })
	return nil
}

// logFindings logs findings as warnings.
func logFindings(log *slog.Logger, find func() []daemon.Finding) {
	for _, f := range find() {
		log.Warn("configuration", "key", f.Path, "problem", f.Reason)
	}
}

// callOn calls a function for each signal until ctx is done.
func callOn(ctx context.Context, signals <-chan os.Signal, call func()) {
	for {
		select {
		case <-signals:
			call()
		case <-ctx.Done():
			return
		}
	}
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
