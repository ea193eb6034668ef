package listener

import (
	"sync"
	"time"
)

const (
	// later is how much a deadline of writes may be ahead of the one that is set without being set again.
	later = time.Second / 2
	// distant is how far away such a deadline must be.
	distant = 10 * time.Second
)

// deadline is the deadline of a connection's reads or of its writes. net/http sets eight deadlines for each request, most of
// which no call ever waits under. So a deadline is noted, and the system gets it with the next call, or at once while a call waits.
type deadline struct {
	// set gives the system a deadline. It is not called by two goroutines at once.
	set func(time.Time) error
	// near: a deadline that is a little early will do.
	near bool

	mu sync.Mutex
	// wanted is the last deadline that was noted, and applied the one that the system has. Guarded by mu.
	wanted, applied time.Time
	// calls is how many calls are under way. Guarded by mu.
	calls int
}

// note notes a deadline.
func (d *deadline) note(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted = t; d.calls > 0 {
		d.apply()
	}
}

// begin begins a call, under the deadline that was noted last.
func (d *deadline) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	d.apply()
}

func (d *deadline) end() {
	d.mu.Lock()
	d.calls--
	d.mu.Unlock()
}

// apply gives the system the deadline that was noted. The caller holds mu.
func (d *deadline) apply() {
	if d.wanted.Equal(d.applied) || d.near && d.suffices() {
		return
	}
	d.applied = d.wanted
	_ = d.set(d.wanted) // of a closed connection: the call says so itself
}

// suffices reports whether the deadline that is set is as good as the one that was noted.
func (d *deadline) suffices() bool {
	early := d.wanted.Sub(d.applied)
	return !d.wanted.IsZero() && !d.applied.IsZero() && early >= 0 && early < later && time.Until(d.applied) > distant
}
