package sinktest

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
)

// fault is a mistake that a sink's author might make, and the case that must find it.
type fault struct {
	fails, what string
	spoil       func(w *world)
}

var faults = []fault{
	{"any order of positions", "treats positions as progress", func(w *world) {
		var highest sinks.Position
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			if len(events) == 0 {
				return good(ctx, events)
			}
			for i, e := range events {
				if e.Position < highest {
					continue
				}
				if _, err := good(ctx, []sinks.Record{e}); err != nil {
					return i, err
				}
				highest = e.Position
				wait(ctx, time.Millisecond)
			}
			return len(events), nil
		})
	}},
	{"order", "changes to another connection after ten batches", func(w *world) {
		whole := 0
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			if whole > 10 && len(events) > 1 {
				events = slices.Clone(events)
				events[0], events[1] = events[1], events[0]
			}
			n, err := good(ctx, events)
			if whole++; err != nil {
				whole = 0
			}
			return n, err
		})
	}},
	{"whole", "returns an error with a success", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if n > 0 && err == nil {
				err = io.EOF
			}
			return n, err
		})
	}},
	{"durable", "delays the last event of a small batch", func(w *world) {
		w.spoil(func(good sinks.Sink) broken {
			held := make(chan sinks.Record, 1)
			flush := func() {
				select {
				case e := <-held:
					_, _ = good.Deliver(context.Background(), []sinks.Record{e})
				default:
				}
			}
			return broken{
				deliver: func(ctx context.Context, events []sinks.Record) (int, error) {
					flush()
					if len(events) == 2 && len(events[0].Encoded)+len(events[1].Encoded) < 4096 {
						held <- events[1].Clone()
						n, err := good.Deliver(ctx, events[:1])
						return n + 1, err
					}
					return good.Deliver(ctx, events)
				},
				close: func() error { flush(); return good.Close() },
			}
		})
	}},
	{"partial success", "counts the event that failed", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if w.limited.Load() && n > 0 && n < len(events) {
				n++
			}
			return n, err
		})
	}},
	{"crash", "does not sync", func(w *world) {
		received, lost := w.Received, ""
		w.Crash = func() {
			events, _ := received(context.Background())
			lost = events[len(events)-1].GetId()
		}
		w.Received = func(ctx context.Context) ([]*eventv1.Event, error) {
			events, err := received(ctx)
			return slices.DeleteFunc(events, func(e *eventv1.Event) bool { return e.GetId() == lost }), err
		}
	}},
	{"error", "forgets the error", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if n == 0 && errors.Is(err, memory.ErrAway) {
				err = nil
			}
			return n, err
		})
	}},
	{"poison", "is off by one in a large batch", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if n > 100 && errors.Is(err, sinks.ErrPermanent) {
				n--
			}
			return n, err
		})
	}},
	{"poison", "rolls a large batch back when one event is refused", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			refused := slices.IndexFunc(events, func(e sinks.Record) bool { return len(e.Encoded) == features.MaxEvent+1 })
			if refused > 100 {
				return 0, sinks.Permanent(errors.New("batch is invalid"))
			}
			return good(ctx, events)
		})
	}},
	{"poison again", "drops an event that it refused twice", func(w *world) {
		refused := map[sinks.Position]int{}
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			if len(events) == 1 && refused[events[0].Position] == 2 {
				return 1, nil
			}
			n, err := good(ctx, events)
			if errors.Is(err, sinks.ErrPermanent) {
				refused[events[n].Position]++
			}
			return n, err
		})
	}},
	{"poison again", "refuses the event before a refused one", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if n == 1 && errors.Is(err, sinks.ErrPermanent) {
				n = 0
			}
			return n, err
		})
	}},
	{"condition", "gives up on a destination that is unreachable for long", func(w *world) {
		failures := 0
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if !errors.Is(err, memory.ErrAway) {
				failures = 0
				return n, err
			}
			if failures++; failures == 3 {
				err = sinks.Permanent(err)
			}
			return n, err
		})
	}},
	{"pause", "forgets the pause", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			var again *sinks.RetryAfterError
			if errors.As(err, &again) {
				err = again.Err
			}
			return n, err
		})
	}},
	{"pause", "mistakes milliseconds for seconds", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			var again *sinks.RetryAfterError
			if errors.As(err, &again) {
				err = &sinks.RetryAfterError{After: again.After * 1000, Err: again.Err}
			}
			return n, err
		})
	}},
	{"ctx done during", "hides ctx's error", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if n > 0 && ctx.Err() != nil {
				err = errors.New("interrupted")
			}
			return n, err
		})
	}},
	{"break and repair", "drops an event after two tries", func(w *world) {
		failures := 0
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			skip := 0
			if failures == 2 && !w.away.Load() {
				skip = 1
			}
			n, err := good(ctx, events[min(skip, len(events)):])
			if errors.Is(err, memory.ErrAway) && n == 0 {
				failures++
			} else {
				failures = 0
			}
			return n + skip, err
		})
	}},
	{"given again", "refuses events that it has", func(w *world) {
		has := map[sinks.Position]bool{}
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			fresh := slices.IndexFunc(events, func(e sinks.Record) bool { return has[e.Position] })
			if fresh < 0 {
				fresh = len(events)
			}
			n, err := good(ctx, events[:fresh])
			for _, e := range events[:n] {
				has[e.Position] = true
			}
			if err == nil && n < len(events) {
				err = errors.New("exists")
			}
			return n, err
		})
	}},
	{"break during", "sends what is still buffered when it is too late", func(w *world) {
		var late []sinks.Record
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			switch {
			case n > 0 && n < len(events) && w.away.Load():
				late = slices.Clone(events[n:])
			case err == nil && late != nil:
				_, _ = good(ctx, late[:1])
				late = nil
			}
			return n, err
		})
	}},
	{"stumble", "goes on after an event that failed, and leaves it for the next time", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if errors.Is(err, memory.ErrAway) {
				_, _ = good(ctx, events[n+1:])
			}
			return n, err
		})
	}},
	{"empty", "refuses an empty slice", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if len(events) == 0 && err == nil {
				err = errors.New("nothing to deliver")
			}
			return n, err
		})
	}},
	{"empty", "asks the destination about an empty slice", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			if len(events) == 0 && w.away.Load() {
				return 0, memory.ErrAway
			}
			return good(ctx, events)
		})
	}},
	{"unchanged", "appends to an event", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			for _, e := range events {
				_ = append(e.Encoded, '\n')
			}
			return good(ctx, events)
		})
	}},
	{"unchanged", "changes a header", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			for i := range events {
				events[i].Header.Subject = nil
			}
			return n, err
		})
	}},
	{"unchanged", "appends to the slice", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			_ = append(events, sinks.Record{Position: 1})
			return good(ctx, events)
		})
	}},
	{"unchanged", "uses the slice as its own", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if len(events) == 300 {
				slices.Reverse(events)
			}
			return n, err
		})
	}},
	{"not kept", "keeps the bytes", func(w *world) {
		var kept []sinks.Record
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			kept = append(kept, events[:n]...)
			return n, err
		})
		received := w.Received
		w.Received = func(ctx context.Context) ([]*eventv1.Event, error) {
			events, err := received(ctx)
			if len(kept) == len(events) {
				return decode(kept)
			}
			return events, err
		}
	}},
	{"not kept in silence", "goes on sending after the return", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if w.stalled.Load() && n == 0 && ctx.Err() != nil {
				repaired := w.repaired
				go func() {
					<-repaired
					_, _ = good(context.WithoutCancel(ctx), events[:1])
				}()
			}
			return n, err
		})
	}},
	{"silence", "ignores ctx while it waits for the destination", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if w.stalled.Load() && ctx.Err() != nil {
				w.linger()
			}
			return n, err
		})
	}},
	{"ctx done before", "checks ctx too late", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			if ctx.Err() != nil && len(events) > 0 {
				_, _ = good(context.WithoutCancel(ctx), events[:1])
				return 0, ctx.Err()
			}
			return good(ctx, events)
		})
	}},
	{"largest event", "retries an event that is too large", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if n < len(events) && len(events[n].Encoded) > 2*features.MaxEvent {
				err = errors.New("message too large")
			}
			return n, err
		})
	}},
	{"largest event", "accepts less than it promises", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			large := slices.IndexFunc(events, func(e sinks.Record) bool {
				return len(e.Encoded) > features.MaxEvent*9/10 && len(e.Encoded) <= features.MaxEvent
			})
			if large < 0 {
				return good(ctx, events)
			}
			n, err := good(ctx, events[:large])
			if err == nil {
				err = sinks.Permanent(errors.New("message too large"))
			}
			return n, err
		})
	}},
	{"close releases", "forgets a goroutine", func(w *world) {
		w.spoil(func(sinks.Sink) broken {
			go func() { <-w.stop }()
			return broken{}
		})
	}},
	{"close during", "finishes what it began, slowly", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if n > 0 && errors.Is(err, sinks.ErrClosed) {
				w.linger()
			}
			return n, err
		})
	}},
	{"close in silence", "waits for the destination when it is closed", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			if w.stalled.Load() && errors.Is(err, sinks.ErrClosed) {
				w.linger()
			}
			return n, err
		})
	}},
	{"close while away", "waits for an unreachable destination when it is closed", func(w *world) {
		w.spoil(func(good sinks.Sink) broken {
			return broken{close: func() error {
				if w.away.Load() {
					w.linger()
				}
				return good.Close()
			}}
		})
	}},
	{"deliver after close", "returns another error than ErrClosed", func(w *world) {
		w.spoil(func(good sinks.Sink) broken {
			var closed atomic.Bool
			return broken{
				deliver: func(ctx context.Context, events []sinks.Record) (int, error) {
					if closed.Load() {
						return 0, errors.New("use of closed connection")
					}
					return good.Deliver(ctx, events)
				},
				close: func() error { closed.Store(true); return good.Close() },
			}
		})
	}},
	{"deliver after close", "accepts an empty slice after it was closed", func(w *world) {
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			if len(events) == 0 {
				return 0, nil
			}
			return good(ctx, events)
		})
	}},
	{"reopen", "drops a short tail when it is opened", func(w *world) {
		open, received := w.Open, w.Received
		last, lost := 0, ""
		w.Open = func(ctx context.Context) (sinks.Sink, error) {
			if events, err := received(ctx); err == nil && last == 1 {
				lost = events[len(events)-1].GetId()
			}
			return open(ctx)
		}
		w.Received = func(ctx context.Context) ([]*eventv1.Event, error) {
			events, err := received(ctx)
			return slices.DeleteFunc(events, func(e *eventv1.Event) bool { return e.GetId() == lost }), err
		}
		w.spoilDeliver(func(ctx context.Context, events []sinks.Record, good deliverFunc) (int, error) {
			n, err := good(ctx, events)
			last = n
			return n, err
		})
	}},
	{"close twice", "returns an error when it is closed twice", func(w *world) {
		w.spoil(func(good sinks.Sink) broken {
			closes := make(chan struct{}, 1)
			return broken{close: func() error {
				select {
				case closes <- struct{}{}:
					return good.Close()
				default:
					return sinks.ErrClosed
				}
			}}
		})
	}},
}
