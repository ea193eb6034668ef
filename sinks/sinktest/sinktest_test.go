package sinktest

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

// small are the kit's limits for sinks in memory, in a synctest bubble.
var small = limits{whole: 5 * time.Minute, soon: 10 * time.Second, away: 5 * time.Second, largest: 400 << 10, batch: 60}

var features = Features{TotalOrder: true, MaxEvent: 100 << 10}

// world is a correct sink in memory, which needs a millisecond for an event, and the state that a fault needs.
type world struct {
	Harness
	store *memory.Store
	// stop is closed when the world ends.
	stop chan struct{}
	// stalled and away are the current faults of the destination.
	stalled, away atomic.Bool
	// repaired is closed by the Repair after a Stall.
	repaired chan struct{}
	// limited is true after BreakAfter was called.
	limited atomic.Bool
}

func newWorld(config memory.Config) *world {
	store := memory.NewStore()
	w := &world{store: store, stop: make(chan struct{})}
	w.Harness = Harness{
		Open: func(ctx context.Context) (sinks.Sink, error) {
			sink, err := memory.Open(ctx, store, config)
			return slow{sink}, err
		},
		Received:   func(context.Context) ([]*eventv1.Event, error) { return decode(store.Records()) },
		Break:      func() { w.away.Store(true); store.Break() },
		BreakAfter: func(n int) { w.limited.Store(true); store.BreakAfter(n) },
		Stumble:    store.Stumble,
		Stall: func() {
			w.repaired = make(chan struct{})
			w.stalled.Store(true)
			store.Stall()
		},
		Throttle: store.Throttle,
		Repair: func() {
			w.away.Store(false)
			if w.stalled.Swap(false) {
				close(w.repaired)
			}
			store.Repair()
		},
		Crash: func() {},
		Poison: func() sinks.Record {
			return sinks.Record{Encoded: make([]byte, features.MaxEvent+1)}
		},
	}
	return w
}

func decode(records []sinks.Record) ([]*eventv1.Event, error) {
	events := make([]*eventv1.Event, len(records))
	for i, r := range records {
		e, err := r.Event()
		if err != nil {
			return nil, err
		}
		events[i] = e
	}
	return events, nil
}

// slow is a sink that delivers one event a millisecond.
type slow struct{ sinks.Sink }

func (s slow) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	if len(events) == 0 {
		return s.Sink.Deliver(ctx, events)
	}
	for n := range events {
		if n > 0 {
			wait(ctx, time.Millisecond)
		}
		if _, err := s.Sink.Deliver(ctx, events[n:n+1]); err != nil {
			return n, err
		}
	}
	return len(events), nil
}

type (
	deliverFunc func(ctx context.Context, events []sinks.Record) (int, error)
	closeFunc   func() error
	resumeFunc  func(ctx context.Context) (sinks.Reached, bool, error)
	moveFunc    func(ctx context.Context, p sinks.Position) error
)

// broken is a sink with one method replaced.
type broken struct {
	deliver deliverFunc
	close   closeFunc
	// resume and moveTo are those of a Resumer.
	resume resumeFunc
	moveTo moveFunc
}

func (b broken) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	return b.deliver(ctx, events)
}
func (b broken) Close() error { return b.close() }

// brokenResumer is a Resumer with methods replaced.
type brokenResumer struct{ broken }

func (b brokenResumer) Resume(ctx context.Context) (sinks.Reached, bool, error) { return b.resume(ctx) }

func (b brokenResumer) MoveTo(ctx context.Context, p sinks.Position) error { return b.moveTo(ctx, p) }

// spoil replaces the methods of every sink that is opened.
func (w *world) spoil(replace func(good sinks.Sink) broken) {
	open := w.Open
	w.Open = func(ctx context.Context) (sinks.Sink, error) {
		sink, err := open(ctx)
		if err != nil {
			return nil, err
		}
		b := replace(sink)
		if b.deliver == nil {
			b.deliver = sink.Deliver
		}
		if b.close == nil {
			b.close = sink.Close
		}
		return b, nil
	}
}

// spoilDeliver replaces Deliver. Its state spans all sinks that are opened.
func (w *world) spoilDeliver(deliver func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error)) {
	w.spoil(func(good sinks.Sink) broken {
		return broken{deliver: func(ctx context.Context, events []sinks.Record) (int, error) {
			return deliver(ctx, events, good.Deliver)
		}}
	})
}

// linger waits longer than a call may take.
func (w *world) linger() {
	select {
	case <-time.After(3 * small.soon):
	case <-w.stop:
	}
}

// A correct sink passes every case.
func TestGoodSinkPasses(t *testing.T) {
	for _, once := range []bool{false, true} {
		f := features
		f.ExactlyOnce = once
		failed := failedCases(t, f, func() *world { return newWorld(memory.Config{MaxEvent: features.MaxEvent, Once: once}) })
		for name, err := range failed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failedCases returns the cases that fail.
func failedCases(t *testing.T, f Features, made func() *world) map[string]error {
	t.Helper()
	failed := map[string]error{}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			w := made()
			if c.needs.missingIn(w.Harness, f) != "" {
				return
			}
			if err := runCase(t.Context(), c, small.newFixture(w.Harness, f)); err != nil {
				failed[c.name] = err
			}
			close(w.stop)
			synctest.Wait()
		})
	}
	return failed
}

