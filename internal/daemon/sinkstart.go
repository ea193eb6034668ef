package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// start returns the position at which the sink starts if its name is new. A place in the log that is not the sink's any more, such as a
// position that has expired since, matters only for a new name.
func (p *push) start(ctx context.Context, cfg config.Sink) (sinks.Position, error) {
	bounds := p.journal.Bounds()
	switch from := cfg.From; {
	case from.Latest:
		return bounds.Next, nil
	case from == config.Start{}:
		return bounds.Earliest, nil
	}
	readers, err := p.journal.Readers(ctx)
	if err != nil {
		return 0, err
	}
	if slices.ContainsFunc(readers, func(r journal.ReaderState) bool { return r.Name == cfg.Name }) {
		return bounds.Earliest, nil // It has a position, and Register uses none.
	}
	at, err := p.place(ctx, cfg.From)
	switch {
	case errors.Is(err, sinks.ErrExpired), err == nil && at < bounds.Earliest:
		err = fmt.Errorf("the events from there on are no longer kept; the earliest that is kept is at %d", bounds.Earliest)
	case errors.Is(err, sinks.ErrFuture), err == nil && at > bounds.Next:
		err = fmt.Errorf("lies past the log's end, which is %d", bounds.Next)
	}
	if err != nil {
		return 0, fmt.Errorf("from: %w", err)
	}
	return at, nil
}

// place finds the configured start in the log. A time from before the log's beginning is its beginning.
func (p *push) place(ctx context.Context, from config.Start) (sinks.Position, error) {
	switch {
	case from.Token != "":
		return grpcstream.Place(ctx, p.journal, from.Token)
	case from.Position > 0:
		return sinks.Position(from.Position), nil
	default:
		at, err := p.journal.Seek(ctx, from.Time)
		return max(at, p.journal.Bounds().Earliest), err
	}
}
