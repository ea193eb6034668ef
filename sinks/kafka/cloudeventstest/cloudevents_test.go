package cloudeventstest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
	"github.com/webhook-bridge/bridge/sinks/cloudevents/cloudeventstest"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

func TestSDKReadsEveryVendor(t *testing.T) {
	broker := kafkatest.Start(t)
	for _, c := range []struct {
		format      kafka.Format
		mode        binding.Encoding
		contentType string // Of the data.
	}{
		{kafka.FormatProtobuf, binding.EncodingBinary, "application/protobuf"},
		{kafka.FormatJSON, binding.EncodingBinary, "application/json"},
		{kafka.FormatCloudEvents, binding.EncodingStructured, "application/json"},
	} {
		t.Run(string(c.format), func(t *testing.T) {
			events := kafkatest.Events(t)
			events[len(events)-1].Stale = true
			topic := "cloudevents-" + string(c.format)
			write(t, kafka.Config{Brokers: broker.Brokers(), Topic: topic, Format: c.format, CreateTopics: &kafka.CreateTopics{Partitions: 1}}, events)
			for i, record := range consume(t, broker, topic, len(events)) {
				want := events[i]
				if key := want.GetSource() + "/" + want.GetSubject(); string(record.Key) != key {
					t.Errorf("key %q, want %q", record.Key, key)
				}
				message := kafka_sarama.NewMessageFromConsumerMessage(record)
				if message.ReadEncoding() != c.mode {
					t.Fatalf("the SDK sees mode %v, want %v", message.ReadEncoding(), c.mode)
				}
				got, err := binding.ToEvent(t.Context(), message)
				if err != nil {
					t.Fatal(err)
				}
				if err := got.Validate(); err != nil {
					t.Fatal(err)
				}
				compare(t, want, got, c.mode, c.contentType)
			}
		})
	}
}

// write delivers events. A new topic may need several attempts.
func write(t *testing.T, config kafka.Config, events []*eventv1.Event) {
	t.Helper()
	s, err := kafka.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var left []sinks.Record
	for i, e := range events {
		encoded, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		r, err := sinks.NewRecord(sinks.Position(i+1), encoded)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, r)
	}
	for attempt := 0; ; attempt++ {
		n, err := s.Deliver(t.Context(), left)
		if left = left[n:]; len(left) == 0 {
			return
		}
		if attempt == 20 {
			t.Fatal(err)
		}
		kafkatest.AwaitTopic(t, config.Brokers, config.Topic)
	}
}

func consume(t *testing.T, broker *kafkatest.Broker, topic string, n int) []*sarama.ConsumerMessage {
	t.Helper()
	consumer, err := sarama.NewConsumer(broker.Brokers(), sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer partition.Close()
	var records []*sarama.ConsumerMessage
	for len(records) < n {
		select {
		case r := <-partition.Messages():
			records = append(records, r)
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
	return records
}

func compare(t *testing.T, want *eventv1.Event, got *event.Event, mode binding.Encoding, contentType string) {
	t.Helper()
	happened := want.GetReceivedAt()
	if want.OccurredAt != nil {
		happened = want.GetOccurredAt()
	}
	if !got.Time().Equal(happened.AsTime()) {
		t.Errorf("time %v, want %v", got.Time(), happened.AsTime())
	}
	attributes := map[string]string{
		"specversion": got.SpecVersion(), "id": got.ID(), "type": got.Type(), "source": got.Source(), "subject": got.Subject(),
		"datacontenttype": got.DataContentType(),
	}
	for name, value := range got.Extensions() {
		if truth, ok := value.(bool); ok { // in structured mode, which has types
			attributes[name] = strconv.FormatBool(truth)
		}
		if text, ok := value.(string); ok && !strings.HasPrefix(name, "kafka") { // The SDK's own.
			attributes[name] = text
		}
	}
	wanted := map[string]string{
		"specversion": "1.0", "id": want.GetId(), "type": want.GetType(), "source": want.GetSource(), "subject": want.GetSubject(),
		"datacontenttype": contentType, "connector": want.GetConnector(), "vendorevent": want.GetVendorEvent(), "webhookid": want.GetWebhookId(),
		"receivedtime": want.GetReceivedAt().AsTime().Format("2006-01-02T15:04:05.999999999Z07:00"),
	}
	if v := want.GetSubjectVersion(); v != "" {
		wanted["subjectversion"] = v
	}
	if mode == binding.EncodingStructured {
		attributes["dataschema"] = got.DataSchema()
		m := want.ProtoReflect()
		wanted["dataschema"] = cloudevents.Schema(m.WhichOneof(m.Descriptor().Oneofs().ByName("data")).Message().FullName())
	}
	if want.GetStale() {
		wanted["stale"] = "true"
	}
	if diff := cmp.Diff(wanted, attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	data := &eventv1.Event{}
	var err error
	switch {
	case contentType == "application/protobuf":
		err = proto.Unmarshal(got.Data(), data)
	case mode == binding.EncodingBinary:
		err = protojson.Unmarshal(got.Data(), data)
	default:
		attributes["time"] = got.Time().Format(time.RFC3339Nano)
		data, err = cloudeventstest.Event(attributes, got.Data())
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, data, protocmp.Transform()); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}
