package client

import (
	"sync"
	"time"
)

// Status is a subscription at one moment.
type Status struct {
	// Connected says that a stream is open. Err is why the last one ended.
	Connected bool
	Err       error
	// Member is this member's name in the group.
	Member string
	// Position is that of the next event to look at, and Lag the number of events from there to the log's end, before filtering. With a group they are
	// those of its share that is furthest behind, for this member. Both are as of the last heartbeat.
	Position, Lag uint64
	// CaughtUp says that everything in the log was looked at, and that the stream has not fallen behind since.
	CaughtUp bool
	// OldestUnacked is the age of the event that has been here for the longest time, as of the last heartbeat.
	OldestUnacked time.Duration
	// Outstanding is how many events are here now.
	Outstanding int
	// Handled, Failed and Stale count events since Subscribe was called: handled and confirmed; not handled; and those whose confirmation came too late, so
	// that they may come again.
	Handled, Failed, Stale uint64
	// Connections counts the streams.
	Connections uint64
}

// board holds the status, and tells of changes.
type board struct {
	mu     sync.Mutex
	status Status
	// telling serializes the calls of tell.
	telling sync.Mutex
	tell    func(Status)
}

// change changes the status, and tells it.
func (b *board) change(f func(*Status)) {
	b.telling.Lock()
	defer b.telling.Unlock()
	b.count(f)
	if b.tell != nil {
		b.mu.Lock()
		status := b.status
		b.mu.Unlock()
		b.tell(status)
	}
}

// count changes the status, which is told with the next change.
func (b *board) count(f func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.status)
}
