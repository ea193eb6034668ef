package daemon

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
)

// openJournal opens the journal's engine, and returns how it is backed up. No other part of the program knows the engine.
func openJournal(
	ctx context.Context, cfg *config.Config, log *slog.Logger, metrics prometheus.Registerer,
) (journal.Journal, admin.Backup, error) {
	j, err := pebble.Open(ctx, pebble.Config{
		Dir: cfg.Journal.Dir,
		Retention: pebble.Retention{
			Age:           cfg.Journal.Age,
			Size:          cfg.Journal.Size,
			QuarantineAge: cfg.Journal.QuarantineAge,
			ParkedAge:     cfg.Journal.ParkedAge,
		},
		MinFree:    uint64(max(cfg.Journal.MinFree, 0)),
		Logger:     log,
		Registerer: metrics,
		AcceptLoss: cfg.Journal.AcceptLoss,
	})
	if err != nil {
		return nil, nil, err
	}
	backup := func(ctx context.Context, dir string) (sinks.Position, uint64, error) {
		b, err := j.Backup(ctx, dir)
		return b.Position, b.Bytes, err
	}
	return j, backup, nil
}
