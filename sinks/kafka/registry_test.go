package kafka_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/jsonschema"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
	"github.com/webhook-bridge/bridge/sinks/schemaregistry/registrytest"
)

func registry(url string) *kafka.SchemaRegistry {
	return &kafka.SchemaRegistry{URL: url, JSONSchema: func() (string, error) {
		s, err := jsonschema.Event(jsonschema.Selection{})
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(s)
		return string(text), err
	}}
}

// TestRealRegistry: Confluent's deserializers read every vendor's events, with the schemas from a real registry, from a real broker.
func TestRealRegistry(t *testing.T) {
	python := os.Getenv("BRIDGE_TEST_CONFLUENT")
	if python == "" {
		t.Skip("BRIDGE_TEST_CONFLUENT names a Python with sinks/kafka/testdata/confluent/requirements.txt; .ci/registry sets it")
	}
	r := registrytest.Start(t)
	b := kafkatest.Start(t)
	r.Await(t)
	for _, format := range []kafka.Format{kafka.FormatProtobuf, kafka.FormatJSON} {
		t.Run(string(format), func(t *testing.T) {
			events := kafkatest.Events(t)
			topic := "registry-" + string(format)
			config := kafka.Config{
				Brokers: b.Brokers(), Topic: topic, Format: format, CreateTopics: &kafka.CreateTopics{Partitions: 1}, SchemaRegistry: registry(r.URL),
				Tombstones: true,
			}
			deliver(t, config, events)
			read := exec.Command(python, "testdata/confluent/read.py", b.Brokers()[0], r.URL, topic, string(format), strconv.Itoa(len(events)))
			var problems bytes.Buffer
			read.Stderr = &problems
			out, err := read.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, problems.Bytes())
			}
			compare(t, events, bytes.Split(bytes.TrimSpace(out), []byte("\n")))
		})
	}
	t.Run("incompatible", func(t *testing.T) { incompatible(t, b, r) })
	t.Run("lookup only", func(t *testing.T) { lookUpOnly(t, b, r) })
}

// compare compares the events with the lines that read.py prints. Deletions have no value.
func compare(t *testing.T, want []*eventv1.Event, lines [][]byte) {
	t.Helper()
	if len(lines) != len(want) {
		t.Fatalf("%d records, want %d", len(lines), len(want))
	}
	for i, line := range lines {
		var record struct {
			Key   string
			Value json.RawMessage
		}
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(want[i].GetType(), ".deleted") {
			if string(record.Value) != "null" {
				t.Errorf("%s: not null", record.Key)
			}
			continue
		}
		got := &eventv1.Event{}
		var text string
		err := json.Unmarshal(record.Value, &text)
		if err == nil {
			var encoded []byte
			if encoded, err = base64.StdEncoding.DecodeString(text); err == nil {
				err = proto.Unmarshal(encoded, got)
			}
		} else {
			err = protojson.Unmarshal(record.Value, got)
		}
		if err != nil {
			t.Fatal(err)
		}
		if key := kafka.Key(want[i].GetSource(), want[i].GetSubject()); record.Key != key {
			t.Errorf("key %q, want %q", record.Key, key)
		}
		if diff := cmp.Diff(want[i], got, protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// incompatible shows that events wait while the registry refuses the schema, until an operator has changed that.
func incompatible(t *testing.T, b *kafkatest.Broker, r *registrytest.Registry) {
	const subject = "/subjects/incompatible-value/versions"
	other := `syntax = "proto3"; package bridge.event.v1; message Event { int32 id = 1; }`
	body, err := json.Marshal(map[string]string{"schemaType": "PROTOBUF", "schema": other})
	if err != nil {
		t.Fatal(err)
	}
	r.Call(t, http.MethodPost, subject, string(body))
	r.Call(t, http.MethodPut, "/config/incompatible-value", `{"compatibility":"BACKWARD"}`)
	s := openSink(t, kafka.Config{Brokers: b.Brokers(), Topic: "incompatible", CreateTopics: &kafka.CreateTopics{}, SchemaRegistry: registry(r.URL)})
	events := records(t, numbered(1, "1"))
	n, err := s.Deliver(t.Context(), events)
	if n != 0 || err == nil || errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), "lower the subject's compatibility") {
		t.Errorf("Deliver: %d, %v", n, err)
	}
	t.Log(err)
	r.Call(t, http.MethodPut, "/config/incompatible-value", `{"compatibility":"NONE"}`)
	push(t, s, events)
}

// lookUpOnly shows that a schema that is not there is an error, until somebody has registered it.
func lookUpOnly(t *testing.T, b *kafkatest.Broker, r *registrytest.Registry) {
	config := kafka.Config{Brokers: b.Brokers(), Topic: "lookup", CreateTopics: &kafka.CreateTopics{}, SchemaRegistry: registry(r.URL)}
	config.SchemaRegistry.LookUpOnly = true
	s := openSink(t, config)
	events := records(t, numbered(1, "1"))
	n, err := s.Deliver(t.Context(), events)
	if n != 0 || err == nil || errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), "register the schema") {
		t.Errorf("Deliver: %d, %v", n, err)
	}
	config.SchemaRegistry = registry(r.URL)
	deliver(t, config, numbered(1, "2"))
	push(t, s, events)
}

// TestRegistryAway: the events of topics with a known schema are delivered while the registry is away. The others wait.
func TestRegistryAway(t *testing.T) {
	var away atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{"id":258,"version":1}`)
	}))
	defer server.Close()
	f := newFake(t, kfake.SeedTopics(1, "order", "payment"))
	s := openSink(t, kafka.Config{Brokers: f.brokers(), Topic: "{kind}", SchemaRegistry: registry(server.URL)})
	events := append(numbered(2, "1"), numbered(2, "2")...)
	push(t, s, records(t, events[:1]))
	events[2].Subject, events[2].Type = "payment/2", "payment.created"
	away.Store(true)
	n, err := s.Deliver(t.Context(), records(t, events[1:]))
	if n != 1 || err == nil || errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), "payment-value") {
		t.Errorf("while the registry is away: %d, %v", n, err)
	}
	away.Store(false)
	push(t, s, records(t, events[2:]))
	for topic, count := range map[string]int{"order": 3, "payment": 1} {
		held, err := kafkatest.Read(t.Context(), f.brokers(), topic)
		if err != nil {
			t.Fatal(err)
		}
		if len(held) != count {
			t.Errorf("%s has %d records, want %d", topic, len(held), count)
		}
		for _, r := range held {
			if !bytes.HasPrefix(r.Value, []byte("\x00\x00\x00\x01\x02\x00\x0a")) {
				t.Errorf("%s: value %q", topic, r.Value[:7])
			}
		}
	}
}
