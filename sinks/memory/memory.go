// Package memory is a [sinks.Sink] in memory: the reference for what the contract means, and the sink of tests that need
// one. Its far side, a [Store], can go away, fall silent, ask for a pause and refuse.
//
// # Delivery
//
// Each event is durable, for as long as the store is, before the next one is begun. So n says exactly what the store has,
// whatever ended the Deliver.
//
// # Ordering
//
// Total. A suffix repeats when it is given again, unless [Config.Once] is set.
//
// # Errors
//
// Events larger than [Config.MaxEvent] are refused for good. What a store was told to do ([Store.Throttle]) is a
// [*sinks.RetryAfterError]. Everything else, such as [ErrAway], may be tried again.
//
// # Configuration
//
// [Config].
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/webhook-bridge/bridge/sinks"
)

// ErrAway is what a Deliver fails with while the store is away.
var ErrAway = errors.New("memory: deliver: store is away")

// Config says what a sink takes. The zero value takes everything, as often as it comes.
type Config struct {
	// MaxEvent is the largest encoded event, in bytes, that is taken; 0 means any.
	MaxEvent int
	// Once leaves out events whose positions the store has. Otherwise they are kept again.
	Once bool
}

// Sink delivers to a store.
type Sink struct {
	config Config
	store  *Store

	closing sync.Once
	closed  chan struct{}
}

// Open returns a sink onto the store. Several may be open at a time. It fails when ctx is done.
func Open(ctx context.Context, store *Store, config Config) (*Sink, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memory: open: %w", err)
	}
	return &Sink{config: config, store: store, closed: make(chan struct{})}, nil
}

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	if s.isClosed() {
		return 0, sinks.ErrClosed
	}
	for n, e := range events {
		if err := s.deliver(ctx, e); err != nil {
			return n, err
		}
	}
	return len(events), nil
}

// deliver hands one event over. It waits for as long as the store is silent.
func (s *Sink) deliver(ctx context.Context, e sinks.Record) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.isClosed() {
			return sinks.ErrClosed
		}
		if size := len(e.Encoded); s.config.MaxEvent > 0 && size > s.config.MaxEvent {
			return sinks.Permanent(fmt.Errorf("memory: deliver: event at %d has %d bytes, more than %d", e.Position, size, s.config.MaxEvent))
		}
		stalled, err := s.store.put(sinks.Record{Position: e.Position, Encoded: bytes.Clone(e.Encoded)}, s.config.Once)
		if stalled == nil {
			return err
		}
		select {
		case <-stalled:
		case <-ctx.Done():
		case <-s.closed:
		}
	}
}

func (s *Sink) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Close implements [sinks.Sink].
func (s *Sink) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return nil
}
