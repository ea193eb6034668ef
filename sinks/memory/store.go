package memory

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

var errThrottled = errors.New("memory: store asks for a pause")

// Store is the destination. It outlives its sinks. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	records []sinks.Record
	has     map[sinks.Position]bool
	// reached has what Resumers have stored, by the names of their sinks, and opening the number of the one that may write.
	// openings counts them.
	reached  map[string]sinks.Reached
	opening  map[string]int
	openings int

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
func NewStore() *Store {
	return &Store{
		has:     map[sinks.Position]bool{},
		reached: map[string]sinks.Reached{},
		opening: map[string]int{},
		allowed: -1,
		stumble: -1,
	}
}

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

// opening is a Resumer's: the number that it got when it took the store over, 0 before.
type opening struct {
	sink   string
	number int
}

// write is a record to store.
type write struct {
	record sinks.Record
	// once drops a record that the store has.
	once bool
	// by is the Resumer that writes, and reached what its sink has reached with the record. Nil for another sink.
	by      *opening
	reached sinks.Reached
}

// put stores a record, or returns a channel to wait for before the next attempt.
func (s *Store) put(w write) (stalled <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stalled, err := s.answer(w.by); stalled != nil || err != nil {
		return stalled, err
	}
	if s.stumble == 0 {
		s.stumble = -1
		return nil, ErrAway
	}
	if w.by != nil {
		s.advance(w.by.sink, w.reached)
	}
	if w.once && s.has[w.record.Position] {
		return nil, nil
	}
	if s.allowed > 0 {
		s.allowed--
	}
	if s.stumble > 0 {
		s.stumble--
	}
	s.records = append(s.records, w.record.Clone())
	s.has[w.record.Position] = true
	return nil, nil
}

// advance moves the position of a sink, never back in the same log.
func (s *Store) advance(sink string, to sinks.Reached) {
	if at, ok := s.reached[sink]; !ok || at.Log != to.Log || at.Mark.Position < to.Mark.Position {
		s.reached[sink] = to
	}
}

// takeOver fences the other openings of the sink, gives this one a number, and returns what the sink has reached.
func (s *Store) takeOver(by *opening) (reached sinks.Reached, found bool, stalled <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stalled, err := s.answer(by); stalled != nil || err != nil {
		return reached, false, stalled, err
	}
	s.openings++
	by.number = s.openings
	s.opening[by.sink] = by.number
	reached, found = s.reached[by.sink]
	return reached, found, nil, nil
}

// moveTo stores a position.
func (s *Store) moveTo(by *opening, to sinks.Reached) (stalled <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stalled, err := s.answer(by); stalled != nil || err != nil {
		return stalled, err
	}
	s.reached[by.sink] = to
	return nil, nil
}

// answer returns the reason why the store does not do what a sink asks for, if there is one.
func (s *Store) answer(by *opening) (stalled <-chan struct{}, err error) {
	switch {
	case s.stalled != nil:
		return s.stalled, nil
	case s.fault != nil:
		return nil, s.fault
	case s.allowed == 0:
		return nil, ErrAway
	case by != nil && by.number != 0 && by.number != s.opening[by.sink]:
		return nil, sinks.ErrFenced
	}
	return nil, nil
}

// Copy is a state of a store.
type Copy struct {
	records []sinks.Record
	has     map[sinks.Position]bool
	reached map[string]sinks.Reached
}

// Copy returns the events of now, and what Resumers have reached.
func (s *Store) Copy() Copy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Copy{slices.Clone(s.records), maps.Clone(s.has), maps.Clone(s.reached)}
}

// Restore puts an earlier state back. It fences all open Resumers.
func (s *Store) Restore(c Copy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records, s.has, s.reached = slices.Clone(c.records), maps.Clone(c.has), maps.Clone(c.reached)
	for sink := range s.opening {
		s.openings++
		s.opening[sink] = s.openings
	}
}

// Reached returns what the Resumer of a sink has stored. It is false when there is nothing.
func (s *Store) Reached(sink string) (sinks.Reached, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reached, found := s.reached[sink]
	return reached, found
}
