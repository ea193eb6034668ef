package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

// resumerScript is a Resumer that does as it is told.
type resumerScript struct {
	*memory.Resumer

	deliver func(ctx context.Context, events []sinks.Record) (int, error)
	resume  func(ctx context.Context) (sinks.Reached, bool, error)
	began   time.Time

	mu    sync.Mutex
	moves []sinks.Position
	asks  []time.Duration
}

func (s *resumerScript) moved() []sinks.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.moves)
}

func (s *resumerScript) asked() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asks)
}

func (s *resumerScript) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	if s.deliver != nil {
		return s.deliver(ctx, events)
	}
	return s.Resumer.Deliver(ctx, events)
}

func (s *resumerScript) Resume(ctx context.Context) (sinks.Reached, bool, error) {
	s.mu.Lock()
	s.asks = append(s.asks, time.Since(s.began))
	s.mu.Unlock()
	if s.resume != nil {
		return s.resume(ctx)
	}
	return s.Resumer.Resume(ctx)
}

func (s *resumerScript) MoveTo(ctx context.Context, p sinks.Position) error {
	err := s.Resumer.MoveTo(ctx, p)
	if err == nil {
		s.mu.Lock()
		s.moves = append(s.moves, p)
		s.mu.Unlock()
	}
	return err
}

func (r *rig) resumerScript(t *testing.T) *resumerScript {
	return &resumerScript{Resumer: r.resumer(t), began: time.Now()}
}

// crashed runs a dispatcher whose last save of the cursor fails, as in a crash.
func (r *rig) crashed(t *testing.T, cfg Config) *Dispatcher {
	t.Helper()
	d := r.dispatcher(t, cfg)
	end := start(t, d)
	synctest.Wait()
	r.mu.Lock()
	r.saveFails = 1
	r.mu.Unlock()
	if err := end(); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("run: %v", err)
	}
	return d
}

// ran runs a dispatcher until it has nothing to do.
func (r *rig) ran(t *testing.T, cfg Config) *Dispatcher {
	t.Helper()
	d := r.dispatcher(t, cfg)
	stop := started(t, d)
	synctest.Wait()
	stop()
	return d
}

func (r *rig) checkStored(t *testing.T, want sinks.Position) {
	t.Helper()
	got, found := r.store.Reached(sinkName)
	if want := (sinks.Reached{Log: r.ID(), Mark: r.Mark(want)}); !found || got != want {
		t.Errorf("the destination has reached %+v, %t; want %+v", got, found, want)
	}
}

func resumed(results ...Resumed) (all [resumedKinds]uint64) {
	for _, r := range results {
		all[r]++
	}
	return all
}

// A crash between a delivery and the save of the cursor repeats nothing.
func TestResume(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(20, 3)...)
		r.crashed(t, Config{Sinks: []sinks.Sink{r.resumer(t)}, Batch: Batch{Count: 7}})
		diff(t, "cursor after the crash", r.saved(t), 1)
		r.append(t, orders(5, 3)...)
		d := r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		diff(t, "received", r.received(), through(1, 25))
		diff(t, "cursor", r.saved(t), 26)
		diff(t, "stats", d.Stats(), Stats{Position: 26, Delivered: 5, Resumed: resumed(Ahead)})
		d = r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		diff(t, "results of the next start", d.Stats().Resumed, resumed(AtCursor))
		r.checkStored(t, 26)
	})
}

// A delivery whose answer was lost is not repeated: the destination is asked after each failure.
func TestAnswerLost(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(20, 3)...)
		s := r.resumerScript(t)
		failures := 0
		s.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
			if failures == 3 {
				return s.Resumer.Deliver(ctx, events)
			}
			failures++
			_, err := s.Resumer.Deliver(ctx, events[:failures])
			return 0, errors.Join(err, errDown)
		}
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Batch: Batch{Count: 10}})
		stop := started(t, d)
		sleep(time.Minute)
		synctest.Wait()
		stop()
		diff(t, "received", r.received(), through(1, 20))
		diff(t, "stats", d.Stats(), Stats{Position: 21, Delivered: 20, Retries: 3, Resumed: resumed(NoPosition, Ahead, Ahead, Ahead)})
	})
}

// A destination that is away is asked until it answers, with the waits and the breaker of deliveries, and nothing is delivered before.
func TestResumeWhileAway(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(5, 3)...)
		r.store.Break()
		s := r.resumerScript(t)
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Breaker: Breaker{Failures: 3}})
		stop := started(t, d)
		sleep(time.Minute)
		synctest.Wait()
		if state, _ := d.State(); state == Closed {
			t.Error("the breaker is closed")
		}
		diff(t, "asked", s.asked(), []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 30*time.Second + 300*time.Millisecond})
		r.store.Repair()
		sleep(time.Minute)
		synctest.Wait()
		stop()
		diff(t, "received", r.received(), through(1, 5))
		diff(t, "breaker", d.Stats().Breaker, Closed)
	})
}

