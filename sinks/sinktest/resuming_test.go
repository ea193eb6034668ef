package sinktest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

var resumerFeatures = Features{TotalOrder: true, MaxEvent: features.MaxEvent, SharedDestination: true}

// newResumerWorld is a correct Resumer in memory, which needs a millisecond for an event.
func newResumerWorld() *world {
	w := newWorld(memory.Config{})
	store := w.store
	config := memory.Config{MaxEvent: features.MaxEvent}
	w.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
		sink, err := memory.OpenResumer(ctx, store, from, config)
		if err != nil {
			return nil, err
		}
		return brokenResumer{broken{slow{sink}.Deliver, sink.Close, sink.Resume, sink.MoveTo}}, nil
	}
	var saved memory.Copy
	w.Backup = func() { saved = store.Copy() }
	w.Restore = func() { store.Restore(saved) }
	return w
}

// spoilResumer replaces methods of every Resumer that is opened.
func (w *world) spoilResumer(replace func(good, spoiled *broken, from sinks.Origin)) {
	open := w.OpenFrom
	w.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
		sink, err := open(ctx, from)
		if err != nil {
			return nil, err
		}
		good := sink.(brokenResumer).broken
		spoiled := good
		replace(&good, &spoiled, from)
		return brokenResumer{spoiled}, nil
	}
}

var resumerFaults = []fault{
	{"new destination", "takes a new destination for one at the start of the log", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, from sinks.Origin) {
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				if err == nil && !found && len(w.store.Records()) == 0 {
					return from.Reached(1), true, nil
				}
				return r, found, err
			}
		})
	}},
	{"position", "stores the position of the first chunk of a large batch", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				n, err := good.deliver(ctx, events)
				if n == 500 {
					err = good.moveTo(ctx, events[250].Position)
				}
				return n, err
			}
		})
	}},
	{"position", "forgets the epoch of the mark", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				if r.Mark.Position == 563 {
					r.Mark.Epoch = 0
				}
				return r, found, err
			}
		})
	}},
	{"crash before the cursor", "stores the position later than the events", func(w *world) {
		var last func(context.Context, sinks.Position) error
		var at sinks.Position
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				n, err := good.deliver(ctx, events)
				if n > 0 {
					at, last = events[0].Position, good.moveTo
				}
				return n, err
			}
		})
		w.Crash = func() { _ = last(context.Background(), at) }
	}},
	{"in doubt", "counts by itself, and does not ask the destination again", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, from sinks.Origin) {
			var at sinks.Reached
			known := false
			note := func(p sinks.Position) {
				if !known || p > at.Mark.Position {
					at, known = from.Reached(p), true
				}
			}
			spoiled.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				n, err := good.deliver(ctx, events)
				if n > 0 && n == len(events) {
					note(events[n-1].Position + 1)
				}
				return n, err
			}
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				if err == nil && !known {
					at, known = r, found
				}
				return at, known, err
			}
		})
	}},
	{"asked while away", "takes silence for a new destination", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				if errors.Is(err, memory.ErrAway) {
					err = nil
				}
				return r, found, err
			}
		})
	}},
	{"refused part", "moves past the event that it refuses", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				n, err := good.deliver(ctx, events)
				if n > 0 && errors.Is(err, sinks.ErrPermanent) {
					err = errors.Join(err, good.moveTo(ctx, events[n].Position+1))
				}
				return n, err
			}
		})
	}},
	{"fenced", "does not fence MoveTo", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.moveTo = func(ctx context.Context, p sinks.Position) error {
				err := good.moveTo(ctx, p)
				if errors.Is(err, sinks.ErrFenced) {
					err = nil
				}
				return err
			}
		})
	}},
	{"fenced", "hides that it is fenced", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				n, err := good.deliver(ctx, events)
				if n == 0 && len(events) == 10 && errors.Is(err, sinks.ErrFenced) {
					err = errors.New("invalid epoch")
				}
				return n, err
			}
		})
	}},
	{"fenced", "takes the destination over a second time", func(w *world) {
		open := w.OpenFrom
		w.spoilResumer(func(good, spoiled *broken, from sinks.Origin) {
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				if errors.Is(err, sinks.ErrFenced) {
					again, _ := open(ctx, from)
					return again.(sinks.Resumer).Resume(ctx)
				}
				return r, found, err
			}
		})
	}},
	{"fenced during", "looks for a later opening only when a Deliver begins", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				n, err := good.deliver(ctx, events)
				if n > 0 && errors.Is(err, sinks.ErrFenced) {
					late, openErr := memory.Open(ctx, w.store, memory.Config{})
					if openErr != nil {
						return n, err
					}
					_, _ = late.Deliver(ctx, events[n:])
				}
				return n, err
			}
		})
	}},
	{"moved", "never moves back", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, from sinks.Origin) {
			spoiled.moveTo = func(ctx context.Context, p sinks.Position) error {
				if r, _ := w.store.Reached(from.Sink); r.Log == from.Log.ID() {
					p = max(p, r.Mark.Position)
				}
				return good.moveTo(ctx, p)
			}
		})
	}},
	{"earlier events", "moves back with a repeated event", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, _ sinks.Origin) {
			spoiled.deliver = func(ctx context.Context, events []sinks.Record) (int, error) {
				n, err := good.deliver(ctx, events)
				if err == nil && n > 0 {
					err = good.moveTo(ctx, events[n-1].Position+1)
				}
				return n, err
			}
		})
	}},
	{"restored", "stores its position elsewhere", func(w *world) {
		var elsewhere atomic.Pointer[sinks.Reached]
		w.spoilResumer(func(good, spoiled *broken, from sinks.Origin) {
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				if at := elsewhere.Load(); found && at != nil && at.Log == r.Log && at.Mark.Position > r.Mark.Position {
					return *at, true, err
				}
				return r, found, err
			}
			spoiled.moveTo = func(ctx context.Context, p sinks.Position) error {
				elsewhere.Store(nil)
				return good.moveTo(ctx, p)
			}
			spoiled.close = func() error {
				if r, found := w.store.Reached(from.Sink); found && from.Sink == "orders" {
					elsewhere.Store(&r)
				}
				return good.close()
			}
		})
	}},
	{"other log", "does not store which log it is", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, from sinks.Origin) {
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				r.Log = from.Log.ID()
				return r, found, err
			}
		})
	}},
	{"other sink", "has one position for all sinks", func(w *world) {
		open := w.OpenFrom
		w.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
			from.Sink = "bridge"
			return open(ctx, from)
		}
	}},
	{"resume after close", "goes on after Close", func(w *world) {
		w.spoilResumer(func(good, spoiled *broken, from sinks.Origin) {
			spoiled.resume = func(ctx context.Context) (sinks.Reached, bool, error) {
				r, found, err := good.resume(ctx)
				if errors.Is(err, sinks.ErrClosed) {
					r, found = w.store.Reached(from.Sink)
					err = nil
				}
				return r, found, err
			}
		})
	}},
}

