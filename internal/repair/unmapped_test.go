package repair

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// puzzled has the desk's connector understand nothing, and know what it does not by created_at.
func (d *desk) puzzled() {
	d.connector.Envelope = retinoEnvelope()
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, fmt.Errorf("a connector's own words: %w", connectors.ErrUnmapped)
	}
}

func retinoEnvelope() *connectors.Envelope {
	return &connectors.Envelope{
		New: func() proto.Message { return new(retinov1.Envelope) },
		Identify: func(m proto.Message) (connectors.Key, string) {
			return connectors.NaturalKey(m.(*retinov1.Envelope).GetCreatedAt()), ""
		},
	}
}

// TestNotUnderstood: an event that a connector cannot translate becomes the same unmapped event, under the same key, as an event
// that is not modelled. This holds when it is received, released and translated again.
func TestNotUnderstood(t *testing.T) {
	text := body(`"created_at":"t1"`)
	d := newDesk(t)
	d.puzzled()
	first := d.held(t, d.delivery(shipping, body(`"created_at":"t0"`)))
	if o := d.accept(t, text); o != intake.Accepted {
		t.Fatal(o)
	}
	unmodelled := *d.connector
	unmodelled.Service = kasafik.New().Service
	delivery := d.delivery(shipping, text)
	delivery.Source = d.sourceOf(&unmodelled)
	if o, err := d.receive(delivery); o != intake.Duplicate || err != nil {
		t.Errorf("unmodelled, it is %v, %v", o, err)
	}
	entry := d.book.Entries[1]
	e := entry.Events[0]
	if e.GetType() != intake.UnmappedType || e.GetSubject() != "acme/"+shipping || e.GetUnmapped().GetJson() != text || entry.Window != intake.NaturalWindow {
		t.Errorf("%v, window %v", e, entry.Window)
	}
	if r := d.retranslate(t, entry.Webhook, false); r.Fault != nil || len(r.Changes) != 0 {
		t.Errorf("translated again: %+v", r)
	}
	if r := d.retry(t, first, Options{}); r.Outcome != intake.Accepted || d.book.Entries[2].Events[0].GetType() != intake.UnmappedType {
		t.Errorf("released: %+v", r)
	}
	d.translates(connectors.NaturalKey("1"), 1)
	if r := d.retranslate(t, entry.Webhook, false); len(r.Changes) != 1 || r.Changes[0].Made.GetSupersedes() != e.GetId() {
		t.Errorf("understood: %+v", r)
	}
}

// TestTypedCallNotUnderstood: there is no JSON to pass on.
func TestTypedCallNotUnderstood(t *testing.T) {
	d := newDesk(t)
	d.puzzled()
	typed := d.delivery(shipping, "")
	typed.Encoding = journalv1.Encoding_ENCODING_PROTOBUF
	typed.Event, typed.Message = shipping, &retinov1.ShippingOrdered{}
	o, err := d.receive(typed)
	if got := d.book.Entries[0].Webhook.GetQuarantine(); o != intake.Quarantined || err != nil || got.GetReason() != string(intake.Untranslatable) {
		t.Fatalf("%v, %v, %v", o, err, got)
	}
	if r := d.retry(t, d.book.Entries[0].Webhook, Options{}); r.Fault == nil || r.Fault.Reason != intake.Untranslatable {
		t.Errorf("released: %+v", r)
	}
}
