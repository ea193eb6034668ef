package pebble

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// registered registers a reader and claims it.
func registered(t *testing.T, j *Journal, name string, from sinks.Position, full journal.WhenFull) journal.Claim {
	t.Helper()
	if err := j.Register(t.Context(), name, from, full); err != nil {
		t.Fatal(err)
	}
	return claimed(t, j, name)
}

func readersOf(t *testing.T, j *Journal) []journal.ReaderState {
	t.Helper()
	all, err := j.Readers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func isLost(c journal.Claim) bool {
	select {
	case <-c.Lost():
		return true
	default:
		return false
	}
}

// Whatever takes a claim away, none of the claim's writes takes effect any more.
func TestFencing(t *testing.T) {
	for _, loss := range []struct {
		name string
		lose func(ctx context.Context, j *Journal, c journal.Claim) error
	}{
		{"release", func(ctx context.Context, _ *Journal, c journal.Claim) error { return c.Release(ctx) }},
		{"pause", func(ctx context.Context, j *Journal, _ journal.Claim) error { return j.Pause(ctx, "a") }},
		{"move", func(ctx context.Context, j *Journal, _ journal.Claim) error { return j.MoveTo(ctx, "a", 2) }},
		{"forget", func(ctx context.Context, j *Journal, _ journal.Claim) error { return j.Forget(ctx, "a") }},
		{"close", func(_ context.Context, j *Journal, _ journal.Claim) error { return j.Close() }},
	} {
		t.Run(loss.name, func(t *testing.T) {
			fs := vfs.NewMem()
			j := open(t, testConfig(fs))
			appendAll(t, j, entry(1, 10, 1), entry(2, 10, 1), entry(3, 10, 1))
			c := registered(t, j, "a", 2, journal.Hold)
			if err := errors.Join(c.Park(t.Context(), refused("a", 1, 0, 1)), j.RequestRetry(t.Context(), "a", 1)); err != nil {
				t.Fatal(err)
			}
			if isLost(c) {
				t.Fatal("lost before its time")
			}
			if err := loss.lose(t.Context(), j, c); err != nil {
				t.Fatal(err)
			}
			if !isLost(c) {
				t.Error("the claim does not say that it is lost")
			}
			for _, write := range []struct {
				name string
				do   func() error
			}{
				{"save", func() error { return c.Save(t.Context(), 3) }},
				{"park", func() error { return c.Park(t.Context(), refused("a", 3, 0, 1)) }},
				{"unpark", func() error { return c.Unpark(t.Context(), 1) }},
				{"record gap", func() error { _, err := c.RecordGap(t.Context(), 1, 3); return err }},
				{"requests", func() error { _, err := c.Requests(t.Context()); return err }},
			} {
				if err := write.do(); !errors.Is(err, journal.ErrLost) {
					t.Errorf("%s: %v, want ErrLost", write.name, err)
				}
			}
			shut(t, j)
			j = open(t, testConfig(fs))
			diff(t, "parked", parkedOf(t, j, "a", 0, 10), []*journalv1.Parked{refused("a", 1, 0, 1)})
			if gaps, err := j.Gaps(t.Context(), "a"); err != nil || len(gaps) != 0 {
				t.Errorf("gaps: %v, %v", gaps, err)
			}
			for _, r := range readersOf(t, j) {
				diff(t, "position", r.Position, sinks.Position(2))
			}
		})
	}
}

// A claim of a name without a cursor only excludes others.
func TestClaimWithoutCursor(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	c := claimed(t, j, "_alerts")
	diff(t, "position", c.Position(), sinks.Position(0))
	diff(t, "readers", readersOf(t, j), []journal.ReaderState{})
	for name, operation := range map[string]func() error{
		"pause":  func() error { return j.Pause(t.Context(), "_alerts") },
		"resume": func() error { return j.Resume(t.Context(), "_alerts") },
		"move":   func() error { return j.MoveTo(t.Context(), "_alerts", 1) },
		"forget": func() error { return j.Forget(t.Context(), "_alerts") },
		"pass":   func() error { return j.RequestPass(t.Context(), "_alerts", 1) },
		"retry":  func() error { return j.RequestRetry(t.Context(), "_alerts", 1) },
		"drop":   func() error { return j.DiscardParked(t.Context(), "_alerts", 1) },
	} {
		if err := operation(); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}

// A parked event goes when it was not parked again for the age that retention has.
func TestParkedRetention(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{ParkedAge: 10 * time.Hour}
	j := open(t, cfg)
	parkAll(t, j, refused("a", 1, 0, 1), refused("a", 2, 0, 1), refused("b", 3, 0, 1))
	if err := j.RequestRetry(t.Context(), "a", 2); err != nil {
		t.Fatal(err)
	}
	positions := func() (all []uint64) {
		t.Helper()
		retainTwice(t, j)
		for _, p := range parkedOf(t, j, "", 0, 10) {
			all = append(all, p.GetPosition())
		}
		return all
	}
	c.Advance(9 * time.Hour)
	diff(t, "young", positions(), []uint64{1, 2, 3})
	parkAll(t, j, refused("a", 1, 5, 1))
	c.Advance(2 * time.Hour)
	diff(t, "one was parked again", positions(), []uint64{1})
	requests, err := claimed(t, j, "a").Requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "requests went too", requests, journal.Requests{})
}

// A disk that lost confirmed events has cursors past the log's end. They are moved to the end when the folder is opened:
// the reader gets every event that comes then.
func TestCursorPastTheEnd(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	appendAll(t, j, entry(1, 10, 3))
	err := j.update("test", func(_ *store, b *pebble.Batch) error {
		return b.Set(cursorKey("a"), cursor{position: 9, touched: start, paused: true}.encode()[:16], nil) // as the first format has it
	})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, j)
	for range 2 {
		j = open(t, testConfig(fs))
		appendAll(t, j, entry(2, 10, 8))
		diff(t, "readers", readersOf(t, j), []journal.ReaderState{{Name: "a", Position: 4}})
		shut(t, j)
	}
}

// A call ends with its context, also while another write of the reader hangs, and does not write later.
func TestClaimEndsWithContext(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	appendAll(t, j, entry(1, 10, 3))
	c := registered(t, j, "a", 1, journal.Hold)
	r := j.readers.get("a")
	r.writing.Lock()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Save(ctx, 3) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("save: %v", err)
	}
	r.writing.Unlock()
	if err := c.Save(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	diff(t, "position", c.Position(), sinks.Position(2))
}
