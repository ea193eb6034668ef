package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// A replay during which the sink is fenced ends the run, moves no cursor, and goes on in the next run.
func TestReplayFenced(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		s := r.resumerScript(t)
		s.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
			if events[0].Position > 4 {
				return 0, fmt.Errorf("another opening: %w", sinks.ErrFenced)
			}
			return s.Resumer.Deliver(ctx, events)
		}
		r.replay(t, "one", 1, 11, nil)
		end := start(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Batch: Batch{Count: 2}}))
		sleep(10 * time.Second)
		if err := end(); !errors.Is(err, sinks.ErrFenced) {
			t.Errorf("the run ended with %v", err)
		}
		r.checkReplay(t, &journalv1.Replay{Id: "one", From: 1, To: 11, Next: 5, Delivered: 4, State: replayRunning})
		r.checkStored(t, 11)
		diff(t, "cursor", r.saved(t), 11)

		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{r.resumer(t)}}))
		sleep(10 * time.Second)
		stop()
		r.checkReplay(t, &journalv1.Replay{Id: "one", From: 1, To: 11, Next: 11, Delivered: 10, State: replayDone})
		diff(t, "replayed", r.replayed("one"), through(1, 10))
		diff(t, "delivered first", r.first(), through(1, 10))
	})
}

// A replay whose claim is lost, to another replica or by an operator's move, saves nothing more. The next holder continues it, after its
// own deliveries of the events.
func TestReplayLost(t *testing.T) {
	for _, to := range []sinks.Position{0, 1, 4, 11} {
		t.Run(fmt.Sprint("moved to ", to), func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(10, 3)...)
				r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
				s := r.resumerScript(t)
				s.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
					sleep(2 * time.Second)
					return s.Resumer.Deliver(ctx, events)
				}
				r.replay(t, "one", 1, 11, nil)
				d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Batch: Batch{Count: 2}})
				end := start(t, d)
				sleep(4 * time.Second) // in the second batch
				if to > 0 {
					r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.MoveTo(ctx, sinkName, to) })
				}
				close(d.cfg.Claim.(claim).lost)
				next := r.dispatcher(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
				sleep(5 * time.Second)
				if err := end(); !errors.Is(err, journal.ErrLost) {
					t.Errorf("the run ended with %v", err)
				}
				stop := started(t, next)
				sleep(10 * time.Second)
				r.append(t, orders(2, 2)...)
				sleep(10 * time.Second)
				stop()

				again := 0
				if to > 0 {
					again = 11 - int(to)
				}
				diff(t, "delivered first", len(r.first()), 12+again)
				got := r.replayOf(t, "one")
				if got.GetState() != replayDone || got.GetNext() != 11 || got.GetDelivered() != 10 {
					t.Errorf("replay %v", got)
				}
				seen := map[sinks.Position]bool{}
				for _, p := range r.replayed("one") {
					seen[p] = true
				}
				diff(t, "replayed", len(seen), 10)
				r.checkStored(t, 13)
				diff(t, "cursor", r.saved(t), 13)
			})
		})
	}
}

// An operator's move counts, once, wherever it comes: while a batch is under way, and while the destination does not say how far it is.
func TestMovedInBetween(t *testing.T) {
	for _, to := range []sinks.Position{2, 8} {
		for _, where := range []string{"deliver", "resume"} {
			t.Run(fmt.Sprint(where, " ", to), func(t *testing.T) {
				run(t, func(t *testing.T, r *rig) {
					r.append(t, orders(4, 2)...)
					r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
					r.append(t, orders(6, 2)...)
					s := r.resumerScript(t)
					switch where {
					case "deliver": // The destination stores the batch, after the move.
						s.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
							sleep(2 * time.Second)
							return s.Resumer.Deliver(ctx, events)
						}
					case "resume":
						s.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
							<-ctx.Done()
							return sinks.Reached{}, false, ctx.Err()
						}
					}
					d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Batch: Batch{Count: 2}})
					end := start(t, d)
					synctest.Wait()
					r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.MoveTo(ctx, sinkName, to) })
					close(d.cfg.Claim.(claim).lost)
					next := r.dispatcher(t, Config{Sinks: []sinks.Sink{r.resumer(t)}, Batch: Batch{Count: 2}})
					sleep(5 * time.Second)
					if err := end(); !errors.Is(err, journal.ErrLost) {
						t.Errorf("the run ended with %v", err)
					}
					before := len(r.first())
					stop := started(t, next)
					synctest.Wait()
					stop()
					diff(t, "delivered after the move", r.first()[before:], through(int(to), 10))
					diff(t, "asked", next.Stats().Resumed, resumed(Moved))
					r.checkStored(t, 11)

					// The move is over: now the destination's position counts.
					r.append(t, orders(2, 2)...)
					r.crashed(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
					d = r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
					diff(t, "asked after a crash", d.Stats().Resumed, resumed(Ahead))
					diff(t, "delivered in the end", r.first()[before:], through(int(to), 12))
				})
			})
		}
	}
}

