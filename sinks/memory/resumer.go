package memory

import (
	"context"

	"github.com/webhook-bridge/bridge/sinks"
)

// Resumer is a Sink whose store has its position too: the reference implementation of [sinks.Resumer].
type Resumer struct{ *Sink }

// OpenResumer is [Open] for a sink that delivers exactly once. A store has a position for each name of a sink.
func OpenResumer(ctx context.Context, store *Store, origin sinks.Origin, config Config) (*Resumer, error) {
	s, err := Open(ctx, store, config)
	if err != nil {
		return nil, err
	}
	s.by, s.origin = &opening{sink: origin.Sink}, origin
	return &Resumer{s}, nil
}

// Resume implements [sinks.Resumer].
func (s *Resumer) Resume(ctx context.Context) (reached sinks.Reached, found bool, err error) {
	err = s.untilAnswered(ctx, func() (stalled <-chan struct{}, err error) {
		reached, found, stalled, err = s.store.takeOver(s.by)
		return stalled, err
	})
	return reached, found, err
}

// MoveTo implements [sinks.Resumer].
func (s *Resumer) MoveTo(ctx context.Context, p sinks.Position) error {
	return s.untilAnswered(ctx, func() (<-chan struct{}, error) {
		return s.store.moveTo(s.by, s.origin.Reached(p))
	})
}
