package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const ms = time.Millisecond

func fails(context.Context, []sinks.Record) (int, error) { return 0, errDown }

// times are when attempts began.
func times(all []attempt) []time.Duration {
	var at []time.Duration
	for _, a := range all {
		at = append(at, a.At)
	}
	return at
}

func TestBackoff(t *testing.T) {
	for name, x := range map[string]struct {
		jitter float64
		want   []time.Duration
	}{
		"longest":  {0, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms, 2500 * ms, 3500 * ms, 4500 * ms}},
		"shortest": {1, []time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 750 * ms, 1250 * ms, 1750 * ms, 2250 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(3, 1)...)
				s := newScript(fails)
				stop := started(t, r.dispatcher(t, Config{
					Sinks: []sinks.Sink{s}, Backoff: Backoff{Max: time.Second}, Breaker: Breaker{Failures: 1000},
					Jitter: func() float64 { return x.jitter },
				}))
				sleep(x.want[len(x.want)-1])
				synctest.Wait()
				stop()
				diff(t, "attempts", times(s.attempts()), x.want)
			})
		})
	}
}

func TestJitterIsRandomAndBounded(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := jittered(time.Second, random())
		if d < time.Second/2 || d > time.Second {
			t.Fatalf("%v of a second", d)
		}
		seen[d] = true
	}
	if len(seen) < 900 {
		t.Errorf("%d different waits of 1000", len(seen))
	}
}

// After a success, also of only a part, the waits start at the first one again.
func TestBackoffAfterProgress(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(4, 1)...)
		takes := []int{0, 0, 1, 0, 3}
		s := newScript(func(_ context.Context, events []sinks.Record) (int, error) {
			n := takes[0]
			takes = takes[1:]
			if n < len(events) {
				return n, errDown
			}
			return n, nil
		})
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}}))
		sleep(time.Minute)
		stop()
		diff(t, "attempts", times(s.attempts()), []time.Duration{0, 100 * ms, 300 * ms, 400 * ms, 600 * ms})
	})
}

// After some failures in a row only one event is tried, now and then. When it is taken the rest follows.
func TestBreaker(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.store.Break()
		next := r.sink(t)
		s := newScript(next.Deliver)
		d := r.dispatcher(t, Config{
			Sinks: []sinks.Sink{s}, Backoff: Backoff{Min: time.Second, Max: time.Second},
			Breaker: Breaker{Failures: 3, Pause: time.Minute},
		})
		stop := started(t, d)
		synctest.Wait()
		diff(t, "after the first failure", d.Stats().Breaker, Closed)
		sleep(2 * time.Second)
		synctest.Wait()
		diff(t, "after the third", d.Stats().Breaker, Open)
		sleep(90 * time.Second)
		r.store.Stall()
		sleep(time.Minute)
		synctest.Wait()
		diff(t, "while a probe is under way", d.Stats().Breaker, HalfOpen)
		r.store.Repair()
		synctest.Wait()
		diff(t, "when it was taken", d.Stats().Breaker, Closed)
		stop()
		all, one := through(1, 10), through(1, 1)
		diff(t, "attempts", s.attempts(), []attempt{
			{0, all},
			{time.Second, all},
			{2 * time.Second, all},
			{62 * time.Second, one},
			{122 * time.Second, one},
			{152 * time.Second, through(2, 10)},
		})
	})
}

// A destination that refuses an event for good is there.
func TestBreakerAndRefusal(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		next := refusing(r.sink(t), 1)
		var down atomic.Bool
		down.Store(true)
		s := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			if down.Load() {
				return 0, errDown
			}
			return next.Deliver(ctx, events)
		})
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Breaker: Breaker{Failures: 1, Pause: time.Minute}}))
		synctest.Wait()
		down.Store(false)
		sleep(time.Minute)
		synctest.Wait()
		stop()
		diff(t, "attempts", s.attempts(), []attempt{
			{0, through(1, 10)},
			{time.Minute, through(1, 1)},
			{time.Minute, through(2, 10)},
		})
	})
}

func TestRetryAfter(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(2, 1)...)
		waits := []time.Duration{7 * time.Second, time.Hour, 3 * time.Second, 0, 0}
		s := newScript(func(_ context.Context, events []sinks.Record) (int, error) {
			if len(waits) == 0 {
				return len(events), nil
			}
			after := waits[0]
			waits = waits[1:]
			return 0, errors.Join(errDown, &sinks.RetryAfterError{After: after, Err: errDown})
		})
		d := r.dispatcher(t, Config{
			Sinks: []sinks.Sink{s}, Breaker: Breaker{Failures: 3}, Jitter: func() float64 { return 1 },
		})
		stop := started(t, d)
		sleep(2 * time.Hour)
		diff(t, "breaker", d.Stats().Breaker, Closed)
		stop()
		end := 3610 * time.Second
		diff(t, "attempts; no time named is backoff", times(s.attempts()),
			[]time.Duration{0, 7 * time.Second, 3607 * time.Second, end, end + 50*ms, end + 150*ms})
	})
}

