// Package memory is a [sinks.Sink] in memory: the reference implementation of the contract, and a sink for tests. Its
// destination, a [Store], can be made unreachable or silent, and can be made to throttle and to refuse events.
//
// # Delivery
//
// Each event is durable, for as long as the store exists, before the next one is sent. So n is always exact, also after an error.
//
// # Ordering
//
// Total. Events that are delivered again are stored again, unless [Config.Once] is set. A [Resumer] delivers exactly once: the store
// has its position, and changes it in the step that stores an event.
//
// # Errors
//
// Events larger than [Config.MaxEvent] are refused permanently. After [Store.Throttle] the error is a [*sinks.RetryAfterError].
// All other errors, such as [ErrAway], may be retried.
//
// # Configuration
//
// [Config].
package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/webhook-bridge/bridge/sinks"
)

// ErrAway is the error while the store is unreachable.
var ErrAway = errors.New("memory: store is unreachable")

// Config configures a sink. The zero value accepts every event, and stores repeated events again.
type Config struct {
	// MaxEvent is the largest encoded event, in bytes, that the sink accepts. 0 means no limit.
	MaxEvent int
	// Once drops events whose positions the store already has. Otherwise they are stored again.
	Once bool
}

// Sink delivers to a store.
type Sink struct {
	config Config
	store  *Store
	// by is a Resumer's opening, and origin where its events come from. Nil for another sink.
	by     *opening
	origin sinks.Origin

	closing sync.Once
	closed  chan struct{}
}

// Open returns a sink to the store. Several sinks may be open at a time. Open fails when ctx is done.
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

// deliver delivers one event. It blocks while the store is stalled.
func (s *Sink) deliver(ctx context.Context, e sinks.Record) error {
	w := write{record: e, once: s.config.Once, by: s.by}
	if s.by != nil {
		w.reached = s.origin.Reached(e.Position + 1)
	}
	return s.untilAnswered(ctx, func() (<-chan struct{}, error) {
		if size := len(e.Encoded); s.config.MaxEvent > 0 && size > s.config.MaxEvent {
			return nil, sinks.Permanent(fmt.Errorf("memory: deliver: event at %d has %d bytes, more than %d", e.Position, size, s.config.MaxEvent))
		}
		return s.store.put(w)
	})
}

// untilAnswered asks the store until it is not stalled.
func (s *Sink) untilAnswered(ctx context.Context, ask func() (stalled <-chan struct{}, err error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.isClosed() {
			return sinks.ErrClosed
		}
		stalled, err := ask()
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
