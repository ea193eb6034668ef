package repair

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// TestUnencodableAgain: what is stored stays as it is, and says so, in a dry run too.
func TestUnencodableAgain(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.NaturalKey("1"), 1)
	if o := d.accept(t, version("1")); o != intake.Accepted {
		t.Fatal(o)
	}
	accepted := d.book.Entries[0]
	held := d.held(t, d.delivery(shipping, version("2")))
	translate := d.connector.Translate
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		t, err := translate(in)
		t.Events[0].Data = &eventv1.Event_Customer{Customer: &eventv1.Customer{Name: "Nov\xc3"}}
		return t, err
	}
	for _, dryRun := range []bool{true, false} {
		if r := d.retry(t, held, Options{DryRun: dryRun}); r.Outcome != intake.Quarantined || r.Fault == nil || r.Fault.Reason != intake.BadEvents {
			t.Errorf("release: %+v", r)
		}
		r, err := d.Retranslate(t.Context(), d.source, accepted.Webhook, dryRun)
		if err != nil || r.Fault == nil || r.Fault.Reason != intake.BadEvents {
			t.Errorf("retranslate: %+v, %v", r, err)
		}
	}
	if len(d.book.Entries) != 2 || !proto.Equal(held, d.book.Entries[1].Webhook) {
		t.Errorf("%d entries", len(d.book.Entries))
	}
}
