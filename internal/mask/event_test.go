package mask

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

func creditNote() *eventv1.Event {
	return &eventv1.Event{
		Id: "1", Type: "credit_note.created", Source: "returns", Subject: "credit_note/1",
		Data: &eventv1.Event_CreditNote{CreditNote: &eventv1.CreditNote{
			Id: "1", Customer: &eventv1.Customer{Id: "7", Name: "Jan Novák", Email: "jan@example.com"},
		}},
	}
}

func encoded(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestEvent: an encoded event loses its personal data and what its type does not declare, and the original stays.
func TestEvent(t *testing.T) {
	original := protowire.AppendBytes(protowire.AppendTag(encoded(t, creditNote()), 9999, protowire.BytesType), []byte("Jan Novák"))
	before := bytes.Clone(original)
	masked, err := Event(original)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(original, before) {
		t.Error("the original is changed")
	}
	if bytes.Contains(masked, []byte("Jan")) || bytes.Contains(masked, []byte("jan@")) {
		t.Errorf("personal data are there: %q", masked)
	}
	want, got := creditNote(), &eventv1.Event{}
	want.GetCreditNote().GetCustomer().Name, want.GetCreditNote().GetCustomer().Email = Mark, Mark
	if err := proto.Unmarshal(masked, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("masked (-want +got):\n%s", diff)
	}
	if _, err := Event([]byte{0xff}); err == nil {
		t.Error("what is no event is masked")
	}
}

func BenchmarkEvent(b *testing.B) {
	e := encoded(b, creditNote())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Event(e); err != nil {
			b.Fatal(err)
		}
	}
}
