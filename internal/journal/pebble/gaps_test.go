package pebble

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

func TestGaps(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	j := open(t, cfg)
	claims := map[string]journal.Claim{"a": claimed(t, j, "a"), "b": claimed(t, j, "b")}
	for _, step := range []struct {
		sink     string
		from, to sinks.Position
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
		fresh, err := claims[step.sink].RecordGap(t.Context(), step.from, step.to)
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
	if _, err := claims["a"].RecordGap(t.Context(), 3, 3); err == nil {
		t.Error("an empty gap was recorded")
	}
}

func TestGapsAreBounded(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	c := claimed(t, j, "a")
	for i := range letters.MaxGaps + 3 {
		if _, err := c.RecordGap(t.Context(), sinks.Position(10*i+1), sinks.Position(10*i+2)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := j.Gaps(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "number", len(all), letters.MaxGaps)
	diff(t, "the oldest", all[0].GetFrom(), uint64(31))
}
