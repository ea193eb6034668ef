package pebble

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// clocked opens a journal whose clock the test moves.
func clocked(t *testing.T, fs vfs.FS) (*Journal, *clock, Config) {
	t.Helper()
	c := newClock()
	cfg := testConfig(fs)
	cfg.Now = c.Now
	return open(t, cfg), c, cfg
}

func windowed(i int, window time.Duration) journal.Entry {
	e := entry(i, 10, 1)
	e.Keys[0].Window = window
	return e
}

// TestClockAhead: the clock is a year ahead for one commit. Nothing young is removed, retention goes on as before, and what was
// committed ahead counts from when the clock came back.
func TestClockAhead(t *testing.T) {
	fs := vfs.NewMem()
	j, c, cfg := clocked(t, fs)
	cfg.Retention = Retention{Age: 10 * time.Hour}
	cfg.DedupeAge = 20 * time.Hour
	shut(t, j)
	j = open(t, cfg)
	send := func(i int) journal.Receipt {
		t.Helper()
		e := windowed(i, 20*time.Hour)
		e.Webhook.Id = idAt(c.Now(), i)
		return appendAll(t, j, e)[0]
	}
	const year = 365 * 24 * time.Hour
	send(1)
	c.Advance(time.Hour)
	retainTwice(t, j)
	c.Advance(year)
	if err := j.retain(); err != nil { // one look
		t.Fatal(err)
	}
	send(2)
	c.Advance(-year)
	shut(t, j)
	j = open(t, cfg)
	diff(t, "nothing is gone", retainTwice(t, j), sinks.Bounds{Earliest: 1, Next: 3})
	diff(t, "still known", []journal.Receipt{send(1), send(2)}, []journal.Receipt{{Duplicate: true}, {Duplicate: true}})
	diff(t, "committed ahead", commitTimeOf(t, j, 2), start.Add(time.Hour))
	send(3)
	c.Advance(9*time.Hour + time.Minute) // 10:01 after the start
	diff(t, "the first one is old", retainTwice(t, j).Earliest, sinks.Position(2))
	c.Advance(time.Hour)
	diff(t, "those of the step are", retainTwice(t, j).Earliest, sinks.Position(4))
	diff(t, "known within its window", send(2), journal.Receipt{Duplicate: true})
	c.Advance(11 * time.Hour)
	retainTwice(t, j)
	diff(t, "buckets ahead of the clock are gone", slices.ContainsFunc(j.filter.bucketsAfter(0), func(at bucket) bool {
		return at.hour() > hourOf(c.Now())
	}), false)
	all, err := storedBuckets(j.store.db)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range all {
		if at.hour() > hourOf(c.Now()) {
			t.Errorf("bucket of hour %d is on disk", at.hour())
		}
	}
	diff(t, "new after its window", send(2), journal.Receipt{First: 4})
}

func commitTimeOf(t *testing.T, j *Journal, p sinks.Position) time.Time {
	t.Helper()
	at, err := j.CommittedAt(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

// TestSeekAcrossEpochs: after the clock was put back by an hour, Seek finds the first event that was received at a time.
func TestSeekAcrossEpochs(t *testing.T) {
	j, c, _ := clocked(t, vfs.NewMem())
	at := []time.Duration{0, 10, 20, 65, 15, 30, 70} // minutes; back by 50 before the fifth
	for i, m := range at {
		c.ns.Store(start.Add(m * time.Minute).UnixNano())
		appendAll(t, j, entry(int((m*time.Minute).Milliseconds())+i, 10, 1))
	}
	diff(t, "epochs", j.epochs.Load().Len(), 2)
	for m, want := range map[time.Duration]sinks.Position{-1: 1, 5: 2, 20: 3, 21: 4, 64: 4, 66: 7, 71: 8} {
		got, err := j.Seek(t.Context(), start.Add(m*time.Minute))
		if err != nil || got != want {
			t.Errorf("seek %d minutes: %d, %v, want %d", m, got, err, want)
		}
	}
	last := time.Time{}
	for p := range sinks.Position(7) {
		got := commitTimeOf(t, j, p+1)
		if got.Before(last) {
			t.Errorf("%d was committed before the one before", p+1)
		}
		last = got
	}
}

// TestMarks: a mark is resolved for as long as its events are kept, across starts.
func TestMarks(t *testing.T) {
	fs := vfs.NewMem()
	j, c, cfg := clocked(t, fs)
	cfg.Retention, cfg.DedupeAge = Retention{Age: time.Hour}, 96*time.Hour
	shut(t, j)
	var marks []sinks.Mark
	for i := range 5 {
		j = open(t, cfg)
		marks = append(marks, j.Mark(j.Bounds().Next))
		appendAll(t, j, entry(i, 10, 1))
		marks = append(marks, j.Mark(j.Bounds().Next))
		if i%2 == 0 {
			c.Advance(-2 * time.Hour)
			appendAll(t, j, entry(100+i, 10, 1))
			marks = append(marks, j.Mark(j.Bounds().Next))
		}
		for _, m := range marks {
			wantErr(t, fmt.Sprint(m), j.Resolve(t.Context(), m), nil)
		}
		shut(t, j)
	}
	j = open(t, cfg)
	b := j.Bounds()
	for what, c := range map[string]struct {
		mark sinks.Mark
		want error
	}{
		"unknown epoch":             {sinks.Mark{Epoch: 12345, Position: 3}, sinks.ErrForked},
		"beyond the epoch":          {sinks.Mark{Epoch: marks[1].Epoch, Position: b.Next}, sinks.ErrForked},
		"of an older version":       {sinks.Mark{Position: b.Next}, nil},
		"past the end, old version": {sinks.Mark{Position: b.Next + 1}, sinks.ErrFuture},
		"expired wins":              {sinks.Mark{Epoch: 12345}, sinks.ErrExpired},
	} {
		wantErr(t, what, j.Resolve(t.Context(), c.mark), c.want)
	}
	c.Advance(200 * time.Hour)
	b = retainTwice(t, j)
	for _, m := range marks {
		want := sinks.ErrExpired
		if m.Position == b.Earliest {
			want = nil
		}
		wantErr(t, fmt.Sprint("retained ", m), j.Resolve(t.Context(), m), want)
	}
	if n := j.epochs.Load().Len(); n > 2 {
		t.Errorf("%d epochs are kept", n)
	}
	shut(t, j)
	if err := j.Resolve(t.Context(), marks[0]); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
