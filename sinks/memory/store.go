package memory

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

var errThrottled = errors.New("memory: deliver: store asks for a pause")

// Store is the far side: it outlives the sinks onto it. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	records []sinks.Record
	has     map[sinks.Position]bool

	// fault is what every event is answered with; nil means that it is taken.
	fault error
	// stalled is closed by Repair; nil means that the store answers.
	stalled chan struct{}
	// allowed is how many more events are taken before the store goes away; negative means any number.
	allowed int
	// stumble is how many more events are taken before one is not, once; negative means any number.
	stumble int
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{has: map[sinks.Position]bool{}, allowed: -1, stumble: -1} }

// Records returns what the store has, in the order of its arrival. The records' bytes are the store's and must not be
// changed.
func (s *Store) Records() []sinks.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// Break lets every Deliver fail with [ErrAway], until Repair.
func (s *Store) Break() { s.BreakAfter(0) }

// BreakAfter is Break, after so many more events.
func (s *Store) BreakAfter(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = events
}

// Stumble lets one event fail with [ErrAway], after so many more.
func (s *Store) Stumble(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stumble = events
}

// Throttle lets every Deliver fail and be asked for a pause of d, until Repair.
func (s *Store) Throttle(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = &sinks.RetryAfterError{After: d, Err: errThrottled}
}

// Stall lets every Deliver wait, until Repair.
func (s *Store) Stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stalled == nil {
		s.stalled = make(chan struct{})
	}
}

// Repair ends all of these.
func (s *Store) Repair() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.allowed, s.stumble = nil, -1, -1
	if s.stalled != nil {
		close(s.stalled)
		s.stalled = nil
	}
}

// put takes a record, or says what to wait for before trying again. once leaves out what the store has.
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
