package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// TestRealKafka checks what a fake broker may get wrong.
func TestRealKafka(t *testing.T) {
	b := kafkatest.Start(t)
	t.Run("contract", func(t *testing.T) {
		const most = 200 << 10
		sinktest.Run(t, realHarness(b, most), sinktest.Features{MaxEvent: most / 2})
	})
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run("compression "+compression, func(t *testing.T) { roundTrip(t, b.Brokers(), kafka.Config{Compression: compression}) })
	}
	t.Run("kcat", func(t *testing.T) { kcat(t, b) })
	t.Run("largest", func(t *testing.T) { largest(t, b) })
	t.Run("restart", func(t *testing.T) { restart(t, b) })
}

// realHarness creates a new topic for each case.
func realHarness(b *kafkatest.Broker, most int) func(tb testing.TB) sinktest.Harness {
	made := 0
	return func(tb testing.TB) sinktest.Harness {
		made++
		name := fmt.Sprintf("contract-%d", made)
		createTopic(tb, b, name, most)
		config := kafka.Config{Brokers: b.Brokers(), Topic: name}
		return sinktest.Harness{
			Open: func(ctx context.Context) (sinks.Sink, error) { return kafka.Open(ctx, config) },
			Received: func(ctx context.Context) ([]*eventv1.Event, error) {
				return received(ctx, config, name)
			},
			Break:  b.Proxy.Disconnect,
			Stall:  b.Proxy.Stall,
			Repair: b.Proxy.Resume,
			Poison: func() sinks.Record { return large(tb, most) },
		}
	}
}

func createTopic(tb testing.TB, b *kafkatest.Broker, name string, most int) {
	tb.Helper()
	client := &kafkago.Client{Addr: kafkago.TCP(b.Brokers()...), Transport: &kafkago.Transport{}}
	answer, err := client.CreateTopics(tb.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: name, NumPartitions: 6, ReplicationFactor: 1,
		ConfigEntries: []kafkago.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(most)}},
	}}})
	if err == nil {
		err = answer.Errors[name]
	}
	if err != nil {
		tb.Fatal(err)
	}
	client.Transport.(*kafkago.Transport).CloseIdleConnections()
	kafkatest.AwaitTopic(tb, b.Brokers(), name)
}

// kcat reads each vendor's event with a client that is not part of this project.
func kcat(t *testing.T, b *kafkatest.Broker) {
	events := kafkatest.Events(t)
	config := kafka.Config{Brokers: b.Brokers(), Topic: "kcat", Format: kafka.FormatJSON, CreateTopics: &kafka.CreateTopics{Partitions: 1}}
	deliver(t, config, events)
	out, err := exec.Command("kcat", "-C", "-b", b.Brokers()[0], "-t", "kcat", "-o", "beginning", "-e", "-q", "-J").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if len(lines) != len(events) {
		t.Fatalf("kcat reads %d records, want %d:\n%s", len(lines), len(events), out)
	}
	for i, want := range events {
		var got struct {
			Key     string
			Payload string
			Headers []string
			TS      int64
		}
		if err := json.Unmarshal(lines[i], &got); err != nil {
			t.Fatal(err)
		}
		if key := want.GetSource() + "/" + want.GetSubject(); got.Key != key {
			t.Errorf("key %q, want %q", got.Key, key)
		}
		if at := want.GetReceivedAt().AsTime().UnixMilli(); got.TS != at {
			t.Errorf("timestamp %d, want %d", got.TS, at)
		}
		if diff := cmp.Diff(wantHeaders(want, "application/json"), pairs(got.Headers)); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		e := &eventv1.Event{}
		if err := protojson.Unmarshal([]byte(got.Payload), e); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, e, protocmp.Transform()); diff != "" {
			t.Errorf("value (-want +got):\n%s", diff)
		}
	}
}

// pairs joins each name with the value after it in the list.
func pairs(list []string) []string {
	var to []string
	for i := 0; i+1 < len(list); i += 2 {
		to = append(to, list[i]+": "+list[i+1])
	}
	return to
}

// largest shows that very large records reach a broker that accepts them.
func largest(t *testing.T, b *kafkatest.Broker) {
	createTopic(t, b, "largest", 100<<20)
	config := kafka.Config{Brokers: b.Brokers(), Topic: "largest"}
	s := openSink(t, config)
	big := large(t, sinks.LargestEvent-1024)
	if n, err := s.Deliver(t.Context(), []sinks.Record{big}); n != 1 {
		t.Fatalf("an event of %d bytes: %v", len(big.Encoded), err)
	}
}

// restart shows that a broker loses no acknowledged event when it is stopped or killed.
func restart(t *testing.T, b *kafkatest.Broker) {
	config := kafka.Config{Brokers: b.Brokers(), Topic: "restart", CreateTopics: &kafka.CreateTopics{}}
	s := openSink(t, config)
	events := kafkatest.Events(t)
	push(t, s, records(t, events))
	for _, end := range []func(testing.TB){b.Stop, b.Kill} {
		end(t)
		if n, err := s.Deliver(t.Context(), records(t, events)); n != 0 || err == nil {
			t.Errorf("while the broker is down: %d, %v", n, err)
		} else if !strings.Contains(err.Error(), "kafka: deliver: topic restart") {
			t.Errorf("while the broker is down: %v", err)
		}
		b.Restart(t)
		push(t, s, records(t, events))
	}
	got, err := received(t.Context(), config, "restart")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < 3*len(events) {
		t.Errorf("%d events are there, want at least %d", len(got), 3*len(events))
	}
}
