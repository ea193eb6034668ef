package sinks_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

func full() *eventv1.Event {
	return &eventv1.Event{
		Id: "1", Type: "order.changed", Source: "till", Connector: "kasafik", VendorEvent: "orders", Subject: "order/1", SubjectVersion: "3",
		OccurredAt: timestamppb.New(time.Unix(1, 2)), ReceivedAt: timestamppb.New(time.Unix(-3, 4)), WebhookId: "5", Supersedes: "6", Stale: true,
		Data: &eventv1.Event_Order{Order: &eventv1.Order{Id: "1"}},
	}
}

func encode(tb testing.TB, e *eventv1.Event) []byte {
	tb.Helper()
	encoded, err := proto.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	return encoded
}

// texts are the header's fields by their names in the schema, apart from the times.
func texts(h sinks.Header) map[protoreflect.Name][]byte {
	return map[protoreflect.Name][]byte{
		"id": h.ID, "type": h.Type, "source": h.Source, "connector": h.Connector, "vendor_event": h.VendorEvent, "subject": h.Subject,
		"subject_version": h.SubjectVersion, "webhook_id": h.WebhookID, "supersedes": h.Supersedes,
	}
}

// checkHeader compares a header with the decoded event.
func checkHeader(tb testing.TB, h sinks.Header, e *eventv1.Event) {
	tb.Helper()
	m := e.ProtoReflect()
	for name, got := range texts(h) {
		if want := m.Get(m.Descriptor().Fields().ByName(name)).String(); string(got) != want {
			tb.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if h.Stale != e.GetStale() {
		tb.Errorf("stale: %v, want %v", h.Stale, e.GetStale())
	}
	for name, pair := range map[string]struct {
		got  time.Time
		want *timestamppb.Timestamp
	}{"occurred_at": {h.OccurredAt, e.OccurredAt}, "received_at": {h.ReceivedAt, e.ReceivedAt}} {
		if pair.want == nil && pair.got.IsZero() {
			continue
		}
		if pair.want == nil || !pair.got.Equal(pair.want.AsTime()) || pair.got.Location() != time.UTC {
			tb.Errorf("%s: %v, want %v", name, pair.got, pair.want)
		}
	}
}

func TestRecordHasTheHeader(t *testing.T) {
	for _, e := range []*eventv1.Event{{}, full(), {Subject: "order/2", OccurredAt: &timestamppb.Timestamp{}}} {
		encoded := encode(t, e)
		r, err := sinks.NewRecord(7, encoded)
		if err != nil || r.Position != 7 || !bytes.Equal(r.Encoded, encoded) {
			t.Fatalf("record %+v, error %v", r, err)
		}
		checkHeader(t, r.Header, e)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r, err := sinks.NewRecord(7, encode(t, full()))
	if err != nil {
		t.Fatal(err)
	}
	c := r.Clone()
	clear(r.Encoded)
	if c.Position != 7 || !bytes.Equal(c.Encoded, encode(t, full())) {
		t.Errorf("clone is %+v", c)
	}
	checkHeader(t, c.Header, full())

	c = sinks.Record{Position: 7, Encoded: []byte("\n\x02ab\n\x05half")}.Clone()
	if string(c.Encoded) != "\n\x02ab\n\x05half" || c.Header.ID != nil {
		t.Errorf("clone of a record that is no event is %+v", c)
	}
}

// As in a decoder, the last one of several equal fields wins, and a field of another type is an unknown field.
func TestUnusualEncodings(t *testing.T) {
	encoded := encode(t, full())
	encoded = append(encoded, encode(t, &eventv1.Event{Subject: "order/2"})...)
	encoded = protowire.AppendVarint(protowire.AppendTag(encoded, 3, protowire.VarintType), 9)
	encoded = protowire.AppendFixed64(protowire.AppendTag(encoded, 4, protowire.Fixed64Type), 9)
	encoded = protowire.AppendVarint(protowire.AppendTag(encoded, 12, protowire.VarintType), 0)
	encoded = protowire.AppendBytes(protowire.AppendTag(encoded, 12, protowire.BytesType), []byte{1})
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		t.Fatal(err)
	}
	event, err := r.Event()
	if err != nil || event.GetSubject() != "order/2" {
		t.Fatalf("event %v, error %v", event, err)
	}
	checkHeader(t, r.Header, event)
}

func TestRecordOfMalformedEvent(t *testing.T) {
	encoded := encode(t, &eventv1.Event{ReceivedAt: timestamppb.New(time.Unix(1, 2))})
	for n := 1; n < len(encoded); n++ {
		if r, err := sinks.NewRecord(1, encoded[:n]); err == nil {
			t.Errorf("event that is cut after %d bytes: record %+v", n, r)
		}
	}
	encoded[len(encoded)-1] |= 0x80 // The time's last number does not end.
	if r, err := sinks.NewRecord(1, encoded); err == nil {
		t.Errorf("event with a malformed time: record %+v", r)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte{0x12, 0xff})
	for _, e := range []*eventv1.Event{{}, full()} {
		f.Add(encode(f, e))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		r, err := sinks.NewRecord(1, encoded) // Must not panic on any input.
		want := &eventv1.Event{}
		if proto.Unmarshal(encoded, want) != nil {
			return
		}
		if err != nil {
			t.Fatalf("%v, for bytes that protobuf decodes to %v", err, want)
		}
		// A decoder merges the parts of a time that is there twice. Bridge never writes such a time.
		if again, err := proto.Marshal(want); err != nil || !bytes.Equal(again, encoded) {
			return
		}
		checkHeader(t, r.Header, want)
	})
}

func BenchmarkNewRecord(b *testing.B) {
	encoded := encode(b, full())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sinks.NewRecord(1, encoded); err != nil {
			b.Fatal(err)
		}
	}
}