// While the destination is away, a lost claim ends Run.
func TestLostWhileAway(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.store.Stall()
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		ended := make(chan error)
		go func() { ended <- d.Run(t.Context()) }()
		synctest.Wait()
		close(d.cfg.Claim.(claim).lost)
		if err := <-ended; !errors.Is(err, journal.ErrLost) {
			t.Errorf("run: %v", err)
		}
	})
}

// A sink that was fenced ends Run, and nothing is saved or moved any more.
func TestFenced(t *testing.T) {
	for _, when := range []string{"Resume", "Deliver", "MoveTo", "retry"} {
		t.Run(when, func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(3, 3)...)
				if when == "retry" {
					s := r.resumer(t)
					r.ran(t, Config{Sinks: []sinks.Sink{&resumerScript{Resumer: s, deliver: refusing(s, 2).Deliver}}})
				}
				s := r.resumerScript(t)
				fence := func() {
					if _, _, err := r.resumer(t).Resume(t.Context()); err != nil {
						t.Error(err)
					}
				}
				s.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
					reached, found, err := s.Resumer.Resume(ctx)
					fence()
					if when == "Resume" {
						return s.Resumer.Resume(ctx)
					}
					return reached, found, err
				}
				cfg := Config{Sinks: []sinks.Sink{s}}
				if when == "MoveTo" {
					cfg.Choose = func(*sinks.Record) (bool, error) { return false, nil }
				}
				if when == "retry" {
					r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.RequestRetry(ctx, sinkName, 2) })
				}
				ended := make(chan error, 1)
				d := r.dispatcher(t, cfg)
				before, received := r.saved(t), r.received()
				go func() { ended <- d.Run(t.Context()) }()
				select {
				case err := <-ended:
					if !errors.Is(err, sinks.ErrFenced) {
						t.Errorf("run: %v", err)
					}
				case <-time.After(time.Hour):
					t.Fatal("goes on")
				}
				diff(t, "cursor", r.saved(t), before)
				diff(t, "received", r.received(), received)
			})
		})
	}
}

// A destination that was restored to an earlier state gets the events again that it lost.
func TestDestinationRestored(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		backup := r.store.Copy()
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		r.store.Restore(backup)
		r.append(t, orders(10, 3)...)
		d := r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		diff(t, "received", r.received(), through(1, 30))
		diff(t, "stats", d.Stats(), Stats{Position: 31, Delivered: 20, Resumed: resumed(Behind)})
		diff(t, "cursor", r.saved(t), 31)
	})
}

// So does one that was restored while it was delivered to. The first delivery that fails tells.
func TestDestinationRestoredMeanwhile(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		stop := started(t, d)
		synctest.Wait()
		backup := r.store.Copy()
		r.append(t, orders(10, 3)...)
		synctest.Wait()
		stop()

		s := r.resumerScript(t)
		d = r.dispatcher(t, Config{Sinks: []sinks.Sink{s}})
		stop = started(t, d)
		synctest.Wait()
		s.deliver = func(context.Context, []sinks.Record) (int, error) {
			r.store.Restore(backup)
			s.Resumer, s.deliver = r.resumer(t), nil // it has connected again
			return 0, errDown
		}
		r.append(t, orders(10, 3)...)
		sleep(time.Minute)
		synctest.Wait()
		stop()
		diff(t, "received", r.received(), through(1, 30))
		diff(t, "results", d.Stats().Resumed, resumed(AtCursor, Behind))
	})
}

// What the journal no longer has of it is a gap.
func TestDestinationRestoredTooLate(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		backup := r.store.Copy()
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		r.store.Restore(backup)
		r.lose(11, 15)
		r.resolves = []error{sinks.ErrExpired}
		d := r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		diff(t, "received", r.received(), slices.Concat(through(1, 10), through(15, 20)))
		diff(t, "stats", d.Stats(), Stats{Position: 21, Delivered: 6, Skipped: 4, Resumed: resumed(Expired)})
		r.operate(t, func(ctx context.Context, j journal.Journal) error {
			gaps, err := j.Gaps(ctx, sinkName)
			if len(gaps) != 1 || gaps[0].GetFrom() != 11 || gaps[0].GetTo() != 15 {
				t.Errorf("gaps: %v", gaps)
			}
			return err
		})
		r.checkStored(t, 21)
	})
}

// A position of another log says nothing: the cursor counts, and becomes the destination's position.
func TestOtherLog(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		other, err := memory.OpenResumer(t.Context(), r.store, sinks.Origin{Log: otherLog{}, Sink: sinkName}, memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.MoveTo(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		d := r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		diff(t, "received", r.received(), through(1, 10))
		diff(t, "results", d.Stats().Resumed, resumed(OtherLog))
		r.checkStored(t, 11)
	})
}

type otherLog struct{}

func (otherLog) ID() string                       { return "other" }
func (otherLog) Mark(p sinks.Position) sinks.Mark { return sinks.Mark{Epoch: 1, Position: p} }

