package kafka_test

import (
	"context"
	"strconv"
	"testing"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/proxytest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// log is a log whose positions all have one epoch.
type log struct {
	id    string
	epoch sinks.Epoch
}

func (l log) ID() string                       { return l.id }
func (l log) Mark(p sinks.Position) sinks.Mark { return sinks.Mark{Epoch: l.epoch, Position: p} }

var origin = sinks.Origin{Log: log{"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", 1<<63 + 5}, Sink: "events"}

func openTransactional(tb testing.TB, config kafka.Config, from sinks.Origin) *kafka.Transactional {
	tb.Helper()
	s, err := kafka.OpenTransactional(tb.Context(), config, from)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// transactionalHarness is that of a sink that delivers exactly once, judged by a consumer that reads committed records.
func transactionalHarness(tb testing.TB, config kafka.Config, proxies func(do func(*proxytest.Proxy)) func(), most int) sinktest.Harness {
	return sinktest.Harness{
		OpenFrom: func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
			return kafka.OpenTransactional(ctx, config, from)
		},
		Received: func(ctx context.Context) ([]*eventv1.Event, error) {
			return committed(ctx, config, config.Topic)
		},
		Break:  proxies((*proxytest.Proxy).Disconnect),
		Stall:  proxies((*proxytest.Proxy).Stall),
		Repair: proxies((*proxytest.Proxy).Resume),
		Crash:  func() {},
		Poison: func() sinks.Record { return large(tb, most) },
	}
}

func TestTransactional(t *testing.T) {
	t.Parallel()
	const most = 200 << 10
	sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
		f := newFake(tb)
		if err := f.CreateTopic(topic, 6, map[string]string{"max.message.bytes": strconv.Itoa(most)}); err != nil {
			tb.Fatal(err)
		}
		return transactionalHarness(tb, kafka.Config{Brokers: f.brokers(), Topic: topic, BatchBytes: 8 << 10}, f.each, most)
	}, sinktest.Features{MaxEvent: most / 2, SharedDestination: true})
}
