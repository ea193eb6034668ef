package listener

import (
	"context"
	"time"
)

const (
	// young is the age that requests may have when a listener is calm. Older ones come from slow senders.
	young = 250 * time.Millisecond
	// drainPoll is how often a drain looks at the connections.
	drainPoll = 2 * time.Millisecond
)

// Calm waits until no request is older than a quarter of a second, or until ctx is done: what is in flight then ends soon.
func (l *Listener) Calm(ctx context.Context) {
	poll(ctx, func() bool {
		before := time.Now().Add(-young).UnixNano()
		return !l.any(func(c *Conn) bool { return c.active.Load() > 0 && c.begun.Load() < before })
	})
}

// Drain closes a listener of HTTP and waits until no connection is open, or until ctx is done. Each request is answered, and its answer
// tells the sender that the connection ends. A connection without a request stays open for the time of linger, because one may be on its
// way to it.
func (l *Listener) Drain(ctx context.Context, linger time.Duration) {
	l.draining.Store(true)
	_ = l.Close()
	until := time.Now().Add(linger)
	poll(ctx, func() bool { return l.empty() || time.Now().After(until) })
	poll(ctx, func() bool {
		for _, c := range l.idle() {
			_ = c.Close()
		}
		return l.empty()
	})
}

// empty reports whether a closed listener has no connection left, and gets none.
func (l *Listener) empty() bool { return l.accepting.Load() == 0 && l.Open() == 0 }

// idle returns the connections of which no byte of a request is unanswered.
func (l *Listener) idle() (all []*Conn) {
	l.any(func(c *Conn) bool {
		if c.active.Load() == 0 && !c.started.Load() {
			all = append(all, c)
		}
		return false
	})
	return all
}

// any reports whether a connection is so.
func (l *Listener) any(so func(*Conn) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		if so(c) {
			return true
		}
	}
	return false
}

// poll calls done until it reports true or ctx is done.
func poll(ctx context.Context, done func() bool) {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
