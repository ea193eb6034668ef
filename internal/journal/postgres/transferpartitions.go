package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/move"
)

// makePartitions makes the partitions that records need.
func (t *Transfer) makePartitions(ctx context.Context, records []move.Record) error {
	for _, r := range records {
		var name string
		upTo, days := t.log.Bounds.Earliest, []time.Time(nil)
		switch r := r.(type) {
		case *move.Event:
			name, upTo = "event "+strconv.FormatInt(int64(r.Position)/t.j.cfg.eventsPerPartition, 10), r.Position
		case *move.Webhook:
			day := time.UnixMilli(r.ReceivedAt()).UTC().Truncate(24 * time.Hour)
			name, days = day.Format(time.DateOnly), []time.Time{day}
		default:
			return nil
		}
		if t.partitions[name] {
			continue
		}
		if err := t.j.ensurePartitions(ctx, upTo, days); err != nil {
			return err
		}
		t.partitions[name] = true
	}
	return nil
}
