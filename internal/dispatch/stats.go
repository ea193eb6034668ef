package dispatch

import (
	"context"
	"sync/atomic"
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

// Counters count what dispatchers of one sink did. The zero value is ready to use.
type Counters struct {
	delivered, retries, parked, skipped, leftOut, undecided, replayed atomic.Uint64

	resumed [resumedKinds]atomic.Uint64
}

// Stats returns the counts, and nothing else.
func (c *Counters) Stats() Stats {
	s := Stats{
		Delivered: c.delivered.Load(),
		Retries:   c.retries.Load(),
		Parked:    c.parked.Load(),
		Skipped:   c.skipped.Load(),
		LeftOut:   c.leftOut.Load(),
		Undecided: c.undecided.Load(),
		Replayed:  c.replayed.Load(),
	}
	for i := range c.resumed {
		s.Resumed[i] = c.resumed[i].Load()
	}
	return s
}

// Stats is a dispatcher's state at one moment. The counts are those of [Config.Counters].
type Stats struct {
	// Position is the lowest that is not dealt with.
	Position sinks.Position
	// LagEvents is how many events lie from there to the log's end, and Lag how long ago the first of them was committed.
	LagEvents uint64
	Lag       time.Duration
	// Delivered counts events, repeated ones again, Retries failed attempts that are tried again, Parked events, and Skipped
	// events in newly recorded gaps. LeftOut counts events that [Config.Choose] did not choose, again when they are read again.
	// Undecided counts the events for which it failed, and Replayed the ones that replays delivered.
	Delivered, Retries, Parked, Skipped, LeftOut, Undecided, Replayed uint64
	// Resumed counts, by result, how often a [sinks.Resumer] was asked how far it is.
	Resumed [resumedKinds]uint64
	// Breaker is that of the lane that is worst off.
	Breaker State
	// Blocked are the events that lanes wait at, in order of their positions.
	Blocked []Blocked
}

// Blocked is an event that its lane does not go past until something changes.
type Blocked struct {
	Position sinks.Position
	Reason   string
	Since    time.Time
	// PastEnd says that the position lies past the log's end, or that the event there is damaged, so that only moving the reader
	// helps. Otherwise the sink refused
	// the event, and an operator can let it pass.
	PastEnd bool
}

// Stats returns the state. It looks up one event in the log.
func (d *Dispatcher) Stats() Stats {
	s := d.cfg.Counters.Stats()
	s.Position, _ = d.progress.get()
	s.LagEvents, s.Lag = Lag(context.Background(), d.cfg.Log, s.Position)
	s.Breaker, s.Blocked = d.State()
	return s
}

// State returns two of the stats, and reads nothing.
func (d *Dispatcher) State() (worst State, blocked []Blocked) {
	for _, l := range d.lanes {
		worst = max(worst, State(l.breaker.Load()))
	}
	return worst, d.blocked.list()
}

// Problem returns why the latest attempt of the lane that is worst off failed. It is empty while attempts succeed.
func (d *Dispatcher) Problem() (problem string) {
	worst := State(-1)
	for _, l := range d.lanes {
		if p, state := l.problem.Load(), State(l.breaker.Load()); p != nil && state > worst {
			worst, problem = state, *p
		}
	}
	return problem
}

// Lag returns how many events lie from a position to the log's end, and how long ago the first of them was committed. The
// time is 0 when the log cannot tell now.
func Lag(ctx context.Context, log Log, p sinks.Position) (events uint64, behind time.Duration) {
	bounds := log.Bounds()
	first := max(p, bounds.Earliest)
	if first >= bounds.Next {
		return 0, 0
	}
	if at, err := log.CommittedAt(ctx, first); err == nil {
		behind = max(time.Since(at), 0)
	}
	return uint64(bounds.Next - p), behind
}
