package kafka_test

import (
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
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

func TestTransactional(t *testing.T) {
	f := newFake(t)
	transactional(t, f.brokers())
}

func transactional(t *testing.T, brokers []string) {
	config := kafka.Config{Brokers: brokers, Topic: "transactional", CreateTopics: &kafka.CreateTopics{}}
	s := openTransactional(t, config, origin)
	reached, found, err := s.Resume(t.Context())
	t.Log(reached, found, err)
	if err != nil {
		t.Fatal(err)
	}
	events := records(t, numbered(40, "1"))
	for range 3 {
		n, err := s.Deliver(t.Context(), events)
		t.Log(n, err)
	}
	reached, found, err = s.Resume(t.Context())
	t.Log(reached, found, err)
	held, err := kafkatest.ReadCommitted(t.Context(), brokers, "transactional")
	t.Log(len(held), err)
	s2 := openTransactional(t, config, origin)
	reached, found, err = s2.Resume(t.Context())
	t.Log(reached, found, err)
	n, err := s.Deliver(t.Context(), events)
	t.Log(n, err)
	t.Log(s2.MoveTo(t.Context(), 7))
	reached, found, err = s2.Resume(t.Context())
	t.Log(reached, found, err)
	n, err = s2.Deliver(t.Context(), events)
	t.Log(n, err)
}

func TestRealTransactional(t *testing.T) {
	b := kafkatest.Start(t)
	transactional(t, b.Brokers())
}