// Each fault fails the case that must find it, and no other.
func TestFaultsAreFound(t *testing.T) {
	shown := map[string]bool{"one opening": true} // by TestOneOpening
	for _, f := range faults {
		shown[f.fails] = true
		t.Run(f.what, func(t *testing.T) {
			checkFails(t, f.fails, features, func() *world {
				w := newWorld(memory.Config{MaxEvent: features.MaxEvent})
				f.spoil(w)
				return w
			})
		})
	}
	for _, f := range resumerFaults {
		shown[f.fails] = true
		t.Run(f.what, func(t *testing.T) {
			checkFails(t, f.fails, resumerFeatures, func() *world {
				w := newResumerWorld()
				f.spoil(w)
				return w
			})
		})
	}
	for _, c := range cases {
		if !shown[c.name] {
			t.Errorf("no fault shows that %q can fail", c.name)
		}
	}
}

// checkFails checks that one case fails, and no other.
func checkFails(t *testing.T, name string, f Features, made func() *world) {
	t.Helper()
	failed := failedCases(t, f, made)
	if failed[name] == nil {
		t.Errorf("passes %q", name)
	}
	delete(failed, name)
	for name, err := range failed {
		t.Errorf("fails %q too: %v", name, err)
	}
}

// A destination that stores repeated events is not exactly-once.
func TestRepeatsAreFound(t *testing.T) {
	f := features
	f.ExactlyOnce = true
	failed := failedCases(t, f, func() *world { return newWorld(memory.Config{MaxEvent: features.MaxEvent}) })
	if got := slices.Sorted(maps.Keys(failed)); !slices.Equal(got, []string{"given again"}) {
		t.Errorf("a sink that keeps repeats fails %q", got)
	}
}

// A destination with partitions keeps the order of each key only.
func TestPartitions(t *testing.T) {
	made := func() *world {
		w := newWorld(memory.Config{MaxEvent: features.MaxEvent})
		received := w.Received
		w.Received = func(ctx context.Context) ([]*eventv1.Event, error) {
			events, err := received(ctx)
			slices.SortStableFunc(events, func(a, b *eventv1.Event) int { return partition(a) - partition(b) })
			return events, err
		}
		return w
	}
	f := features
	f.TotalOrder = false
	for name, err := range failedCases(t, f, made) {
		t.Errorf("%s: %v", name, err)
	}
	if failed := failedCases(t, features, made); failed["order"] == nil {
		t.Error("partitions pass for a total order")
	}
}

func partition(e *eventv1.Event) int {
	h := fnv.New32a()
	h.Write([]byte(e.GetSource() + " " + e.GetSubject()))
	return int(h.Sum32() % 5)
}

// A sink that never returns fails its case, and the tests go on.
func TestHangsAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(memory.Config{})
		w.spoilDeliver(func(context.Context, []sinks.Record, deliverFunc) (int, error) {
			<-w.stop
			return 0, sinks.ErrClosed
		})
		order := cases[slices.IndexFunc(cases, func(c testCase) bool { return c.name == "order" })]
		if err := runCase(t.Context(), order, small.newFixture(w.Harness, features)); !errors.Is(err, errHangs) {
			t.Errorf("a sink that hangs: %v, want %v", err, errHangs)
		}
		close(w.stop)
		synctest.Wait()
	})
}

// A harness may end a case. The fixture is released all the same.
func TestHarnessEndsCase(t *testing.T) {
	w := newWorld(memory.Config{})
	repaired, closed := false, false
	repair := w.Repair
	w.Break = runtime.Goexit
	w.Repair = func() { repaired = true; repair() }
	w.spoil(func(good sinks.Sink) broken {
		return broken{close: func() error { closed = true; return good.Close() }}
	})
	c := testCase{"ends", "", nil, func(ctx context.Context, t *fixture) error {
		if err := t.open(ctx); err != nil {
			return err
		}
		t.beginFault(t.Break)
		return errors.New("goes on")
	}}
	if err := runCase(t.Context(), c, small.newFixture(w.Harness, features)); err != nil {
		t.Error(err)
	}
	if !repaired || !closed {
		t.Errorf("repaired: %t, closed: %t", repaired, closed)
	}
}

// The stream has the variety that the cases need.
func TestEvents(t *testing.T) {
	sources, keys, vendors := map[string]int{}, map[string]int{}, map[string]int{}
	subjects := map[string]map[string]bool{}
	for n := range 500 {
		e := event(n)
		sources[e.GetSource()]++
		keys[e.GetSource()+" "+e.GetSubject()]++
		vendors[e.GetConnector()]++
		if subjects[e.GetSubject()] == nil {
			subjects[e.GetSubject()] = map[string]bool{}
		}
		subjects[e.GetSubject()][e.GetSource()] = true
	}
	if len(sources) < 6 || len(vendors) != 5 || len(keys) < 50 {
		t.Errorf("500 events have %d sources, %d vendors, %d keys", len(sources), len(vendors), len(keys))
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(subjects)), func(s map[string]bool) bool { return len(s) > 1 }) {
		t.Error("no subject has the same name in two sources")
	}
	if most := slices.Max(slices.Collect(maps.Values(keys))); most < 10 {
		t.Errorf("the busiest key has %d of 500 events", most)
	}
}

func TestSkipsWhatHarnessLacks(t *testing.T) {
	for _, c := range cases {
		lack := c.needs.missingIn(Harness{}, Features{})
		want := ""
		if len(c.needs) > 0 {
			want = c.needs[0]
		}
		if lack != want {
			t.Errorf("%s: an empty harness lacks %q, want %q", c.name, lack, want)
		}
	}
}
