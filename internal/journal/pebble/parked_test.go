package pebble

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// refused is an event that was tried n times, at the seconds from on.
func refused(sink string, p uint64, from, n int) *journalv1.Parked {
	at := func(i int) *timestamppb.Timestamp { return timestamppb.New(start.Add(time.Duration(i) * time.Second)) }
	r := &journalv1.Parked{
		Sink: sink, Position: p, Event: []byte("event"), Reason: fmt.Sprint("reason ", from+n-1),
		FirstAttemptAt: at(from), LastAttemptAt: at(from + n - 1), AttemptCount: uint64(n),
	}
	for i := from; i < from+n; i++ {
		r.Attempts = append(r.Attempts, &journalv1.Attempt{At: at(i), Error: fmt.Sprint("reason ", i)})
	}
	return r
}

// claimed claims a reader, and releases it when the test ends.
func claimed(t *testing.T, j *Journal, name string) journal.Claim {
	t.Helper()
	c, err := j.Claim(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Release(context.Background()) })
	return c
}

// parkAll parks events for their readers, one after the other.
func parkAll(t *testing.T, j *Journal, all ...*journalv1.Parked) {
	t.Helper()
	for _, p := range all {
		c := claimed(t, j, p.GetSink())
		if err := errors.Join(c.Park(t.Context(), p), c.Release(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

func parkedOf(t *testing.T, j *Journal, sink string, from sinks.Position, limit int) []*journalv1.Parked {
	t.Helper()
	all, err := j.Parked(t.Context(), sink, from, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.GetParkedAt() == nil {
			t.Errorf("the event at %d has no time", p.GetPosition())
		}
		p.ParkedAt = nil
	}
	return all
}

func TestParked(t *testing.T) {
	cfg := testConfig(vfs.NewMem())
	j := open(t, cfg)
	a2, a300, ab, b := refused("a", 2, 0, 1), refused("a", 300, 1, 1), refused("a-b", 1, 2, 1), refused("b", 7, 3, 1)
	parkAll(t, j, b, ab, a300, a2)
	shut(t, j)
	j = open(t, cfg)
	diff(t, "all", parkedOf(t, j, "", 0, 10), []*journalv1.Parked{a2, a300, ab, b})
	diff(t, "of one sink", parkedOf(t, j, "a", 0, 10), []*journalv1.Parked{a2, a300})
	diff(t, "from a position on", parkedOf(t, j, "a", 3, 10), []*journalv1.Parked{a300})
	diff(t, "at most one", parkedOf(t, j, "a", 0, 1), []*journalv1.Parked{a2})
	c := claimed(t, j, "a")
	if err := c.Unpark(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := c.Unpark(t.Context(), 2); err != nil {
		t.Errorf("unpark again: %v", err)
	}
	diff(t, "after unpark", parkedOf(t, j, "", 0, 10), []*journalv1.Parked{a300, ab, b})
	for _, name := range []string{"", "a\x00b"} {
		if _, err := j.Claim(t.Context(), name); !errors.Is(err, letters.ErrReader) {
			t.Errorf("claim of %q: %v", name, err)
		}
		if err := j.Register(t.Context(), name, 1, journal.Hold); !errors.Is(err, letters.ErrReader) {
			t.Errorf("register %q: %v", name, err)
		}
	}
}

// An event that is refused again keeps its first time; its history is bounded in number and in length.
func TestParkedAgain(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	parkAll(t, j, refused("a", 2, 0, 8), refused("a", 2, 8, 4))
	want := refused("a", 2, 0, 12)
	want.Attempts = want.Attempts[2:]
	diff(t, "parked twice", parkedOf(t, j, "a", 0, 10), []*journalv1.Parked{want})

	long := refused("a", 3, 0, 1)
	long.Reason = strings.Repeat("é", letters.MaxReason) + "\xff"
	long.Attempts[0].Error = long.Reason
	parkAll(t, j, long)
	got := parkedOf(t, j, "a", 3, 1)[0]
	for _, text := range []string{got.GetReason(), got.GetAttempts()[0].GetError()} {
		if len(text) > letters.MaxReason+len("…") || !strings.HasSuffix(text, "é…") {
			t.Errorf("%d bytes are kept, ending %q", len(text), text[len(text)-8:])
		}
	}
}

// What is parked outlives the events, and the journal's crash.
func TestParkedOutlives(t *testing.T) {
	c := newClock()
	fs := vfs.NewCrashableMem()
	cfg := testConfig(fs)
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: time.Hour, ParkedAge: -1}
	j := open(t, cfg)
	hourly(t, j, c, 1, 3)
	p := refused("a", 1, 0, 1)
	parkAll(t, j, p)
	if _, err := claimed(t, j, "a").RecordGap(t.Context(), 1, 2); err != nil {
		t.Fatal(err)
	}
	c.Advance(2000 * time.Hour)
	diff(t, "bounds", retainTwice(t, j), sinks.Bounds{Earliest: 4, Next: 4})
	cfg.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	j = open(t, cfg)
	diff(t, "parked", parkedOf(t, j, "", 0, 10), []*journalv1.Parked{p})
	if gaps, err := j.Gaps(t.Context(), "a"); err != nil || len(gaps) != 1 {
		t.Errorf("gaps: %v, %v", gaps, err)
	}
}

func TestParkOnFailedDisk(t *testing.T) {
	var failing atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errors.New("disk is gone")
		}
		return nil
	}))
	j := open(t, testConfig(fs))
	c := claimed(t, j, "a")
	failing.Store(true)
	if err := c.Park(t.Context(), refused("a", 1, 0, 1)); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("park: %v, want ErrUnavailable", err)
	}
	shut(t, j)
	if err := c.Park(t.Context(), refused("a", 1, 0, 1)); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("park after close: %v, want ErrClosed", err)
	}
}
