package dispatch

import (
	"slices"
	"sync"

	"github.com/webhook-bridge/bridge/sinks"
)

// progress is how far the lanes have come. It is safe for concurrent use.
type progress struct {
	mu sync.Mutex
	// lanes holds, for each, the first position that it has not dealt with.
	lanes []sinks.Position
	// lowest is the least of them, and changed is closed, and replaced, when it moves.
	lowest  sinks.Position
	changed chan struct{}
	// moved has room for one value, and holds it when lowest has moved since it was last taken.
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

// set says that a lane has dealt with everything of its own before p.
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

// again lets moved hold its value, though lowest may not have moved.
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
