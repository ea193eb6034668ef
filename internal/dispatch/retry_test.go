package dispatch

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// An event that an operator discards while its retry is under way stays discarded when the retry fails.
func TestDiscardedDuringRetry(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(2, 1)...)
		tried := 0
		s := newScript(func(context.Context, []sinks.Record) (int, error) {
			if tried++; tried == 3 {
				r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.DiscardParked(ctx, sinkName, 1) })
			}
			return 0, sinks.Permanent(errors.New("no"))
		})
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}}))
		synctest.Wait()
		diff(t, "parked", r.parkedAt(t), through(1, 2))
		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.RequestRetry(ctx, sinkName, 1) })
		sleep(time.Minute)
		stop()
		diff(t, "attempts", len(s.attempts()), 3)
		diff(t, "parked after the discard", r.parkedAt(t), through(2, 2))
	})
}

// Parked events that the destination answers with a pause again and again do not hold up the new events of the lane.
func TestPausedRetryYields(t *testing.T) {
	for _, interval := range []time.Duration{time.Second, time.Minute, time.Hour} {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(3, 1)...)
			var changed atomic.Bool
			next := r.sink(t)
			s := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
				switch {
				case events[0].Position > 3:
					return next.Deliver(ctx, events)
				case changed.Load():
					return 0, &sinks.RetryAfterError{After: time.Minute, Err: errDown}
				default:
					return 0, sinks.Permanent(errors.New("no"))
				}
			})
			stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, RequestInterval: interval}))
			synctest.Wait()
			changed.Store(true)
			r.operate(t, func(ctx context.Context, j journal.Journal) error {
				return errors.Join(j.RequestRetry(ctx, sinkName, 1), j.RequestRetry(ctx, sinkName, 2), j.RequestRetry(ctx, sinkName, 3))
			})
			sleep(interval + 10*time.Second) // in the first pause
			for i := range 4 {
				r.append(t, orders(1, 1)...)
				sleep(time.Minute)
				diff(t, "received", r.received(), through(4, 4+i))
			}
			retries := len(s.attempts())
			sleep(3*interval + time.Minute)
			if len(s.attempts()) == retries {
				t.Error("the retries are not made any more")
			}
			diff(t, "parked", r.parkedAt(t), through(1, 3))
			stop()
		})
	}
}
