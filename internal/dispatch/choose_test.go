package dispatch

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/webhook-bridge/bridge/sinks"
)

// Events that are not chosen are passed over: the cursor goes on, in one lane and in several.
func TestChoose(t *testing.T) {
	for _, lanes := range []int{1, 3} {
		t.Run(fmt.Sprint(lanes, " lanes"), func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(20, 7)...)
				var all []sinks.Sink
				for range lanes {
					all = append(all, refusing(r.sink(t), 8))
				}
				d := r.dispatcher(t, Config{
					Sinks: all, Batch: Batch{Count: 6},
					Choose: func(e *sinks.Record) (bool, error) { return e.Position%4 == 0, nil },
				})
				stop := started(t, d)
				synctest.Wait()
				r.append(t, orders(3, 3)...) // 21, 22 and 23: none is chosen
				synctest.Wait()
				stop()
				got := d.Stats()
				diff(t, "stats", got, Stats{Position: 24, Delivered: 4, Parked: 1, LeftOut: 18})
				diff(t, "cursor", r.saved(t), 24)
				diff(t, "parked", r.parkedAt(t), []sinks.Position{8})
				received := map[sinks.Position]bool{}
				for _, p := range r.received() {
					received[p] = true
				}
				diff(t, "received", received, map[sinks.Position]bool{4: true, 12: true, 16: true, 20: true})
			})
		})
	}
}
