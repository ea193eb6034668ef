package pebble

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/sinks"
)

func TestEventAt(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	appendAll(t, j, entry(1, 10, 1), entry(2, 10, 2))
	got, err := j.EventAt(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "event", got, decodedEvent(entry(2, 10, 2).Events[1]))
	for p, want := range map[sinks.Position]error{0: sinks.ErrExpired, 4: sinks.ErrFuture} {
		_, err := j.EventAt(t.Context(), p)
		wantErr(t, fmt.Sprint("position ", p), err, want)
	}
}

func TestCommittedAt(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: 90 * time.Minute}
	j := open(t, cfg)
	hourly(t, j, c, 1, 3)
	retainTwice(t, j)
	if at, err := j.CommittedAt(t.Context(), 3); err != nil || !at.Equal(start.Add(2*time.Hour)) {
		t.Errorf("the last: %v, %v", at, err)
	}
	if _, err := j.CommittedAt(t.Context(), 1); !errors.Is(err, sinks.ErrExpired) {
		t.Errorf("one given up: %v", err)
	}
	if _, err := j.CommittedAt(t.Context(), 4); !errors.Is(err, sinks.ErrFuture) {
		t.Errorf("the next: %v", err)
	}
}
