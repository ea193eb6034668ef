package dispatch

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// When the claim is lost, a Deliver under way has its grace, nothing is saved, and Run says so.
func TestLost(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(5, 2)...)
		stuck := newScript(func(ctx context.Context, _ []sinks.Record) (int, error) {
			<-ctx.Done()
			return 3, ctx.Err()
		})
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{stuck}, Grace: 7 * time.Second})
		ended := make(chan error)
		go func() { ended <- d.Run(t.Context()) }()
		sleep(time.Minute)
		began := time.Now()
		close(d.cfg.Claim.(claim).lost)
		if err := <-ended; !errors.Is(err, journal.ErrLost) {
			t.Errorf("run: %v, want ErrLost", err)
		}
		diff(t, "grace", time.Since(began), 7*time.Second)
		diff(t, "saves", r.saves, nil)
	})
}

// A write that says that the claim is lost ends Run, even before the claim says so.
func TestLostOnWrite(t *testing.T) {
	for name, poison := range map[string][]sinks.Position{"park": {2}, "last save": nil} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(5, 2)...)
				d := r.dispatcher(t, Config{Sinks: []sinks.Sink{refusing(r.sink(t), poison...)}})
				r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.Pause(ctx, sinkName) })
				end := start(t, d)
				synctest.Wait()
				if err := end(); !errors.Is(err, journal.ErrLost) {
					t.Errorf("run: %v, want ErrLost", err)
				}
				diff(t, "parked", r.parkedAt(t), nil)
				diff(t, "cursor", r.saved(t), 1)
			})
		})
	}
}

// A reader that was moved back delivers again from there.
func TestMovedBack(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(5, 2)...)
		counters := new(Counters)
		stop := started(t, r.dispatcher(t, Config{Counters: counters}))
		synctest.Wait()
		stop()
		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.MoveTo(ctx, sinkName, 3) })
		d := r.dispatcher(t, Config{Counters: counters})
		stop = started(t, d)
		synctest.Wait()
		stop()
		diff(t, "received", r.received(), slices.Concat(through(1, 5), through(3, 5)))
		diff(t, "counted by both dispatchers", d.Stats().Delivered, 8)
	})
}

func TestRetryParked(t *testing.T) {
	for _, lanes := range []int{1, 3} {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(10, 4)...)
			var changed atomic.Bool
			next := r.sink(t)
			bad, worse := refusing(next, 3, 4, 6), refusing(next, 4)
			var all []sinks.Sink
			for range lanes {
				all = append(all, newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
					if changed.Load() {
						return worse.Deliver(ctx, events)
					}
					return bad.Deliver(ctx, events)
				}))
			}
			stop := started(t, r.dispatcher(t, Config{Sinks: all, RequestInterval: 2 * time.Second}))
			synctest.Wait()
			diff(t, "parked", r.parkedAt(t), []sinks.Position{3, 4, 6})
			changed.Store(true)
			r.operate(t, func(ctx context.Context, j journal.Journal) error {
				return errors.Join(j.RequestRetry(ctx, sinkName, 3), j.RequestRetry(ctx, sinkName, 4))
			})
			before := len(r.received())
			sleep(time.Minute)
			diff(t, "delivered once", r.received()[before:], through(3, 3))
			diff(t, "still parked", r.parkedAt(t), []sinks.Position{4, 6})
			diff(t, "attempts", []uint64{r.parked(t)[0].GetAttemptCount(), r.parked(t)[1].GetAttemptCount()}, []uint64{2, 1})
			stop()
			diff(t, "cursor", r.saved(t), 11)
		})
	}
}

// A retry obeys the route, which may be another one than when the event was parked. What the route does not choose is not delivered, and is no
// longer parked; what it cannot decide about stays.
func TestRetryParkedRoute(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(4, 4)...)
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{refusing(r.sink(t), 1, 2, 3)}}))
		synctest.Wait()
		stop()
		diff(t, "parked", r.parkedAt(t), through(1, 3))
		d := r.dispatcher(t, Config{Choose: func(e *sinks.Record) (bool, error) {
			if e.Position == 3 {
				return false, errors.New("no such field")
			}
			return e.Position == 2, nil
		}})
		stop = started(t, d)
		r.operate(t, func(ctx context.Context, j journal.Journal) error {
			return errors.Join(j.RequestRetry(ctx, sinkName, 1), j.RequestRetry(ctx, sinkName, 2), j.RequestRetry(ctx, sinkName, 3))
		})
		sleep(time.Minute)
		stop()
		diff(t, "received", r.received(), []sinks.Position{4, 2})
		diff(t, "parked", r.parkedAt(t), through(3, 3))
		diff(t, "reason", r.parked(t)[0].GetReason(), "dispatch: the route cannot decide about the event: no such field")
		diff(t, "left out", d.Stats().LeftOut, 1)
	})
}

// While the destination fails, retries wait, and when it asks for a pause, the retry is made after that. A request outlives
// the run that could not carry it out.
func TestRetryWaits(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(2, 1)...)
		next := r.sink(t)
		var answer atomic.Pointer[error]
		s := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			if err := answer.Load(); err != nil {
				return 0, *err
			}
			return next.Deliver(ctx, events)
		})
		refuse := sinks.Permanent(errors.New("no"))
		answer.Store(&refuse)
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}}))
		synctest.Wait()
		down := errDown
		answer.Store(&down)
		r.append(t, orders(1, 1)...)
		synctest.Wait()
		r.operate(t, func(ctx context.Context, j journal.Journal) error {
			return errors.Join(j.RequestRetry(ctx, sinkName, 1), j.RequestRetry(ctx, sinkName, 2))
		})
		sleep(time.Hour)
		diff(t, "attempts while it is down", r.parked(t)[0].GetAttemptCount(), 1)
		stop()

		pause := error(&sinks.RetryAfterError{After: time.Minute, Err: errDown})
		answer.Store(&pause)
		stop = started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}}))
		sleep(90 * time.Second)
		answer.Store(nil)
		sleep(3 * time.Minute)
		diff(t, "received", slices.Sorted(slices.Values(r.received())), through(1, 3))
		diff(t, "parked", r.parkedAt(t), nil)
		stop()
	})
}
