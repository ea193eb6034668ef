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

	"google.golang.org/protobuf/testing/protocmp"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// replay has the events of a range delivered once more.
func (r *rig) replay(t *testing.T, id string, from, to uint64, f *streamv1.Filter) {
	t.Helper()
	r.operate(t, func(ctx context.Context, j journal.Journal) error {
		return j.StartReplay(ctx, &journalv1.Replay{
			Id: id, Sink: sinkName, From: from, To: to, Filter: f, State: journalv1.ReplayState_REPLAY_STATE_WAITING,
		})
	})
}

// replayOf returns a replay, without its times.
func (r *rig) replayOf(t *testing.T, id string) (found *journalv1.Replay) {
	t.Helper()
	r.operate(t, func(ctx context.Context, j journal.Journal) error {
		all, err := j.ListReplays(ctx, sinkName)
		for _, one := range all {
			if one.GetId() == id {
				found = one
			}
		}
		return err
	})
	return found
}

// replayed are the positions that arrived in a replay, in order of arrival.
func (r *rig) replayed(id string) (all []sinks.Position) {
	for _, e := range r.store.Records() {
		if string(e.Header.Replay) == id {
			all = append(all, e.Position)
		}
	}
	return all
}

// first are the positions that arrived otherwise.
func (r *rig) first() []sinks.Position { return r.replayed("") }

func (r *rig) checkReplay(t *testing.T, want *journalv1.Replay) {
	t.Helper()
	got := r.replayOf(t, want.GetId())
	want.Sink = sinkName
	diff(t, "replay", got, want, protocmp.IgnoreFields(&journalv1.Replay{}, "started_at", "ended_at", "requested_at", "filter"))
	if (got.GetEndedAt() == nil) != (want.GetState() == journalv1.ReplayState_REPLAY_STATE_RUNNING) {
		t.Errorf("ended at %v", got.GetEndedAt())
	}
}

const (
	replayRunning = journalv1.ReplayState_REPLAY_STATE_RUNNING
	replayDone    = journalv1.ReplayState_REPLAY_STATE_DONE
	replayFailed  = journalv1.ReplayState_REPLAY_STATE_FAILED
)

// A replay delivers the chosen events once more, marked, in order for each subject. The cursor stays.
func TestReplay(t *testing.T) {
	for _, lanes := range []int{1, 3} {
		t.Run(fmt.Sprint(lanes, " lanes"), func(t *testing.T) {
			run(t, func(t *testing.T, r *rig) {
				r.append(t, orders(200, 5)...)
				var all []sinks.Sink
				for range lanes {
					all = append(all, r.sink(t))
				}
				d := r.dispatcher(t, Config{Sinks: all, Batch: Batch{Count: 6}})
				stop := started(t, d)
				synctest.Wait()
				r.replay(t, "one", 11, 111, &streamv1.Filter{Subjects: []string{"order/1", "order/3"}})
				r.replay(t, "two", 1, 4, nil)
				sleep(5 * time.Second)
				r.append(t, orders(3, 3)...)
				synctest.Wait()
				stop()
				diff(t, "delivered first", len(r.first()), 203)
				got := r.replayed("one")
				var of1 []sinks.Position
				for _, p := range got {
					if p%5 == 2 {
						of1 = append(of1, p)
					}
				}
				if len(of1) != 20 || !slices.IsSorted(of1) {
					t.Errorf("of one subject: %v", of1)
				}
				diff(t, "replayed", len(got), 40)
				two := r.replayed("two")
				slices.Sort(two)
				diff(t, "replayed without a filter", two, through(1, 3))
				r.checkReplay(t, &journalv1.Replay{Id: "one", From: 11, To: 111, Next: 111, Delivered: 40, State: replayDone})
				diff(t, "stats", d.Stats(), Stats{Position: 204, Delivered: 203, Replayed: 43})
				diff(t, "cursor", r.saved(t), 204)
			})
		})
	}
}

// A replay continues where it was, in the next run and after a crash. What was not saved is repeated, and counted once.
func TestReplayGoesOn(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(100, 3)...)
		r.ran(t, Config{Batch: Batch{Count: 10}})
		s := r.sink(t)
		slow := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			sleep(400 * time.Millisecond)
			return s.Deliver(ctx, events)
		})
		r.replay(t, "one", 1, 101, nil)
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{slow}, Batch: Batch{Count: 10}})
		stop := started(t, d)
		sleep(1500 * time.Millisecond)
		stop()
		at := r.replayOf(t, "one")
		if at.GetDelivered() == 0 || at.GetDelivered() > 50 || at.GetNext() != at.GetDelivered()+1 || at.GetState() != replayRunning {
			t.Errorf("after the first run: %v", at)
		}
		r.replaySaveFails = 1000 // as in a crash
		d = r.dispatcher(t, Config{Sinks: []sinks.Sink{slow}, Batch: Batch{Count: 10}})
		stop = started(t, d)
		sleep(1500 * time.Millisecond)
		stop()
		r.replaySaveFails = 0
		diff(t, "saved", r.replayOf(t, "one").GetNext(), at.GetNext())
		d = r.dispatcher(t, Config{Batch: Batch{Count: 10}})
		stop = started(t, d)
		sleep(time.Minute)
		stop()
		r.checkReplay(t, &journalv1.Replay{Id: "one", From: 1, To: 101, Next: 101, Delivered: 100, State: replayDone})
		seen := map[sinks.Position]bool{}
		for _, p := range r.replayed("one") {
			seen[p] = true
		}
		diff(t, "replayed", len(seen), 100)
		diff(t, "delivered first", r.first(), through(1, 100))
	})
}

