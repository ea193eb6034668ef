package dispatch

import (
	"slices"
	"sync"

	"github.com/webhook-bridge/bridge/sinks"
)

// progress has the positions of the lanes. It is safe for concurrent use.
type progress struct {
	mu sync.Mutex
	// lanes has, for each lane, the first position that it has neither delivered nor parked.
	lanes []sinks.Position
	// lowest is the least of them, and changed is closed, and replaced, when it moves.
	lowest  sinks.Position
	changed chan struct{}
	// moved has a buffer for one value. It has one when lowest has moved since the last one was received.
	moved chan struct{}
}

func newProgress(lanes int, from sinks.Position) *progress {
	return &progress{
		lanes:   slices.Repeat([]sinks.Position{from}, lanes),
		lowest:  from,
		changed: make(chan struct{}),
		moved:   make(chan struct{}, 1),
	}
}

// set records that a lane has delivered or parked all its events before p.
func (g *progress) set(lane int, p sinks.Position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lanes[lane] = p
	lowest := slices.Min(g.lanes)
	if lowest == g.lowest {
		return
	}
	g.lowest = lowest
	close(g.changed)
	g.changed = make(chan struct{})
	g.again()
}

// again puts a value into moved, also when lowest has not moved.
func (g *progress) again() {
	select {
	case g.moved <- struct{}{}:
	default:
	}
}

// get returns the lowest position, and a channel that is closed when it has moved.
func (g *progress) get() (lowest sinks.Position, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lowest, g.changed
}
