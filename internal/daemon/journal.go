package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/journal/postgres"
	"github.com/webhook-bridge/bridge/sinks"
)

// ErrAcceptableLoss is [journal.ErrAcceptableLoss]: [Open] returns it if the disk lost what was confirmed, and the server can
// start without it.
var ErrAcceptableLoss = journal.ErrAcceptableLoss

// openJournal opens the journal's engine, and returns how it is backed up: nil where the database's own tools do that. No other part
// of the program knows the engine.
func openJournal(
	ctx context.Context, cfg *config.Config, log *slog.Logger, metrics prometheus.Registerer,
) (journal.Journal, admin.Backup, error) {
	if cfg.Journal.Postgres != nil {
		j, err := postgres.Open(ctx, postgresConfig(cfg, log, metrics))
		if err != nil {
			return nil, nil, err
		}
		return j, nil, nil
	}
	return openFolder(ctx, cfg, log, metrics)
}

func openFolder(
	ctx context.Context, cfg *config.Config, log *slog.Logger, metrics prometheus.Registerer,
) (journal.Journal, admin.Backup, error) {
	name, _ := os.Hostname() // a host without a name has a replica without one
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
		Name:       name,
		Version:    Version(),
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

func postgresConfig(cfg *config.Config, log *slog.Logger, metrics prometheus.Registerer) postgres.Config {
	p := cfg.Journal.Postgres
	return postgres.Config{
		URL:          p.URL.Reveal(),
		Schema:       p.Schema,
		ReplicatedBy: postgres.Replication(p.ReplicatedBy),
		Replica:      p.Replica,
		Version:      Version(),
		Retention: postgres.Retention{
			Age:           cfg.Journal.Age,
			Size:          cfg.Journal.Size,
			QuarantineAge: cfg.Journal.QuarantineAge,
			ParkedAge:     cfg.Journal.ParkedAge,
		},
		Logger:     log,
		Registerer: metrics,
	}
}

// VerifyJournal reads everything in a journal's folder that no server has open, and calls report for everything that is wrong,
// with its place. It returns a summary, in lines, and whether anything is wrong.
func VerifyJournal(ctx context.Context, dir string, report func(problem string)) (summary []string, damaged bool, err error) {
	v, err := pebble.Verify(ctx, pebble.Config{Dir: dir}, report)
	if err != nil {
		return nil, false, err
	}
	if v.ID != "" {
		summary = append(summary, fmt.Sprintf("journal %s: positions %d to %d", v.ID, v.Bounds.Earliest, v.Bounds.Next-1))
	}
	for _, kind := range slices.Sorted(maps.Keys(v.Records)) {
		summary = append(summary, fmt.Sprintf("%12d %s", v.Records[kind], kind))
	}
	summary = append(summary, fmt.Sprintf("%12d bytes of records, %d files of tables and log", v.Bytes, v.Files))
	if v.LostCommits > 0 || v.LostEvents > 0 {
		summary = append(summary, fmt.Sprintf("%12d commits and %d events were lost before; an operator accepted that", v.LostCommits, v.LostEvents))
	}
	return summary, v.Damaged(), nil
}

// JournalFormats returns the program's formats.
func JournalFormats() Formats { return Formats{Folder: pebble.Format, Postgres: postgres.Format} }