// A move is not lost, and not undone, when the process ends between the two steps: the destination's and the journal's.
func TestMovedAndCrashed(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 2)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.MoveTo(ctx, sinkName, 5) })
		s := r.resumerScript(t)
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}})
		r.mu.Lock()
		r.saveFails = 1000
		r.mu.Unlock()
		end := start(t, d)
		sleep(10 * time.Second)
		if err := end(); err != nil && !errors.Is(err, journal.ErrUnavailable) {
			t.Error(err)
		}
		r.mu.Lock()
		r.saveFails = 0
		r.mu.Unlock()
		diff(t, "the destination's moves", s.moved(), []sinks.Position{5})
		diff(t, "delivered", len(r.first()), 10)
		d = r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		diff(t, "asked", d.Stats().Resumed, resumed(Moved))
		diff(t, "delivered again", r.first()[10:], through(5, 10))
	})
}

// An event that was parked before a crash is not delivered after it to a destination that stores its position: then its retry would
// deliver it a second time.
func TestParkedBeforeCrash(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(6, 3)...)
		s := r.resumerScript(t)
		var open atomic.Bool
		s.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
			for i, e := range events {
				if e.Position == 4 && !open.Load() {
					n, err := s.Resumer.Deliver(ctx, events[:i])
					return n, errors.Join(err, sinks.ErrPermanent)
				}
				if e.Position == 5 && !open.Load() {
					n, err := s.Resumer.Deliver(ctx, events[:i])
					return n, errors.Join(err, errDown)
				}
			}
			return s.Resumer.Deliver(ctx, events)
		}
		r.crashed(t, Config{Sinks: []sinks.Sink{s}})
		diff(t, "parked", r.parkedAt(t), through(4, 4))
		open.Store(true)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.RequestRetry(ctx, sinkName, 4) })
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{r.resumer(t)}}))
		sleep(10 * time.Second)
		stop()
		count := map[sinks.Position]int{}
		for _, p := range r.first() {
			count[p]++
		}
		for p := sinks.Position(1); p <= 6; p++ {
			if count[p] != 1 {
				t.Errorf("%d arrived %d times", p, count[p])
			}
		}
		diff(t, "parked in the end", len(r.parkedAt(t)), 0)
	})
}

// So it is where the destination has no position yet, because all events so far were refused.
func TestParkedBeforeFirstPosition(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(3, 3)...)
		s := r.resumerScript(t)
		s.deliver = func(_ context.Context, events []sinks.Record) (int, error) {
			if events[0].Position == 1 {
				return 0, sinks.ErrPermanent
			}
			return 0, errDown
		}
		r.ran(t, Config{Sinks: []sinks.Sink{s}})
		diff(t, "parked", r.parkedAt(t), through(1, 1))
		diff(t, "cursor", r.saved(t), 1)
		s = r.resumerScript(t)
		first := true
		s.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
			reached, found, err := s.Resumer.Resume(ctx)
			found, first = found && !first, false
			return reached, found, err
		}
		r.ran(t, Config{Sinks: []sinks.Sink{s}})
		diff(t, "delivered", r.first(), through(2, 3))
		diff(t, "still parked", r.parkedAt(t), through(1, 1))
	})
}