// New events have their turn between the batches of a replay, also while the destination fails for replayed events alone.
func TestReplayHoldsUpNothing(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(100, 3)...)
		r.ran(t, Config{Batch: Batch{Count: 10}})
		var broken atomic.Bool
		s := r.sink(t)
		script := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			sleep(100 * time.Millisecond)
			if len(events[0].Header.Replay) > 0 && broken.Load() {
				return 0, errDown
			}
			return s.Deliver(ctx, events)
		})
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{script}, Batch: Batch{Count: 10}})
		stop := started(t, d)
		r.replay(t, "one", 1, 101, nil)
		sleep(1050 * time.Millisecond) // the replay has begun
		for i := range 3 {
			r.append(t, orders(10, 3)...)
			sleep(210 * time.Millisecond)
			diff(t, "new events", len(r.first()), 100+10*(i+1))
		}
		broken.Store(true)
		sleep(time.Minute)
		r.append(t, orders(5, 3)...)
		sleep(150 * time.Millisecond)
		diff(t, "new events while replayed ones fail", r.first(), through(1, 135))
		if b, _ := d.State(); b != Closed {
			t.Errorf("the breaker is %s", b)
		}
		broken.Store(false)
		sleep(2 * time.Minute)
		stop()
		diff(t, "replayed", r.replayed("one"), through(1, 100))
	})
}

// An event that the sink refuses is parked, also with strict order, and what is no longer kept is counted.
func TestReplayRefusedAndExpired(t *testing.T) {
	for _, strict := range []bool{false, true} {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(30, 3)...)
			r.ran(t, Config{})
			r.lose(3, 6)
			r.replay(t, "one", 2, 21, nil)
			d := r.dispatcher(t, Config{Sinks: []sinks.Sink{refusing(r.sink(t), 7, 20)}, StrictOrder: strict})
			stop := started(t, d)
			sleep(time.Minute)
			stop()
			diff(t, "parked", r.parkedAt(t), []sinks.Position{7, 20})
			if reason := r.parked(t)[0].GetReason(); reason != "replay one: no room for 7" {
				t.Errorf("reason: %s", reason)
			}
			r.checkReplay(t, &journalv1.Replay{Id: "one", From: 2, To: 21, Next: 21, Delivered: 14, Parked: 2, Expired: 3, State: replayDone})
		})
	}
}

// An event that cannot be read ends a replay, with its reason. So does a filter that this version does not understand.
func TestReplayFails(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{})
		r.damage(5)
		r.replay(t, "one", 1, 11, nil)
		r.replay(t, "two", 1, 11, &streamv1.Filter{Cel: "event.nothing"})
		r.ran(t, Config{})
		diff(t, "replayed", r.replayed("one"), through(1, 4))
		r.checkReplay(t, &journalv1.Replay{
			Id: "one", From: 1, To: 11, Next: 5, Delivered: 4, State: replayFailed,
			Problem: "the event at position 5 cannot be read: another replay can begin after it",
		})
		if two := r.replayOf(t, "two"); two.GetState() != replayFailed || two.GetProblem() == "" {
			t.Errorf("a filter that does not compile: %v", two)
		}
	})
}

// A destination that wants no more events fails a replay after one attempt of each lane.
func TestReplayToDisabled(t *testing.T) {
	for _, lanes := range []int{1, 3} {
		run(t, func(t *testing.T, r *rig) {
			r.append(t, orders(10, 5)...)
			r.ran(t, Config{})
			gone := fmt.Errorf("%w: it is gone", sinks.ErrDisabled)
			s := newScript(func(context.Context, []sinks.Record) (int, error) { return 0, gone })
			r.replay(t, "one", 1, 11, nil)
			stop := started(t, r.dispatcher(t, Config{Sinks: slices.Repeat([]sinks.Sink{s}, lanes)}))
			sleep(time.Hour)
			stop()
			if n := len(s.attempts()); n < 1 || n > lanes {
				t.Errorf("%d attempts by %d lanes", n, lanes)
			}
			r.checkReplay(t, &journalv1.Replay{Id: "one", From: 1, To: 11, Next: 1, State: replayFailed, Problem: gone.Error()})
		})
	}
}

