package pebble

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestExcursionBack: the clock goes far back, with starts and commits or without, and is put right. What is older is not aged,
// and stays known and kept.
func TestExcursionBack(t *testing.T) {
	for i := range 16 {
		restart, commits, restartAfter, before := i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0
		t.Run(fmt.Sprintf("restart=%t commits=%t restartAfter=%t startBefore=%t", restart, commits, restartAfter, before), func(t *testing.T) {
			j, c, cfg := clocked(t, vfs.NewMem())
			again := func() {
				shut(t, j)
				j = open(t, cfg)
			}
			diff(t, "new", appendAll(t, j, windowed(1, 96*time.Hour)), []journal.Receipt{{First: 1}})
			c.Advance(time.Hour)
			if before {
				again()
			}
			now := c.Now()
			c.ns.Store(time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC).UnixNano())
			next := sinks.Position(2)
			if restart {
				again()
				c.Advance(time.Minute)
				again()
			}
			if commits {
				diff(t, "known in 1970", appendAll(t, j, windowed(1, 96*time.Hour)), []journal.Receipt{{Duplicate: true}})
				diff(t, "new in 1970", appendAll(t, j, windowed(2, 96*time.Hour)), []journal.Receipt{{First: 2}})
				next++
			}
			retainTwice(t, j)
			c.ns.Store(now.Add(time.Hour).UnixNano())
			if restartAfter {
				again()
			}
			diff(t, "kept", retainTwice(t, j), sinks.Bounds{Earliest: 1, Next: next})
			diff(t, "known", appendAll(t, j, windowed(1, 96*time.Hour)), []journal.Receipt{{Duplicate: true}})
			diff(t, "kept after the next commit", retainTwice(t, j), sinks.Bounds{Earliest: 1, Next: next})
			diff(t, "committed", commitTimeOf(t, j, 1), start)
			c.Advance(95 * time.Hour)
			diff(t, "the window ends", appendAll(t, j, windowed(1, 96*time.Hour)), []journal.Receipt{{First: next}})
			c.Advance(80 * time.Hour)
			diff(t, "and retention goes on", retainTwice(t, j), sinks.Bounds{Earliest: next, Next: next + 1})
		})
	}
}

// TestPutBackForGood: a clock that is put back by hours and runs on ages what is older from then on, also once it comes to
// the old time again.
func TestPutBackForGood(t *testing.T) {
	for _, by := range []time.Duration{30 * time.Minute, 3 * time.Hour} {
		j, c, _ := clocked(t, vfs.NewMem())
		send := func() journal.Receipt { return appendAll(t, j, windowed(1, 4*time.Hour))[0] }
		diff(t, "new", send(), journal.Receipt{First: 1})
		c.Advance(-by)
		diff(t, "known", send(), journal.Receipt{Duplicate: true})
		c.Advance(4*time.Hour - time.Second)
		diff(t, "known in its window", send(), journal.Receipt{Duplicate: true})
		c.Advance(time.Second)
		diff(t, "new after it", send(), journal.Receipt{First: 2})
	}
}
