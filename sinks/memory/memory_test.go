package memory_test

import (
	"bytes"
	"context"
	"testing"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/memory"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// harness returns a harness with all functions of a plain sink.
func harness(config memory.Config) func(tb testing.TB) sinktest.Harness {
	return func(testing.TB) sinktest.Harness { return harnessOf(memory.NewStore(), config) }
}

func harnessOf(store *memory.Store, config memory.Config) sinktest.Harness {
	h := sinktest.Harness{
		Open: func(ctx context.Context) (sinks.Sink, error) { return memory.Open(ctx, store, config) },
		Received: func(context.Context) ([]*eventv1.Event, error) {
			var events []*eventv1.Event
			for _, r := range store.Records() {
				e, err := r.Event()
				if err != nil {
					return nil, err
				}
				events = append(events, e)
			}
			return events, nil
		},
		Break:      store.Break,
		BreakAfter: store.BreakAfter,
		Stumble:    store.Stumble,
		Stall:      store.Stall,
		Throttle:   store.Throttle,
		Repair:     store.Repair,
		Crash:      func() {}, // Neither the store nor a sink has state that a crash could lose.
	}
	if config.MaxEvent > 0 {
		h.Poison = func() sinks.Record {
			return sinks.Record{Encoded: bytes.Repeat([]byte{0}, config.MaxEvent+1)}
		}
	}
	return h
}

func TestSink(t *testing.T) {
	sinktest.Run(t, harness(memory.Config{}), sinktest.Features{TotalOrder: true})
}

func TestSinkThatRefuses(t *testing.T) {
	const most = 100 << 10
	sinktest.Run(t, harness(memory.Config{MaxEvent: most}), sinktest.Features{TotalOrder: true, MaxEvent: most})
}

func TestSinkExactlyOnce(t *testing.T) {
	sinktest.Run(t, harness(memory.Config{Once: true}), sinktest.Features{TotalOrder: true, ExactlyOnce: true})
}

func BenchmarkSink(b *testing.B) {
	sinktest.Bench(b, harness(memory.Config{}))
}

func TestResumer(t *testing.T) {
	sinktest.Run(t, func(testing.TB) sinktest.Harness {
		store := memory.NewStore()
		h := harnessOf(store, memory.Config{})
		h.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
			return memory.OpenResumer(ctx, store, from, memory.Config{})
		}
		var saved memory.Copy
		h.Backup = func() { saved = store.Copy() }
		h.Restore = func() { store.Restore(saved) }
		return h
	}, sinktest.Features{TotalOrder: true, SharedDestination: true})
}
