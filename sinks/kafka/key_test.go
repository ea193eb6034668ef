package kafka_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/types/known/timestamppb"

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

// compaction shows that a compacted topic has the newest state of each subject, and nothing of a deleted one.
func compaction(t *testing.T, b *kafkatest.Secure) {
	const topic = "compacted"
	client := &kafkago.Client{Addr: kafkago.TCP(b.Brokers()...), Transport: &kafkago.Transport{}}
	answer, err := client.CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: topic, NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafkago.ConfigEntry{
			{ConfigName: "cleanup.policy", ConfigValue: "compact"},
			{ConfigName: "min.cleanable.dirty.ratio", ConfigValue: "0.0001"},
			{ConfigName: "segment.ms", ConfigValue: "100"},
			{ConfigName: "delete.retention.ms", ConfigValue: "0"},
		},
	}}})
	if err == nil {
		err = answer.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
	client.Transport.(*kafkago.Transport).CloseIdleConnections()
	kafkatest.AwaitTopic(t, b.Brokers(), topic)
	s := openSink(t, kafka.Config{Brokers: b.Brokers(), Topic: topic, Tombstones: true})
	now := time.Now()
	send := func(kind, subject string) {
		now = now.Add(time.Second) // A second is more than segment.ms: each event begins a segment, and the last one is not compacted.
		e := numbered(1, subject)[0]
		e.Type, e.ReceivedAt = "order."+kind, timestamppb.New(now)
		push(t, s, records(t, []*eventv1.Event{e}))
	}
	for _, kind := range []string{"opened", "changed", "closed"} {
		send(kind, "kept")
		send(kind, "gone")
	}
	send("deleted", "gone")
	states := ""
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for range 100 {
		// A new record lets the cleaner take the one before it.
		send("changed", "last")
		held, err := kafkatest.Read(t.Context(), b.Brokers(), topic)
		if err != nil {
			t.Fatal(err)
		}
		var left strings.Builder
		for _, r := range held {
			if key := string(r.Key); key != "till/order/last" {
				fmt.Fprintf(&left, "%s %s\n", key, r.Headers[2].Value)
			}
		}
		states = left.String()
		if states == "till/order/kept order.closed\n" {
			return
		}
		<-again.C
	}
	t.Errorf("the topic has\n%s", states)
}
