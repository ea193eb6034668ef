package intake

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// spoils has the connector make events that are no protobuf of webhooks with that text.
func (d *desk) spoils(text string) {
	translate := d.connector.Translate
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		if m, ok := in.Message.(*retinov1.Receipt); !ok || m.GetStatus() == text {
			t.Events[0].Data = &eventv1.Event_Customer{Customer: &eventv1.Customer{Name: "Nov\xc3"}}
		}
		return t, err
	}
}

// TestUnencodable: a webhook whose events cannot be written down is kept, also where broken ones are refused: its sender
// could do nothing about it, and asked to come again would come for ever.
func TestUnencodable(t *testing.T) {
	for _, reject := range []bool{false, true} {
		d := newDesk(t, func(c *source.Source) { c.Reject = reject })
		d.translates(connectors.NaturalKey("1"), 2)
		d.spoils("")
		if o := d.accept(t, "order", "{}"); o != Quarantined {
			t.Errorf("accept: %v", o)
		}
		if o := d.accept(t, "order", "{}"); o != Duplicate {
			t.Errorf("again: %v", o)
		}
		if got, want := d.stored(), []string{"0:bad_events"}; !cmp.Equal(got, want) {
			t.Errorf("stored %v", got)
		}
		if detail := d.book.Entries[0].Webhook.GetQuarantine().GetDetail(); !strings.Contains(detail, "event 0 cannot be encoded") || strings.Contains(detail, "Nov") {
			t.Errorf("the detail is %q", detail)
		}
		if d.value(t, "bridge_quarantined_total") != 1 {
			t.Error("it was not counted once")
		}
	}
}

// TestUnencodableOfBatch: one such webhook does not stop the others, nor is it lost when another is revised.
func TestUnencodableOfBatch(t *testing.T) {
	d := newDesk(t)
	d.keyedByBody()
	d.spoils("b;1")
	if err := d.batch(t, "a;1"); err != nil {
		t.Fatal(err)
	}
	if err := d.batch(t, "a;2", "b;1", "c;1"); err != nil {
		t.Fatal(err)
	}
	want := []string{"1:order/a", "1:order/a", "2:bad_events", "3:order/c"}
	if diff := cmp.Diff(want, d.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if err := d.batch(t, "a;2", "b;1", "c;1"); err != nil || len(d.book.Entries) != 4 {
		t.Errorf("again: %v, %d stored", err, len(d.book.Entries))
	}
}