// A correct Resumer passes every case, also when it drops repeated events.
func TestGoodResumerPasses(t *testing.T) {
	for name, err := range failedCases(t, resumerFeatures, newResumerWorld) {
		t.Errorf("%s: %v", name, err)
	}
}

// A destination with one writer refuses the second opening.
func TestOneOpening(t *testing.T) {
	f := resumerFeatures
	f.OneOpening, f.SharedDestination = true, false
	failed := failedCases(t, f, func() *world {
		w := newResumerWorld()
		var locked atomic.Bool
		open := w.OpenFrom
		w.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
			if !locked.CompareAndSwap(false, true) {
				return nil, errors.New("in use")
			}
			sink, err := open(ctx, from)
			good := sink.(brokenResumer)
			closeIt, once := good.close, make(chan struct{}, 1)
			once <- struct{}{}
			good.close = func() error {
				select {
				case <-once:
					locked.Store(false)
				default:
				}
				return closeIt()
			}
			return good, err
		}
		w.Crash = func() { locked.Store(false) }
		return w
	})
	for name, err := range failed {
		t.Errorf("%s: %v", name, err)
	}
	checkFails(t, "one opening", f, newResumerWorld)
}

// A plain sink in the place of a Resumer is found out.
func TestNoResumer(t *testing.T) {
	failed := failedCases(t, resumerFeatures, func() *world {
		w := newResumerWorld()
		w.OpenFrom = func(ctx context.Context, _ sinks.Origin) (sinks.Sink, error) {
			return memory.Open(ctx, w.store, memory.Config{})
		}
		return w
	})
	if len(failed) != len(cases)-1 { // but "one opening"
		t.Errorf("a plain sink fails %d of %d cases", len(failed), len(cases))
	}
}
