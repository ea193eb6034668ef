package pebble

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestMovedBackDuringRetention: a reader that is moved back while retention runs gets the events that it was promised.
func TestMovedBackDuringRetention(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Retention = Retention{Age: time.Hour}
	var armed atomic.Bool
	pass := make(chan error, 1)
	var j *Journal
	cfg.Now = func() time.Time {
		if armed.CompareAndSwap(true, false) { // MoveTo is about to write the cursor
			ended := make(chan struct{})
			go func() {
				pass <- j.retain()
				close(ended)
			}()
			select {
			case <-ended:
			case <-time.After(50 * time.Millisecond):
			}
		}
		return c.Now()
	}
	j = open(t, cfg)
	for i := range 5 {
		appendAll(t, j, entry(i, 10, 1))
	}
	if err := j.Register(t.Context(), "reader", 1, journal.Hold); err != nil {
		t.Fatal(err)
	}
	c.Advance(2 * time.Hour)
	diff(t, "held", retainTwice(t, j).Earliest, sinks.Position(1))
	diff(t, "to the end", j.MoveTo(t.Context(), "reader", 6), nil)
	armed.Store(true)
	diff(t, "back", j.MoveTo(t.Context(), "reader", 3), nil)
	diff(t, "retention", <-pass, nil)
	diff(t, "kept", j.Bounds().Earliest, sinks.Position(3))
	diff(t, "on a later pass too", retainTwice(t, j).Earliest, sinks.Position(3))
}