// While a replay fails, that is the sink's problem. It ends with an answer, and with the replay.
func TestReplayIsAProblem(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{})
		s := r.sink(t)
		var down atomic.Bool
		script := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			if down.Load() {
				return 0, errDown
			}
			return s.Deliver(ctx, events)
		})
		d := r.dispatcher(t, Config{Sinks: []sinks.Sink{script}})
		stop := started(t, d)
		for _, ended := range []string{"by an answer", "by an operator"} {
			down.Store(true)
			r.replay(t, ended, 1, 11, nil)
			sleep(10 * time.Second)
			diff(t, "problem", d.Problem(), "replay "+ended+": "+errDown.Error())
			if ended == "by an operator" {
				r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.CancelReplay(ctx, sinkName, ended) })
			}
			down.Store(ended == "by an operator")
			sleep(5 * time.Minute)
			diff(t, "problem, ended "+ended, d.Problem(), "")
		}
		stop()
	})
}

// A replay that an operator cancels stops, also while the destination fails, and the next one begins.
func TestReplayCancelled(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{})
		s := r.sink(t)
		script := newScript(func(ctx context.Context, events []sinks.Record) (int, error) {
			if string(events[0].Header.Replay) == "one" {
				return 0, errDown
			}
			return s.Deliver(ctx, events)
		})
		r.replay(t, "one", 1, 11, nil)
		r.replay(t, "two", 1, 3, nil)
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{script}}))
		sleep(10 * time.Second)
		diff(t, "replayed", len(r.replayed("two")), 0)
		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.CancelReplay(ctx, sinkName, "one") })
		sleep(10 * time.Second)
		stop()
		diff(t, "replayed", r.replayed("two"), through(1, 2))
		r.checkReplay(t, &journalv1.Replay{Id: "two", From: 1, To: 3, Next: 3, Delivered: 2, State: replayDone})
		diff(t, "cancelled", r.replayOf(t, "one").GetState(), journalv1.ReplayState_REPLAY_STATE_CANCELLED)
	})
}

// A replay delivers no event before the sink's own delivery of it, and moves no destination's position.
func TestReplayOfResumer(t *testing.T) {
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		backup := r.store.Copy()
		r.append(t, orders(10, 3)...)
		r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}})
		r.replay(t, "one", 1, 21, nil)
		r.store.Restore(backup) // the destination is behind the cursor
		d := r.ran(t, Config{Sinks: []sinks.Sink{r.resumer(t)}, Batch: Batch{Count: 3}})
		stop := started(t, r.dispatcher(t, Config{Sinks: []sinks.Sink{r.resumer(t)}, Batch: Batch{Count: 3}}))
		sleep(10 * time.Second)
		r.append(t, orders(10, 3)...)
		sleep(10 * time.Second)
		stop()
		diff(t, "delivered first", r.first(), through(1, 30))
		diff(t, "behind", d.Stats().Resumed, resumed(Behind))
		diff(t, "replayed", len(r.replayed("one")) >= 20, true)
		before := map[sinks.Position]bool{}
		for _, e := range r.store.Records() {
			if len(e.Header.Replay) == 0 {
				before[e.Position] = true
			} else if !before[e.Position] {
				t.Errorf("%d was replayed before it was delivered", e.Position)
			}
		}
		r.checkStored(t, 31)
	})
}

// An event about which the route cannot decide is parked, or waited at, and never delivered. A replay leaves it out.
func TestUndecided(t *testing.T) {
	choose := func(e *sinks.Record) (bool, error) {
		if e.Position == 4 || e.Position == 5 {
			return false, errors.New("no such key")
		}
		return e.Position != 6, nil
	}
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(8, 3)...)
		r.ran(t, Config{Choose: choose})
		r.replay(t, "one", 1, 9, nil)
		d := r.dispatcher(t, Config{Choose: choose})
		stop := started(t, d)
		sleep(10 * time.Second)
		stop()
		diff(t, "delivered", r.first(), []sinks.Position{1, 2, 3, 7, 8})
		diff(t, "parked", r.parkedAt(t), through(4, 5))
		if reason := r.parked(t)[0].GetReason(); reason != "dispatch: the route cannot decide about the event: no such key" {
			t.Errorf("reason: %s", reason)
		}
		diff(t, "replayed", r.replayed("one"), []sinks.Position{1, 2, 3, 7, 8})
		r.checkReplay(t, &journalv1.Replay{Id: "one", From: 1, To: 9, Next: 9, Delivered: 5, Undecided: 2, State: replayDone})
		diff(t, "cursor", r.saved(t), 9)
	})
	run(t, func(t *testing.T, r *rig) {
		r.append(t, orders(8, 3)...)
		d := r.dispatcher(t, Config{Choose: choose, StrictOrder: true})
		stop := started(t, d)
		sleep(time.Minute)
		diff(t, "delivered before it", r.first(), through(1, 3))
		r.operate(t, func(ctx context.Context, j journal.Journal) error { return j.RequestPass(ctx, sinkName, 4) })
		sleep(time.Minute)
		stop()
		stats := d.Stats()
		diff(t, "waits at", stats.Position, 5)
		diff(t, "undecided", stats.Undecided, 2)
		diff(t, "parked", r.parkedAt(t), through(4, 4))
	})
}
