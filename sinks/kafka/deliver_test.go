package kafka_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// numbered returns n events of one subject.
func numbered(n int, subject string) []*eventv1.Event {
	events := make([]*eventv1.Event, n)
	for i := range events {
		events[i] = &eventv1.Event{Id: fmt.Sprintf("%s-%02d", subject, i), Type: "order.changed", Source: "till", Connector: "kasafik", Subject: "order/" + subject}
	}
	return events
}

// The first produce request of several for one key fails once, in each way in which a request can fail.
func TestOrderSurvivesFailures(t *testing.T) {
	for name, begin := range map[string]func(f *fake){
		"refused":                 failOnce(kerr.NotLeaderForPartition),
		"refused for replicas":    failOnce(kerr.NotEnoughReplicas),
		"timed out, yet kept":     failOnce(kerr.RequestTimedOut),
		"kept, without replicas":  failOnce(kerr.NotEnoughReplicasAfterAppend),
		"damaged":                 failOnce(kerr.CorruptMessage),
		"hung up before":          hangUp(1),
		"hung up before the next": hangUp(2),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, topic))
			events := numbered(40, "1")
			encoded := records(t, events)
			config := kafka.Config{Brokers: f.brokers(), Topic: topic, BatchBytes: 10 * 300}
			s := openSink(t, config)
			begin(f)
			if n, err := s.Deliver(t.Context(), encoded); err == nil {
				t.Fatalf("nothing failed, %d", n)
			} else if errors.Is(err, sinks.ErrPermanent) {
				t.Fatalf("%d, %v is about no event", n, err)
			} else {
				push(t, s, encoded[n:])
			}
			var ids []string
			got, err := received(t.Context(), config, topic)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range got {
				ids = append(ids, e.GetId())
			}
			// With the first or with the last copy of each event, the order is that of the journal.
			want := make([]string, len(events))
			for i, e := range events {
				want[i] = e.GetId()
			}
			if diff := cmp.Diff(want, firsts(ids)); diff != "" {
				t.Errorf("the first of each (-want +got):\n%s", diff)
			}
			slices.Reverse(ids)
			lasts := firsts(ids)
			slices.Reverse(lasts)
			if diff := cmp.Diff(want, lasts); diff != "" {
				t.Errorf("the last of each (-want +got):\n%s", diff)
			}
		})
	}
}

func failOnce(with *kerr.Error) func(f *fake) {
	return func(f *fake) { f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: with}) }
}

// hangUp makes the broker close the connection at the nth produce request, without an answer.
func hangUp(n int) func(f *fake) {
	return func(f *fake) {
		f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			if n--; n > 0 {
				f.KeepControl()
				return nil, nil, false
			}
			f.DropControl()
			return nil, errors.New("hung up"), true
		})
	}
}

func firsts(ids []string) []string {
	var to []string
	for _, id := range ids {
		if !slices.Contains(to, id) {
			to = append(to, id)
		}
	}
	return to
}

// One of several partitions refuses: n is the first event of that partition, wherever the others are.
func TestLowestUnacknowledged(t *testing.T) {
	var events []*eventv1.Event
	for i := range 20 {
		events = append(events, numbered(20, fmt.Sprint("s", i))...)
	}
	for p := range int32(4) {
		for _, with := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.InvalidRecord} {
			t.Run(fmt.Sprintf("%d %s", p, with.Message), func(t *testing.T) {
				f := newFake(t, kfake.SeedTopics(4, topic))
				config := kafka.Config{Brokers: f.brokers(), Topic: topic, BatchBytes: 7 * 300}
				s := openSink(t, config)
				fault := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{p}, Err: with, Count: -1})
				n, err := s.Deliver(t.Context(), records(t, events))
				if permanent := with == kerr.InvalidRecord; errors.Is(err, sinks.ErrPermanent) != permanent || err == nil {
					t.Fatalf("%d, %v", n, err)
				}
				fault.Remove()
				held, err := kafkatest.Read(t.Context(), config.Brokers, topic)
				if err != nil {
					t.Fatal(err)
				}
				have := map[string]bool{}
				for _, r := range held {
					if r.Partition == p {
						t.Fatalf("partition %d has a record", p)
					}
					have[string(r.Headers[1].Value)] = true
				}
				for i, e := range events[:n] {
					if !have[e.GetId()] {
						t.Fatalf("%d are reported durable, %d is not there", n, i)
					}
				}
				if have[events[n].GetId()] {
					t.Fatalf("%d is there, and reported not to be", n)
				}
			})
		}
	}
}

