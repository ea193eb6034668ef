package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// ensurePartitions makes the partitions for positions up to a given one and for webhooks that were received on certain days, where they
// are missing.
func (j *Journal) ensurePartitions(ctx context.Context, upTo sinks.Position, days []time.Time) error {
	size := j.cfg.eventsPerPartition
	last := int64(upTo) / size
	for n := max(last-1, 0); n <= last+1; n++ {
		text := fmt.Sprintf("create table if not exists bridge.event_%d partition of bridge.event for values from (%d) to (%d)",
			n, n*size, (n+1)*size)
		if _, err := j.pool.Exec(ctx, j.sql(text)); err != nil && code(err) != "42P07" {
			return err
		}
	}
	for _, day := range days {
		for _, table := range []string{"webhook", "quarantined"} {
			text := fmt.Sprintf("create table if not exists bridge.%s_%s partition of bridge.%s for values from ('%s') to ('%s')",
				table, day.Format("20060102"), table, journal.IDAt(day), journal.IDAt(day.AddDate(0, 0, 1)))
			if _, err := j.pool.Exec(ctx, j.sql(text)); err != nil && code(err) != "42P07" {
				return err
			}
		}
	}
	return nil
}