func TestBatches(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		for _, n := range []int{5, 1, 3} {
			r.append(t, orders(n, 1)...)
		}
		size := len(encodedAt(t, r, 1))
		s := newScript(r.sink(t).Deliver)
		deliver := func(b Batch) []attempt {
			s.calls, s.began = nil, time.Now()
			stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Batch: b}))
			sleep(time.Minute)
			synctest.Wait()
			stop()
			if err := r.claim(t).Save(t.Context(), 1); err != nil {
				t.Error(err)
			}
			return s.attempts()
		}
		diff(t, "by default", deliver(Batch{}), []attempt{{0, through(1, 9)}})
		diff(t, "by count", deliver(Batch{Count: 4}), []attempt{{0, through(1, 4)}, {0, through(5, 8)}, {0, through(9, 9)}})
		diff(t, "by bytes", deliver(Batch{Bytes: 5*size - 1})[0], attempt{0, through(1, 4)})
		diff(t, "of one that is larger", deliver(Batch{Bytes: 1})[:2], []attempt{{0, through(1, 1)}, {0, through(2, 2)}})
		diff(t, "after a delay", deliver(Batch{Delay: time.Second}), []attempt{{time.Second, through(1, 9)}})
		diff(t, "full before the delay", deliver(Batch{Count: 9, Delay: time.Second}), []attempt{{0, through(1, 9)}})
	})
}

// What comes within the delay goes along, and nothing waits longer than that.
func TestDelay(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		s := newScript(r.sink(t).Deliver)
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Batch: Batch{Delay: time.Second}}))
		for range 6 {
			sleep(400 * ms)
			r.append(t, "order/1")
		}
		sleep(time.Minute)
		stop()
		diff(t, "attempts", s.attempts(), []attempt{{1400 * ms, through(1, 3)}, {2600 * ms, through(4, 6)}})
	})
}

// Many deliveries share a save of the cursor, and the last of them is saved soon, also while nothing more comes.
func TestCursorIsSavedNowAndThen(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		stop := started(t, r.dispatcher(t, Config{SaveEvents: 30}))
		for range 100 {
			r.append(t, "order/1")
			sleep(100 * ms)
			synctest.Wait()
		}
		sleep(time.Second)
		r.mu.Lock()
		diff(t, "saves by time, after that of the new cursor", len(r.saves), 10)
		r.saves = nil
		r.mu.Unlock()
		diff(t, "cursor", r.saved(t), 101)
		r.append(t, orders(30, 1)...)
		synctest.Wait()
		diff(t, "cursor, by count", r.saved(t), 131)
		r.append(t, orders(5, 1)...)
		r.mu.Lock()
		r.saveFails = 2
		r.mu.Unlock()
		sleep(4 * time.Second)
		diff(t, "cursor, after saves that failed", r.saved(t), 136)
		stop()
	})
}

// Run ends as soon as a Deliver under way has, and waits for nothing else.
func TestShutdown(t *testing.T) {
	for name, x := range map[string]struct {
		takes  time.Duration
		want   time.Duration
		cursor sinks.Position
	}{
		"ends in time":  {3 * time.Second, 3 * time.Second, 5},
		"is cut off":    {time.Hour, 5 * time.Second, 1},
		"ended already": {0, 0, 5},
	} {
		t.Run("deliver "+name, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(4, 1)...)
				stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{newScript(
					func(ctx context.Context, events []sinks.Record) (int, error) {
						select {
						case <-time.After(x.takes):
							return len(events), ctx.Err()
						case <-ctx.Done():
							return 0, ctx.Err()
						}
					})}}))
				synctest.Wait()
				began := time.Now()
				stop()
				diff(t, "took", time.Since(began), x.want)
				diff(t, "cursor", r.saved(t), x.cursor)
			})
		})
	}
	t.Run("while waiting", func(t *testing.T) {
		for _, cfg := range []Config{{}, {Breaker: Breaker{Failures: 1}}, {Batch: Batch{Delay: time.Hour}}, {StrictOrder: true}} {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(4, 1)...)
				cfg.Sinks = []sinks.Sink{newScript(fails)}
				if cfg.StrictOrder {
					cfg.Sinks[0] = refusing(r.sink(t), 1)
				}
				stop := started(t, r.dispatcher(t, cfg))
				synctest.Wait()
				began := time.Now()
				stop()
				diff(t, "took", time.Since(began), 0)
				diff(t, "cursor", r.saved(t), 1)
			})
		}
	})
	t.Run("while a refused event cannot be parked", func(t *testing.T) {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(4, 1)...)
			r.parkFails = 1000
			stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{refusing(r.sink(t), 2)}}))
			sleep(time.Minute)
			synctest.Wait()
			began := time.Now()
			stop()
			diff(t, "took", time.Since(began), 0)
			diff(t, "cursor", r.saved(t), 2)
		})
	})
}

