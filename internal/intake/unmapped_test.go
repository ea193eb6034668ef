package intake

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
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

// TestNotUnderstood: what a connector does not understand is the same event, under the same key, as if nobody had modelled
// it, when it is received, released and translated again.
func TestNotUnderstood(t *testing.T) {
	text := body(`"created_at":"t1"`)
	d := newDesk(t, modelled)
	d.puzzled()
	first := d.held(t, d.delivery(shipping, body(`"created_at":"t0"`)))
	if o := d.accept(t, shipping, text); o != Accepted {
		t.Fatal(o)
	}
	if o, err := d.Unmapped(t.Context(), d.delivery(shipping, text)); o != Duplicate || err != nil {
		t.Errorf("unmodelled, it is %v, %v", o, err)
	}
	entry := d.book.entries[1]
	e := entry.Events[0]
	if e.GetType() != UnmappedType || e.GetSubject() != "acme/"+shipping || e.GetUnmapped().GetJson() != text || entry.Window != NaturalWindow {
		t.Errorf("%v, window %v", e, entry.Window)
	}
	if r := d.retranslate(t, entry.Webhook, entry.Events, false); r.Fault != nil || len(r.Changes) != 0 {
		t.Errorf("translated again: %+v", r)
	}
	if r := d.release(t, first, ReleaseOptions{}); r.Outcome != Accepted || d.book.entries[2].Events[0].GetType() != UnmappedType {
		t.Errorf("released: %+v", r)
	}
	d.translates(connectors.NaturalKey("1"), 1)
	if r := d.retranslate(t, entry.Webhook, entry.Events, false); len(r.Changes) != 1 || r.Changes[0].Made.GetSupersedes() != e.GetId() {
		t.Errorf("understood: %+v", r)
	}
}

// TestTypedCallNotUnderstood: there is no JSON to pass on.
func TestTypedCallNotUnderstood(t *testing.T) {
	d := newDesk(t, modelled)
	d.puzzled()
	typed := d.delivery(shipping, "")
	typed.Encoding = journalv1.Encoding_ENCODING_PROTOBUF
	o, err := d.Accept(t.Context(), typed, &retinov1.ShippingOrdered{}, nil)
	if got := d.book.entries[0].Webhook.GetQuarantine(); o != Quarantined || err != nil || got.GetReason() != string(Untranslatable) {
		t.Fatalf("%v, %v, %v", o, err, got)
	}
	if r := d.release(t, d.book.entries[0].Webhook, ReleaseOptions{}); r.Fault == nil || r.Fault.Reason != Untranslatable {
		t.Errorf("released: %+v", r)
	}
}
