package pebble

import (
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

func parkAll(t *testing.T, j *Journal, all ...*journalv1.Parked) {
	t.Helper()
	for _, p := range all {
		if err := j.Park(p); err != nil {
			t.Fatal(err)
		}
	}
}

func parkedOf(t *testing.T, j *Journal, sink string, from Position, limit int) []*journalv1.Parked {
	t.Helper()
	all, err := j.Parked(t.Context(), sink, from, limit)
	if err != nil {
		t.Fatal(err)
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
	if err := j.Unpark("a", 2); err != nil {
		t.Fatal(err)
	}
	if err := j.Unpark("a", 2); err != nil {
		t.Errorf("unpark again: %v", err)
	}
	diff(t, "after unpark", parkedOf(t, j, "", 0, 10), []*journalv1.Parked{a300, ab, b})
	for _, name := range []string{"", "a\x00b"} {
		if err := j.Park(refused(name, 1, 0, 1)); err == nil {
			t.Errorf("parked for a sink named %q", name)
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
	long.Reason = strings.Repeat("é", reasonKept) + "\xff"
	long.Attempts[0].Error = long.Reason
	parkAll(t, j, long)
	got := parkedOf(t, j, "a", 3, 1)[0]
	for _, text := range []string{got.GetReason(), got.GetAttempts()[0].GetError()} {
		if len(text) > reasonKept+len("…") || !strings.HasSuffix(text, "é…") {
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
	cfg.Retention = Retention{Age: time.Hour}
	j := open(t, cfg)
	hourly(t, j, c, 1, 3)
	p := refused("a", 1, 0, 1)
	parkAll(t, j, p)
	if _, err := j.RecordGap("a", 1, 2); err != nil {
		t.Fatal(err)
	}
	c.Advance(2000 * time.Hour)
	diff(t, "bounds", retained(t, j), Bounds{Earliest: 4, Next: 4})
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
	failing.Store(true)
	if err := j.Park(refused("a", 1, 0, 1)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("park: %v, want ErrUnavailable", err)
	}
	shut(t, j)
	if err := j.Park(refused("a", 1, 0, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("park after close: %v, want ErrClosed", err)
	}
}

func TestGaps(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	j := open(t, cfg)
	for _, step := range []struct {
		sink     string
		from, to Position
		fresh    uint64
		want     [][2]uint64
	}{
		{"a", 10, 20, 10, [][2]uint64{{10, 20}}},
		{"b", 12, 13, 1, [][2]uint64{{12, 13}}},
		{"a", 30, 40, 10, [][2]uint64{{10, 20}, {30, 40}}},
		{"a", 10, 20, 0, [][2]uint64{{10, 20}, {30, 40}}},
		{"a", 20, 22, 2, [][2]uint64{{10, 22}, {30, 40}}},
		{"a", 5, 8, 3, [][2]uint64{{5, 8}, {10, 22}, {30, 40}}},
		{"a", 7, 50, 20, [][2]uint64{{5, 50}}},
	} {
		c.Advance(time.Second)
		fresh, err := j.RecordGap(step.sink, step.from, step.to)
		if err != nil {
			t.Fatal(err)
		}
		diff(t, fmt.Sprint("fresh in ", step.from, step.to), fresh, step.fresh)
		all, err := j.Gaps(t.Context(), step.sink)
		if err != nil {
			t.Fatal(err)
		}
		var got [][2]uint64
		for _, g := range all {
			got = append(got, [2]uint64{g.GetFrom(), g.GetTo()})
		}
		diff(t, fmt.Sprint("gaps after ", step.from, step.to), got, step.want)
		if step.to == 50 {
			diff(t, "first", all[0].GetFirstAt().AsTime(), start.Add(time.Second))
			diff(t, "last", all[0].GetLastAt().AsTime(), start.Add(7*time.Second))
		}
	}
	if _, err := j.RecordGap("a", 3, 3); err == nil {
		t.Error("an empty gap was recorded")
	}
}

func TestGapsAreBounded(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	for i := range gapsKept + 3 {
		if _, err := j.RecordGap("a", Position(10*i+1), Position(10*i+2)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := j.Gaps(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "number", len(all), gapsKept)
	diff(t, "the oldest", all[0].GetFrom(), uint64(31))
}

func TestCommittedAt(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: 90 * time.Minute}
	j := open(t, cfg)
	hourly(t, j, c, 1, 3)
	retained(t, j)
	if at, err := j.CommittedAt(t.Context(), 3); err != nil || !at.Equal(start.Add(2*time.Hour)) {
		t.Errorf("the last: %v, %v", at, err)
	}
	if _, err := j.CommittedAt(t.Context(), 1); !errors.Is(err, ErrExpired) {
		t.Errorf("one given up: %v", err)
	}
	if _, err := j.CommittedAt(t.Context(), 4); !errors.Is(err, ErrFuture) {
		t.Errorf("the next: %v", err)
	}
}