func TestStrictOrder(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 2)...)
		var repaired atomic.Bool
		next := r.sink(t)
		bad := refusing(next, 4, 8)
		s := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			if repaired.Load() {
				return next.Deliver(ctx, events)
			}
			return bad.Deliver(ctx, events)
		})
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, StrictOrder: true, Breaker: Breaker{Pause: time.Minute}})
		began := time.Now()
		stop := started(t, d)
		sleep(150 * time.Second)
		diff(t, "attempts", s.attempts(), []attempt{{0, through(1, 10)}, {time.Minute, through(4, 4)}, {2 * time.Minute, through(4, 4)}})
		diff(t, "stats", d.Stats(), Stats{
			Position: 4, LagEvents: 7, Delivered: 3, Blocked: []Blocked{{Position: 4, Reason: "no room for 4", Since: began}},
		}, cmpopts.IgnoreFields(Stats{}, "Lag"))
		diff(t, "parked", r.parkedAt(t), nil)
		diff(t, "cursor", r.saved(t), 4)
		r.operate(t, func(ctx context.Context, j journal.Journal) error {
			return errors.Join(j.RequestPass(ctx, sinkName, 4), j.RequestPass(ctx, sinkName, 5))
		})
		sleep(time.Second)
		synctest.Wait()
		diff(t, "received after it was passed", r.received(), slices.Concat(through(1, 3), through(5, 7)))
		diff(t, "parked", r.parkedAt(t), []sinks.Position{4})
		diff(t, "tried", r.parked(t)[0].GetAttemptCount(), 3)

		repaired.Store(true)
		sleep(time.Minute)
		synctest.Wait()
		diff(t, "received after the next was taken", r.received(), slices.Concat(through(1, 3), through(5, 10)))
		diff(t, "stats", d.Stats(), Stats{Position: 11, Delivered: 9, Parked: 1})
		stop()
	})
}

// A destination that wants no more events stops its lane, without further attempts, until the sink is resumed or the event is passed.
func TestDisabled(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(5, 2)...)
		next := r.sink(t)
		gone := fmt.Errorf("%w: it is gone", sinks.ErrDisabled)
		s := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			if n, err := next.Deliver(ctx, events[:2]); err != nil {
				return n, err
			}
			return 2, gone
		})
		refuse := newScript(func(context.Context, []sinks.Record) (int, error) { return 0, gone })
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}})
		began := time.Now()
		stop := started(t, d)
		sleep(time.Hour)
		diff(t, "attempts", s.attempts(), []attempt{{0, through(1, 5)}})
		diff(t, "stats", d.Stats(), Stats{
			Position: 3, LagEvents: 3, Delivered: 2, Blocked: []Blocked{{Position: 3, Reason: gone.Error(), Since: began}},
		}, cmpopts.IgnoreFields(Stats{}, "Lag"))
		stop()

		d = r.dispatcher(t, Config{Sinks: []sinks.Sink{refuse}})
		stop = started(t, d)
		synctest.Wait()
		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.RequestPass(ctx, sinkName, 3) })
		sleep(time.Minute)
		diff(t, "parked", r.parkedAt(t), []sinks.Position{3})
		diff(t, "waits at", d.Stats().Blocked[0].Position, 4)
		stop()
		diff(t, "cursor", r.saved(t), 4)
	})
}

func TestLag(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.store.BreakAfter(2)
		d := r.dispatcher(t, Config{})
		diff(t, "of nothing", d.Stats(), Stats{Position: 1})
		stop := started(t, d)
		for range 3 {
			r.append(t, "order/1")
			r.commits = append(r.commits, time.Now())
			sleep(time.Second)
		}
		sleep(10 * time.Second)
		s := d.Stats()
		diff(t, "events", s.LagEvents, 1)
		diff(t, "time", s.Lag, 11*time.Second)
		stop()
	})
}
