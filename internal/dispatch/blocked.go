package dispatch

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// blockedEvents are the events that lanes wait at, by position. It is safe for concurrent use.
type blockedEvents struct {
	mu  sync.Mutex
	all map[sinks.Position]*blockedEvent
}

type blockedEvent struct {
	Blocked

	// pass is closed when an operator lets the event pass.
	pass chan struct{}
}

// add notes that an event blocks its lane, and why. It reports whether that is new.
func (b *blockedEvents) add(p sinks.Position, reason error, pastEnd bool) (pass <-chan struct{}, added bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.all[p]
	if added = e == nil; added {
		e = &blockedEvent{Blocked: Blocked{Position: p, Since: time.Now(), PastEnd: pastEnd}, pass: make(chan struct{})}
		b.all[p] = e
	}
	e.Reason = reason.Error()
	return e.pass, added
}

// remove forgets an event that was delivered after all, or parked.
func (b *blockedEvents) remove(p sinks.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, p)
}

// letPass lets those of the events pass that block their lanes.
func (b *blockedEvents) letPass(positions []sinks.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range positions {
		e := b.all[p]
		if e == nil || e.PastEnd {
			continue
		}
		select {
		case <-e.pass:
		default:
			close(e.pass)
		}
	}
}

func (b *blockedEvents) list() (all []Blocked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.all {
		all = append(all, e.Blocked)
	}
	slices.SortFunc(all, func(a, b Blocked) int { return cmp.Compare(a.Position, b.Position) })
	return all
}
