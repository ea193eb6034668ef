package dispatch

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
)

// disk is in memory, and as full as a test says.
type disk struct {
	vfs.FS
	full *atomic.Bool
}

func (d disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if d.full.Load() {
		return vfs.DiskUsage{AvailBytes: 1}, nil
	}
	return vfs.DiskUsage{AvailBytes: math.MaxInt64}, nil
}

// When the disk ran low and the journal gave up what the sink had not taken, that is recorded, once, and delivery goes on
// at the earliest event there is.
func TestGap(t *testing.T) {
	var full atomic.Bool
	var later atomic.Int64
	cfg := pebble.Config{
		Dir: "journal", FS: disk{vfs.NewMem(), &full}, MinFree: 1000, Interval: time.Millisecond,
		Retention: pebble.Retention{Age: time.Hour},
		Now:       func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
	}
	runOn(t, cfg, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 1)...)
		r.store.BreakAfter(4)
		stop := started(t, r.dispatcher(t, Config{}))
		synctest.Wait()
		stop()
		r.outside(func() {
			full.Store(true)
			later.Store(int64(2 * time.Hour))
			until(func() bool { return r.journal.Bounds().Earliest == 11 })
			full.Store(false)
			until(func() bool { return r.journal.Health().Available })
		})
		r.append(t, orders(2, 1)...)
		r.store.Repair()

		lanes := []sinks.Sink{r.sink(t), r.sink(t)}
		d := r.dispatcher(t, Config{Sinks: lanes})
		// A retry that is requested meanwhile does not cut off the count of the gap.
		r.afterGap = func() {
			for _, l := range d.lanes {
				l.requestRetry(retry{parked: &journalv1.Parked{Position: 1}, broken: errDown})
			}
		}
		stop = started(t, d)
		synctest.Wait()
		diff(t, "received", r.received(), slices.Concat(through(1, 4), through(11, 12)))
		diff(t, "skipped", d.Stats().Skipped, 6)
		stop()
		diff(t, "cursor", r.saved(t), 13)
		r.outside(func() {
			gaps, err := r.journal.Gaps(context.Background(), sinkName)
			if err != nil || len(gaps) != 1 || gaps[0].GetFrom() != 5 || gaps[0].GetTo() != 11 {
				t.Errorf("gaps: %v, %v", gaps, err)
			}
		})
	})
}

// until waits for the journal's own work, in real time.
func until(reached func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !reached() {
		<-tick.C
	}
}

// A cursor past the log's end stops the reader, also when the log has grown past the cursor since. Only an operator moves it.
func TestPastTheEnd(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(3, 1)...)
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{r.sink(t), r.sink(t)}})
		for _, l := range d.lanes {
			l.next = 9
			l.report()
		}
		d.saved = 9
		began := time.Now()
		stop := started(t, d)
		synctest.Wait()
		r.append(t, orders(20, 1)...)
		sleep(time.Hour)
		diff(t, "received", r.received(), nil)
		diff(t, "blocked", d.Stats().Blocked, []Blocked{{Position: 9, Reason: sinks.ErrFuture.Error(), Since: began, PastEnd: true}})
		stop()
		diff(t, "cursor", r.saved(t), 1)

		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.MoveTo(ctx, sinkName, 4) })
		stop = started(t, r.dispatcher(t, Config{}))
		synctest.Wait()
		stop()
		diff(t, "received after it was moved", r.received(), through(4, 23))
	})
}

func TestLaneOf(t *testing.T) {
	header := func(source, subject, id string) *sinks.Header {
		return &sinks.Header{ID: []byte(id), Source: []byte(source), Subject: []byte(subject), Type: []byte("order.changed")}
	}
	used := map[int]int{}
	for i := range 1000 {
		subject := "order/" + webhookID(i)
		lane := laneOf(header("till", subject, "a"), 8)
		used[lane]++
		diff(t, "lane of another event", laneOf(header("till", subject, "b"), 8), lane)
	}
	for lane := range 8 {
		if used[lane] < 60 {
			t.Errorf("lane %d has %d of 1000 subjects", lane, used[lane])
		}
	}
	diff(t, "lane of nothing", laneOf(&sinks.Header{}, 8) < 8, true)
}

// An event that the log cannot read stops its sink before it. Once it can be read, or an operator has moved the sink, the sink
// continues.
func TestDamage(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(6, 1)...)
		r.damage(4)
		d := r.dispatcher(t, Config{})
		began := time.Now()
		stop := started(t, d)
		synctest.Wait()
		reads := r.damagedReads()
		sleep(10 * time.Minute)
		diff(t, "received", r.received(), through(1, 3))
		damage := &sinks.DamagedError{Position: 4, Err: errDown}
		diff(t, "blocked", d.Stats().Blocked, []Blocked{{Position: 4, Reason: damage.Error(), Since: began, PastEnd: true}})
		if n := r.damagedReads() - reads; n < 1 || n > 60 {
			t.Errorf("%d reads in ten minutes", n)
		}
		r.damage(0)
		sleep(10 * time.Minute)
		diff(t, "received when the log was repaired", r.received(), through(1, 6))
		diff(t, "blocked", d.Stats().Blocked, nil)
		stop()
		diff(t, "cursor", r.saved(t), 7)
	})
}

// Events that the storage lost are a gap: the sink continues behind them, and the gap is recorded.
func TestLostEvents(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(9, 1)...)
		r.lose(4, 7)
		d := r.dispatcher(t, Config{})
		stop := started(t, d)
		synctest.Wait()
		diff(t, "received", r.received(), slices.Concat(through(1, 3), through(7, 9)))
		diff(t, "skipped", d.Stats().Skipped, 3)
		stop()
		diff(t, "cursor", r.saved(t), 10)
		r.outside(func() {
			gaps, err := r.journal.Gaps(context.Background(), sinkName)
			if err != nil || len(gaps) != 1 || gaps[0].GetFrom() != 4 || gaps[0].GetTo() != 7 {
				t.Errorf("gaps: %v, %v", gaps, err)
			}
		})
	})
}
