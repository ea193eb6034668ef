package repair

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// doubts has the connector make an event and leave out two values of one field.
func (d *desk) doubts() {
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{
			Key:    connectors.NaturalKey("1"),
			Events: []*eventv1.Event{{Type: "shipment.ordered", Subject: "shipment/1"}},
			Drift:  []connectors.Drift{{Path: "$.lines[0].kind", Value: "gift"}, {Path: "$.lines[1].kind", Value: "present"}},
		}, nil
	}
}

// TestDriftOfTypedCalls: a typed call has the decoder's drift from its receipt and the connector's from each translation.
func TestDriftOfTypedCalls(t *testing.T) {
	d := newDesk(t)
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, errors.New("no")
	}
	typed := d.delivery(shipping, "")
	typed.Encoding, typed.Event, typed.Message = journalv1.Encoding_ENCODING_PROTOBUF, shipping, &retinov1.ShippingOrdered{}
	typed.Drift = []vendorjson.Drift{{Kind: vendorjson.Unknown, Path: "$.field_99"}}
	if o, err := d.receive(typed); o != intake.Quarantined || err != nil {
		t.Fatal(o, err)
	}
	stored := d.last().Webhook
	d.doubts()
	if r := d.retry(t, stored, Options{}); r.Outcome != intake.Accepted {
		t.Fatalf("%+v", r)
	}
	released := d.last().Webhook.GetDrift()
	value := &journalv1.Drift{Kind: journalv1.DriftKind_DRIFT_KIND_VALUE, Path: "$.lines[].kind", Sample: []byte(`"xxxx"`)}
	if n := len(stored.GetDrift()); len(released) != n+1 || !proto.Equal(released[n], value) {
		t.Errorf("%v, released with %v", stored.GetDrift(), released)
	}
	if n := d.value(t, "bridge_drift_total"); n != float64(len(released)) {
		t.Errorf("counted %v", n)
	}
}

// TestRetranslateUnderstands: a value that the connector understands today corrects the event.
func TestRetranslateUnderstands(t *testing.T) {
	d := newDesk(t)
	d.doubts()
	d.accept(t, body(`"v":1`))
	w, event := d.last().Webhook, d.last().Events[0]
	if r := d.retranslate(t, w, false); len(r.Changes) != 0 || r.Fault != nil {
		t.Errorf("the same: %+v", r)
	}
	d.makes(connectors.NaturalKey("1"), "shipment/1")
	if r := d.retranslate(t, w, false); len(r.Changes) != 1 || r.Changes[0].Made.GetSupersedes() != event.GetId() {
		t.Errorf("understood: %+v", r)
	}
}
