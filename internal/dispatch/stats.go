package dispatch

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// State is a breaker's.
type State int32

// The states, from best to worst.
const (
	// Closed: everything is tried.
	Closed State = iota
	// HalfOpen: one event is tried.
	HalfOpen
	// Open: nothing is tried for a while.
	Open
)

// String returns the state's name.
func (s State) String() string {
	return [...]string{"closed", "half-open", "open"}[s]
}

// Stats is a dispatcher's state at one moment. The numbers count from the program's start.
type Stats struct {
	// Position is the lowest that is not dealt with.
	Position sinks.Position
	// LagEvents is how many events lie from there to the log's end, and Lag how long ago the first of them was committed.
	LagEvents uint64
	Lag       time.Duration
	// Delivered counts events, repeated ones again, Retries failed attempts that are tried again, Parked events, and Skipped
	// events in newly recorded gaps.
	Delivered, Retries, Parked, Skipped uint64
	// Breaker is that of the lane that is worst off.
	Breaker State
	// Held are refused events that are not passed, in order of their positions.
	Held []Held
}

// Held is a refused event that its lane stands before.
type Held struct {
	Position sinks.Position
	Reason   string
	Since    time.Time
}

// Stats returns the state. It looks up one event in the log.
func (d *Dispatcher) Stats() Stats {
	s := Stats{
		Delivered: d.delivered.Load(),
		Retries:   d.retries.Load(),
		Parked:    d.parked.Load(),
		Skipped:   d.skipped.Load(),
	}
	s.Position, _ = d.progress.get()
	bounds := d.cfg.Log.Bounds()
	if first := max(s.Position, bounds.Earliest); first < bounds.Next {
		s.LagEvents = uint64(bounds.Next - s.Position)
		if at, err := d.cfg.Log.CommittedAt(context.Background(), first); err == nil { // else it was given up just now, or the log recovers
			s.Lag = max(time.Since(at), 0)
		}
	}
	for _, l := range d.lanes {
		s.Breaker = max(s.Breaker, State(l.breaker.Load()))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for p, h := range d.held {
		s.Held = append(s.Held, Held{Position: p, Reason: h.reason, Since: h.since})
	}
	slices.SortFunc(s.Held, func(a, b Held) int { return cmp.Compare(a.Position, b.Position) })
	return s
}
