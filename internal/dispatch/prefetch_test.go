package dispatch

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// The lane reads the next batch while it delivers one, and no more than that, however long the destination fails.
func TestPrefetch(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(100, 3)...)
		var fails atomic.Bool
		fails.Store(true)
		var d *Dispatcher
		most := 0
		s := newScript(func(_ context.Context, events []sinks.Record) (int, error) {
			most = max(most, len(d.lanes[0].ahead))
			if fails.Load() {
				return 0, errDown
			}
			return len(events), nil
		})
		d = r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Batch: Batch{Count: 10}})
		stop := started(t, d)
		sleep(time.Hour)
		synctest.Wait()
		diff(t, "events in memory while the destination fails", len(d.lanes[0].ahead), 20)
		fails.Store(false)
		sleep(time.Minute)
		synctest.Wait()
		stop()
		diff(t, "most events in memory", most, 20)
		diff(t, "cursor", r.saved(t), 101)
		next := sinks.Position(1)
		for _, a := range s.attempts() {
			if first := a.Events[0]; first != next && first != 1 {
				t.Errorf("the batch after %d starts at %d", next-1, first)
			}
			next = a.Events[len(a.Events)-1] + 1
		}
	})
}

// preparing is a sink that notes what it has to prepare.
type preparing struct {
	*script
	prepare func(events []sinks.Record)
}

func (s preparing) Prepare(events []sinks.Record) { s.prepare(events) }

// While a batch is delivered, the sink prepares the events of the next one. Where a route chooses events, none is prepared.
func TestPrepare(t *testing.T) {
	for _, routed := range []bool{false, true} {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(100, 3)...)
			ready := make(chan sinks.Position, 100)
			var prepared []sinks.Position
			s := preparing{newScript(func(_ context.Context, events []sinks.Record) (int, error) {
				last := events[len(events)-1].Position
				for p := sinks.Position(0); !routed && last < 100 && p < last+10; p = <-ready { // the next batch is prepared meanwhile
				}
				return len(events), nil
			}), func(events []sinks.Record) {
				for _, e := range events {
					prepared = append(prepared, e.Position)
					ready <- e.Position
				}
			}}
			config := Config{Sinks: []sinks.Sink{s}, Batch: Batch{Count: 10}}
			if routed {
				config.Choose = func(*sinks.Record) (bool, error) { return true, nil }
			}
			stop := started(t, r.dispatcher(t, config))
			sleep(time.Minute)
			synctest.Wait()
			stop()
			diff(t, "cursor", r.saved(t), 101)
			var want []sinks.Position
			for p := sinks.Position(11); !routed && p <= 100; p++ {
				want = append(want, p)
			}
			diff(t, "prepared", prepared, want)
		})
	}
}
