package kafka_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

func TestKeyTemplate(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, topic))
	e := numbered(1, "7/8")[0]
	keys := []string{"{source}/{subject}", "{kind}/{subject}", "{subject}", "{source}", "a.{type}.{connector}"}
	for _, key := range keys {
		deliver(t, kafka.Config{Brokers: f.brokers(), Topic: topic, Key: key}, []*eventv1.Event{e})
	}
	held, err := kafkatest.Read(t.Context(), f.brokers(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"till/order/7/8", "order/order/7/8", "order/7/8", "till", "a.order.changed.kasafik"} {
		if got := string(held[i].Key); got != want {
			t.Errorf("%s: %q, want %q", keys[i], got, want)
		}
	}
	s := openSink(t, kafka.Config{Brokers: f.brokers(), Topic: topic, Key: "{connector}"})
	e.Connector = ""
	if n, err := s.Deliver(t.Context(), records(t, []*eventv1.Event{e})); n != 0 || !errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("an event without the field: %d, %v", n, err)
	}
}

// TestTombstones: a deletion has a null value and its headers. A stale one has its value: it would delete a newer state.
func TestTombstones(t *testing.T) {
	for _, format := range []kafka.Format{kafka.FormatProtobuf, kafka.FormatJSON, kafka.FormatCloudEvents} {
		t.Run(string(format), func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, topic))
			events := numbered(4, "1")
			for i, e := range events {
				e.Data = &eventv1.Event_Order{Order: &eventv1.Order{Id: "1"}}
				if i > 0 {
					e.Type = "order.deleted"
				}
			}
			events[2].Stale = true
			deliver(t, kafka.Config{Brokers: f.brokers(), Topic: topic, Format: format, Tombstones: true}, events[:3])
			deliver(t, kafka.Config{Brokers: f.brokers(), Topic: topic, Format: format}, events[3:])
			held, err := kafkatest.Read(t.Context(), f.brokers(), topic)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range held {
				headers := map[string]string{}
				for _, h := range r.Headers {
					headers[h.Key] = string(h.Value)
				}
				if string(r.Key) != "till/order/1" || headers["ce_id"] != events[i].GetId() || headers["ce_type"] != events[i].GetType() {
					t.Errorf("event %d: key %q, headers %v", i, r.Key, headers)
				}
				tombstone := i == 1
				if (r.Value == nil) != tombstone || strings.HasPrefix(headers["content-type"], "application/") == tombstone {
					t.Errorf("event %d: value %q, content-type %q", i, r.Value, headers["content-type"])
				}
			}
		})
	}
}
