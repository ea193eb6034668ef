package pebble

import (
	"context"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/subscribe/subscribetest"
)

// TestStreamHistories: the subscription service keeps its promises over this engine, whatever happens to its clients and to the machine.
func TestStreamHistories(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 15
	}
	subscribetest.Bubbles(t, seeds, newMachine)
}

// TestStreamHistoriesFindFaults: each promise has a fault that histories find.
func TestStreamHistoriesFindFaults(t *testing.T) { subscribetest.FindsFaults(t, newMachine) }

// machine runs one process after the other on a disk that loses power.
type machine struct {
	t    *testing.T
	disk *poweredFS
	j    *Journal
	cuts int
}

// newMachine makes the machine of one history.
func newMachine(t *testing.T, _ uint64) subscribetest.Harness {
	m := &machine{t: t, disk: newPoweredFS(newSwitchFS())}
	t.Cleanup(func() { _ = m.j.Close() })
	return subscribetest.Harness{
		Replicas: 1,
		Open:     func(int) (journal.Journal, error) { return m.open() },
		Kill:     func(int) { m.cut() },
		Arm:      func(_, n int) { m.disk.cutAt(n, m.percent()) },
		Retain: func() {
			if err := m.j.retain(); err != nil {
				t.Logf("retention: %v", err) // The power may be cut.
			}
		},
		Age: 10 * time.Second,
	}
}

// open opens the journal. The one before it is closed, or without power.
func (m *machine) open() (journal.Journal, error) {
	if m.j != nil {
		_ = m.j.Close()
	}
	cfg := testConfig(m.disk)
	cfg.Retention = Retention{Age: 10 * time.Second, Size: -1}
	var err error
	m.j, err = Open(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return m.j, nil
}

// percent is how much of what was not synced outlives the power.
func (m *machine) percent() int { return 50 * (m.cuts % 3) }

// cut cuts the power. The next process finds what is left.
func (m *machine) cut() {
	m.cuts++
	left := m.disk.cut(m.percent())
	_ = m.j.Close() // It has no power.
	m.disk = newPoweredFS(&switchFS{FS: left, current: left})
}