// A journal that was restored to an earlier state does not know the destination's position. The cursor counts, and the destination's
// position is one of this journal from then on.
func TestLogRestored(t *testing.T) {
	for _, cause := range []error{sinks.ErrForked, sinks.ErrFuture} {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(20, 3)...)
			r.crashed(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
			s := r.resumerScript(t)
			r.resolves = []error{errDown, cause}
			s.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				diff(t, "moves before the first delivery", s.moved(), []sinks.Position{1})
				return s.Resumer.Deliver(ctx, events[:4])
			}
			d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}})
			end := start(t, d)
			sleep(150 * time.Millisecond)
			synctest.Wait()
			r.mu.Lock()
			r.saveFails = 1
			r.mu.Unlock()
			_ = end()
			diff(t, "results", d.Stats().Resumed[LogRestored], 1)

			r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
			received := r.received()[20:]
			diff(t, "received again", received, through(1, 20))
			r.checkStored(t, 21)
		})
	}
}

// An operator's move counts more than the destination's position, once.
func TestOperatorMoves(t *testing.T) {
	for _, to := range []sinks.Position{4, 15} {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(10, 3)...)
			r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
			r.append(t, orders(10, 3)...)
			r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.MoveTo(ctx, sinkName, to) })
			// The first save is the move's. Then comes a crash.
			d := r.crashed(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
			diff(t, "results", d.Stats().Resumed, resumed(Moved))
			d = r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
			diff(t, "results after a crash", d.Stats().Resumed, resumed(Ahead))
			diff(t, "received", r.received(), slices.Concat(through(1, 10), through(int(to), 20)))
			r.checkStored(t, 21)
		})
	}
}

// The cursor never passes the destination's position, which is stored when events were left out or parked, now and then and at the end.
func TestStoresWhatIsLeftOut(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		s := r.resumerScript(t)
		s.deliver = refusing(s.Resumer, 6).Deliver
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{s}, Choose: func(e *sinks.Record) (bool, error) { return e.Position < 7, nil }})
		stop := started(t, d)
		synctest.Wait()
		diff(t, "position at once", d.Stats().Position, 6)
		sleep(time.Second)
		synctest.Wait()
		diff(t, "position soon", d.Stats().Position, 11)
		r.append(t, orders(10, 3)...)
		sleep(500 * time.Millisecond)
		synctest.Wait()
		r.append(t, orders(10, 3)...)
		sleep(490 * time.Millisecond)
		synctest.Wait()
		diff(t, "moves", s.moved(), []sinks.Position{1, 11})
		sleep(20 * time.Millisecond)
		synctest.Wait()
		diff(t, "moves", s.moved(), []sinks.Position{1, 11, 31})
		sleep(time.Hour)
		synctest.Wait()
		diff(t, "times it was asked", len(s.asked()), 1)
		r.append(t, "order/1")
		synctest.Wait()
		stop()
		diff(t, "moves", s.moved(), []sinks.Position{1, 11, 31, 32})
		diff(t, "received", r.received(), through(1, 5))
		diff(t, "parked", r.parkedAt(t), []sinks.Position{6})
		diff(t, "cursor", r.saved(t), 32)
		r.checkStored(t, 32)
	})
}

// A retry of a parked event leaves the destination's position where it is: the retry waits until the destination has passed the event.
func TestRetryBehindPosition(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		s := r.resumer(t)
		r.ran(t, Config{Sinks: []sinks.Sink{&resumerScript{Resumer: s, deliver: refusing(s, 3, 9).Deliver}}})
		diff(t, "parked", r.parkedAt(t), []sinks.Position{3, 9})
		r.operate(t, func(ctx context.Context, j journal.Journal) error {
			return errors.Join(j.MoveTo(ctx, sinkName, 5), j.RequestRetry(ctx, sinkName, 3), j.RequestRetry(ctx, sinkName, 9))
		})
		again := r.resumerScript(t)
		var away atomic.Bool
		away.Store(true)
		again.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
			if away.Load() && events[0].Position != 3 {
				return 0, errDown
			}
			return again.Resumer.Deliver(ctx, events)
		}
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{again}})
		stop := started(t, d)
		sleep(time.Second)
		synctest.Wait()
		if at, _ := r.store.Reached(sinkName); at.Mark.Position != 5 {
			t.Errorf("the destination is at %d", at.Mark.Position)
		}
		away.Store(false)
		sleep(time.Minute)
		synctest.Wait()
		stop()
		received := slices.Sorted(slices.Values(r.received()[8:])) // The retries come when they come.
		diff(t, "received", received, slices.Concat(through(3, 3), through(5, 9), through(9, 10)))
		diff(t, "parked", r.parkedAt(t), nil)
		r.checkStored(t, 11)
	})
}

func TestOneLane(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		_, err := New(Config{Name: sinkName, Log: r, Claim: r.claim(t), Sinks: []sinks.Sink{r.resumer(t), r.resumer(t)}})
		if err == nil || !strings.Contains(err.Error(), "one lane") {
			t.Errorf("two lanes: %v", err)
		}
	})
}
