package kafka

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// The hashes are the expected values of murmur2 in Apache Kafka's own UtilsTest.
func TestPartitionIsJavas(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, count := range []int{1, 6, 1009} {
			partitions := make([]int, count)
			for i := range partitions {
				partitions[i] = i
			}
			if got, want := partition([]byte(key), partitions), int(hash&0x7fffffff)%count; got != want {
				t.Errorf("%q of %d partitions: %d, want %d", key, count, got, want)
			}
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, e := range []*eventv1.Event{
		{},
		{
			Id: "1", Type: "order.changed", Source: "till", Connector: "kasafik", VendorEvent: "orders", Subject: "order/1", SubjectVersion: "3",
			OccurredAt: timestamppb.New(time.Unix(1, 2)), ReceivedAt: timestamppb.New(time.Unix(-3, 4)), WebhookId: "5", Supersedes: "6",
			Data: &eventv1.Event_Order{Order: &eventv1.Order{Id: "1"}},
		},
	} {
		encoded, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		want := &eventv1.Event{}
		if proto.Unmarshal(encoded, want) != nil {
			return
		}
		var got envelope
		if err := got.parse(encoded); err != nil {
			t.Fatalf("%v, of what protobuf decodes to %v", err, want)
		}
		// Our encoders never write a field twice, with another type, or a message in parts.
		if again, err := proto.Marshal(want); err != nil || !bytes.Equal(again, encoded) {
			return
		}
		for name, pair := range map[string][2]string{
			"id":              {string(got.id), want.GetId()},
			"type":            {string(got.typ), want.GetType()},
			"source":          {string(got.source), want.GetSource()},
			"connector":       {string(got.connector), want.GetConnector()},
			"vendor_event":    {string(got.vendorEvent), want.GetVendorEvent()},
			"subject":         {string(got.subject), want.GetSubject()},
			"subject_version": {string(got.version), want.GetSubjectVersion()},
			"webhook_id":      {string(got.webhookID), want.GetWebhookId()},
			"supersedes":      {string(got.supersedes), want.GetSupersedes()},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %q, want %q", name, pair[0], pair[1])
			}
		}
		if want.OccurredAt != nil && !got.occurred.Equal(want.GetOccurredAt().AsTime()) {
			t.Errorf("occurred_at: %v, want %v", got.occurred, want.GetOccurredAt().AsTime())
		}
		if want.ReceivedAt != nil && !got.received.Equal(want.GetReceivedAt().AsTime()) {
			t.Errorf("received_at: %v, want %v", got.received, want.GetReceivedAt().AsTime())
		}
	})
}
