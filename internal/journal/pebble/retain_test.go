package pebble

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// hourly appends n webhooks, one event each and one an hour, starting with the i-th, at the hours that the clock is at.
func hourly(t *testing.T, j *Journal, c *clock, i, n int) {
	t.Helper()
	for k := range n {
		e := entry(i+k, 100, 1)
		e.Webhook.Id = idAt(c.Now(), i+k)
		appendAll(t, j, e)
		c.Advance(time.Hour)
	}
}

func idAt(at time.Time, i int) string {
	return webhookID(int(at.Sub(start).Milliseconds()))[:24] + fmt.Sprintf("%012x", i)
}

// retainTwice runs retention, twice, so that it believes the clock.
func retainTwice(t *testing.T, j *Journal) sinks.Bounds {
	t.Helper()
	for range 2 {
		if err := j.retain(); err != nil {
			t.Fatal(err)
		}
	}
	return j.Bounds()
}

func TestRetentionByAge(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: 10 * time.Hour, QuarantineAge: 30 * time.Hour}
	j := open(t, cfg)
	q := quarantined(1000)
	q.Webhook.Id = idAt(c.Now(), 1000)
	appendAll(t, j, q)
	hourly(t, j, c, 1, 15)
	diff(t, "bounds", retainTwice(t, j), sinks.Bounds{Earliest: 6, Next: 16})
	if _, err := j.Read(t.Context(), 5, make([]sinks.Record, 0, 1)); !errors.Is(err, sinks.ErrExpired) {
		t.Errorf("read before earliest: %v", err)
	}
	diff(t, "events", len(readAll(t, j)), 10)
	diff(t, "webhooks, and the quarantined one", len(allWebhooks(t, j)), 11)
	diff(t, "webhook of the earliest event", webhookOf(t, j, 6), true)
	if got, err := j.Seek(t.Context(), start); err != nil || got != 6 {
		t.Errorf("seek before earliest: %d, %v", got, err)
	}

	c.Advance(100 * time.Hour)
	diff(t, "all expired", retainTwice(t, j), sinks.Bounds{Earliest: 16, Next: 16})
	diff(t, "webhooks", len(allWebhooks(t, j)), 0)
	shut(t, j)
	j = open(t, cfg)
	diff(t, "after restart", j.Bounds(), sinks.Bounds{Earliest: 16, Next: 16})
	hourly(t, j, c, 100, 1)
	diff(t, "positions go on", j.Bounds(), sinks.Bounds{Earliest: 16, Next: 17})
}

func webhookOf(t *testing.T, j *Journal, p sinks.Position) bool {
	t.Helper()
	for _, w := range allWebhooks(t, j) {
		if w.GetFirstPosition() == uint64(p) {
			return true
		}
	}
	return false
}

func TestRetentionBySize(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: -1, Size: 330 << 10, QuarantineAge: -1}
	j := open(t, cfg)
	rng := rand.NewChaCha8([32]byte{})
	const n = 200
	for i := range n {
		e := entry(i, 4<<10, 1)
		if _, err := rng.Read(e.Webhook.Body); err != nil { // does not compress
			t.Fatal(err)
		}
		e.Webhook.Id = idAt(c.Now(), i)
		appendAll(t, j, e)
		c.Advance(time.Hour)
	}
	if err := j.store.db.Flush(); err != nil {
		t.Fatal(err)
	}
	// What was given up does not count, whether or not its files are gone, so this comes to rest. The sizes of a few small
	// files are coarse, hence several runs.
	for range 5 {
		retainTwice(t, j)
	}
	b := retainTwice(t, j)
	if b.Earliest < n*9/20 || b.Earliest > n*13/20 {
		t.Errorf("bounds %+v, stats %+v", b, j.Stats())
	}
	diff(t, "at rest", retainTwice(t, j), b)
	diff(t, "webhooks", len(allWebhooks(t, j)), int(b.Next-b.Earliest))
}