func TestTopicOfEvent(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "bridge.till.order", "bridge.till.order.changed", "kasafik"))
	e := numbered(1, "1")
	for template, want := range map[string]string{
		"bridge.{source}.{kind}": "bridge.till.order",
		"bridge.{source}.{type}": "bridge.till.order.changed",
		"{connector}":            "kasafik",
	} {
		s := openSink(t, kafka.Config{Brokers: f.brokers(), Topic: template})
		if n, err := s.Deliver(t.Context(), records(t, e)); n != 1 {
			t.Fatalf("%s: %v", template, err)
		}
		if held, err := kafkatest.Read(t.Context(), f.brokers(), want); err != nil || len(held) != 1 {
			t.Errorf("%s: %s has %d records, %v", template, want, len(held), err)
		}
	}
	for name, bad := range map[string]*eventv1.Event{
		"characters": {Id: "1", Source: "till", Type: "a b"},
		"empty":      {Id: "1", Source: "till"},
		"long":       {Id: "1", Source: "till", Type: strings.Repeat("a", 250)},
	} {
		s := openSink(t, kafka.Config{Brokers: f.brokers(), Topic: "bridge.{source}.{type}"})
		good := records(t, e)[0]
		n, err := s.Deliver(t.Context(), []sinks.Record{good, records(t, []*eventv1.Event{bad})[0], good})
		if n != 1 || !errors.Is(err, sinks.ErrPermanent) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// Consumers could neither tell such events apart nor choose among them.
func TestEventWithoutIDOrHeader(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, topic))
	good := records(t, numbered(1, "1"))[0]
	for name, bad := range map[string]sinks.Record{
		"without an id":    records(t, []*eventv1.Event{{Type: "order.changed", Source: "till"}})[0],
		"without a header": {Position: 2, Encoded: good.Encoded},
		"malformed":        {Position: 2, Encoded: []byte("\n\x05half")},
		"without anything": {},
	} {
		for _, format := range []kafka.Format{kafka.FormatProtobuf, kafka.FormatJSON} {
			s := openSink(t, kafka.Config{Brokers: f.brokers(), Topic: topic, Format: format})
			n, err := s.Deliver(t.Context(), []sinks.Record{good, bad, good})
			if n != 1 || !errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), "has no id") {
				t.Errorf("an event %s, as %s: %d, %v", name, format, n, err)
			}
		}
	}
}

func TestMissingTopic(t *testing.T) {
	f := newFake(t)
	config := kafka.Config{Brokers: f.brokers(), Topic: topic}
	s := openSink(t, config)
	e := records(t, numbered(1, "1"))
	for range 2 {
		n, err := s.Deliver(t.Context(), e)
		if n != 0 || err == nil || errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), topic+": it does not exist") {
			t.Fatalf("%d, %v", n, err)
		}
	}
	required := config
	required.Required = true
	if _, err := kafka.Open(t.Context(), required); err == nil || !strings.Contains(err.Error(), "it does not exist") {
		t.Errorf("Open: %v", err)
	}
	// The sink notices the new topic without a restart.
	if err := f.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Deliver(t.Context(), e); n != 1 {
		t.Errorf("when it exists: %v", err)
	}

	made := openSink(t, kafka.Config{Brokers: f.brokers(), Topic: "made.{source}", CreateTopics: &kafka.CreateTopics{Partitions: 3, Replication: 2}})
	push(t, made, e)
	if info := f.PartitionInfos("made.till"); len(info) != 3 {
		t.Errorf("made %+v", info)
	}
}

func TestRecord(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, topic))
	var want []string
	var contents []string
	events := kafkatest.Events(t)
	events[len(events)-1].Stale = true
	for format, contentType := range map[kafka.Format]string{
		kafka.FormatProtobuf:    "application/protobuf",
		kafka.FormatJSON:        "application/json",
		kafka.FormatCloudEvents: "application/cloudevents+json",
	} {
		want, contents = append(want, string(format)), append(contents, contentType)
	}
	for i, format := range want {
		name := "format-" + format
		config := kafka.Config{Brokers: f.brokers(), Topic: name, Format: kafka.Format(format), CreateTopics: &kafka.CreateTopics{Partitions: 1}}
		deliver(t, config, events)
		held, err := kafkatest.Read(t.Context(), f.brokers(), name)
		if err != nil {
			t.Fatal(err)
		}
		if len(held) != len(events) {
			t.Fatalf("%d records, want %d", len(held), len(events))
		}
		for j, r := range held {
			e := events[j]
			if key := e.GetSource() + "/" + e.GetSubject(); string(r.Key) != key || kafka.Key(e.GetSource(), e.GetSubject()) != key {
				t.Errorf("key %q, want %q", r.Key, key)
			}
			var headers []string
			for _, h := range r.Headers {
				headers = append(headers, h.Key+": "+string(h.Value))
			}
			if diff := cmp.Diff(wantHeaders(e, contents[i]), headers); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		}
	}
}

func TestKeysAreUnambiguous(t *testing.T) {
	seen := map[string]string{}
	for _, source := range []string{"a", "a/b", "a%2Fb", "a%252Fb"} {
		for _, subject := range []string{"", "b/c", "c", "/b/c"} {
			key := kafka.Key(source, subject)
			if other, taken := seen[key]; taken {
				t.Errorf("%q is the key of %s and of %q %q", key, other, source, subject)
			}
			seen[key] = fmt.Sprintf("%q %q", source, subject)
		}
	}
}
