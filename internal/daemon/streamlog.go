package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// streamLog shows the journal to sinks in their own terms: neither package knows the other.
type streamLog struct{ *journal.Journal }

var _ sinks.Log = streamLog{}

func (l streamLog) Bounds() sinks.Bounds {
	b := l.Journal.Bounds()
	return sinks.Bounds{Earliest: sinks.Position(b.Earliest), Next: sinks.Position(b.Next)}
}

func (l streamLog) Seek(ctx context.Context, t time.Time) (sinks.Position, error) {
	p, err := l.Journal.Seek(ctx, t)
	return sinks.Position(p), sinkError(err)
}

func (l streamLog) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	read, err := l.Journal.Read(ctx, journal.Position(from), make([]journal.Record, 0, cap(records)-len(records)))
	for _, r := range read {
		records = append(records, sinks.Record{Position: sinks.Position(r.Position), Encoded: r.Encoded})
	}
	return records, sinkError(err)
}

func sinkError(err error) error {
	switch {
	case errors.Is(err, journal.ErrExpired):
		return sinks.ErrExpired
	case errors.Is(err, journal.ErrFuture):
		return sinks.ErrFuture
	case errors.Is(err, journal.ErrClosed):
		return sinks.ErrClosed
	default:
		return err
	}
}