func TestCursorsHoldRetention(t *testing.T) {
	c := newClock()
	var free atomic.Uint64
	free.Store(1 << 30)
	cfg := testConfig(&smallDisk{FS: vfs.NewMem(), free: &free})
	cfg.Now = c.Now
	cfg.MinFree = 1 << 20
	cfg.Retention = Retention{Age: time.Hour}
	j := open(t, cfg)
	hourly(t, j, c, 1, 10)
	appendAll(t, j, quarantined(400))
	save := func(c journal.Claim, p sinks.Position) {
		t.Helper()
		if err := c.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	patient, hasty := registered(t, j, "patient", 4, journal.Hold), registered(t, j, "hasty", 2, journal.Skip)
	if err := patient.Save(t.Context(), 12); !errors.Is(err, sinks.ErrFuture) {
		t.Errorf("save past the end: %v", err)
	}
	diff(t, "hasty holds", retainTwice(t, j).Earliest, sinks.Position(2))
	diff(t, "webhook held too", webhookOf(t, j, 2), true)
	save(hasty, 3)
	diff(t, "it moved", retainTwice(t, j).Earliest, sinks.Position(3))

	free.Store(1 << 19)
	j.checkDisk()
	if _, err := j.Append(t.Context(), entry(500, 10, 1)); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("append to a full disk: %v", err)
	}
	if j.Stats().Available {
		t.Error("available on a full disk")
	}
	// What makes room may go on.
	if n, err := j.Discard(t.Context(), []string{webhookID(400)}); n != 1 || err != nil {
		t.Errorf("discard on a full disk: %d, %v", n, err)
	}
	diff(t, "skipped when full", retainTwice(t, j).Earliest, sinks.Position(4))
	free.Store(1 << 30)
	j.checkDisk()
	hourly(t, j, c, 11, 1)

	save(patient, 5)
	shut(t, j)
	j = open(t, cfg)
	diff(t, "readers", readersOf(t, j), []journal.ReaderState{{Name: "hasty", Position: 3}, {Name: "patient", Position: 5}})
	hasty = registered(t, j, "hasty", 1, journal.Skip)
	diff(t, "found again", hasty.Position(), sinks.Position(3))
	save(hasty, 12)
	diff(t, "gone, but not long", retainTwice(t, j).Earliest, sinks.Position(5))
	c.Advance(letters.ReaderGrace)
	diff(t, "gone for a day", retainTwice(t, j).Earliest, sinks.Position(12))

	hourly(t, j, c, 20, 2)
	registered(t, j, "late", 12, journal.Hold)
	diff(t, "held", retainTwice(t, j).Earliest, sinks.Position(12))
	if err := j.Forget(t.Context(), "late"); err != nil {
		t.Fatal(err)
	}
	save(hasty, 14)
	c.Advance(2 * time.Hour)
	diff(t, "forgotten", retainTwice(t, j).Earliest, sinks.Position(14))
	if slices.ContainsFunc(readersOf(t, j), func(s journal.ReaderState) bool { return s.Name == "late" }) {
		t.Error("the forgotten reader is still there")
	}
}

// TestCursorInUseStays: a cursor in use that does not move is not taken for one that is gone after a restart.
func TestCursorInUseStays(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: time.Hour}
	j := open(t, cfg)
	hourly(t, j, c, 1, 5)
	if err := j.Register(t.Context(), "idle", 2, journal.Hold); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		c.Advance(2 * time.Hour)
		diff(t, "held", retainTwice(t, j).Earliest, sinks.Position(2))
	}
	shut(t, j)
	c.Advance(23 * time.Hour)
	j = open(t, cfg)
	diff(t, "still held", retainTwice(t, j).Earliest, sinks.Position(2))
}

// TestReadDuringRetention reads from the start again and again while that is given up: a reader gets all from its position
// on or learns that it is expired.
func TestReadDuringRetention(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: 50 * time.Hour}
	j := open(t, cfg)
	const n = 300
	hourly(t, j, c, 1, n)
	c.Advance(-n * time.Hour)
	done := make(chan error)
	go func() {
		for range n {
			c.Advance(time.Hour)
			if err := errors.Join(j.retain(), j.retain()); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	records := make([]sinks.Record, 0, 64)
	for {
		from := j.Bounds().Earliest
		got, err := j.Read(t.Context(), from, records)
		if err != nil && !errors.Is(err, sinks.ErrExpired) {
			t.Fatal(err)
		}
		for i, r := range got {
			if r.Position != from+sinks.Position(i) {
				t.Fatalf("position %d, want %d", r.Position, from+sinks.Position(i))
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "earliest", j.Bounds().Earliest, sinks.Position(n-50+1))
			return
		default:
		}
	}
}

// smallDisk says how much is free.
type smallDisk struct {
	vfs.FS
	free *atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load(), TotalBytes: 1 << 40}, nil
}
