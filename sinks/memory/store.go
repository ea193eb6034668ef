package memory

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

var errThrottled = errors.New("memory: deliver: store asks for a pause")

// Store is the destination. It outlives its sinks. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	records []sinks.Record
	has     map[sinks.Position]bool

	// fault is the error for every event; nil means that events are accepted.
	fault error
	// stalled is closed by Repair. Nil means that the store answers.
	stalled chan struct{}
	// allowed is the number of events that the store accepts before it becomes unreachable; negative means no limit.
	allowed int
	// stumble is the number of events that the store accepts before it fails once; negative means no failure.
	stumble int
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{has: map[sinks.Position]bool{}, allowed: -1, stumble: -1} }

// Records returns the stored records in the order of their arrival. The caller must not change the records' bytes.
func (s *Store) Records() []sinks.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// Break makes every Deliver fail with [ErrAway], until Repair.
func (s *Store) Break() { s.BreakAfter(0) }

// BreakAfter is Break after that many more events.
func (s *Store) BreakAfter(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = events
}

// Stumble makes one event fail with [ErrAway], after that many more events.
func (s *Store) Stumble(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stumble = events
}

// Throttle makes every Deliver fail with a request for a pause of d, until Repair.
func (s *Store) Throttle(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = &sinks.RetryAfterError{After: d, Err: errThrottled}
}

// Stall makes every Deliver block, until Repair.
func (s *Store) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled == nil {
		s.stalled = make(chan struct{})
	}
}

// Repair ends all of these faults.
func (s *Store) Repair() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.allowed, s.stumble = nil, -1, -1
	if s.stalled != nil {
		close(s.stalled)
		s.stalled = nil
	}
}

// put stores a record, or returns a channel to wait for before the next attempt. With once, it drops a record that the store
// has.
func (s *Store) put(r sinks.Record, once bool) (stalled <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stalled != nil:
		return s.stalled, nil
	case s.fault != nil:
		return nil, s.fault
	case s.allowed == 0:
		return nil, ErrAway
	case s.stumble == 0:
		s.stumble = -1
		return nil, ErrAway
	case once && s.has[r.Position]:
		return nil, nil
	}
	if s.allowed > 0 {
		s.allowed--
	}
	if s.stumble > 0 {
		s.stumble--
	}
	s.records = append(s.records, r)
	s.has[r.Position] = true
	return nil, nil
}
