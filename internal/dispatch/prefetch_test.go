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
