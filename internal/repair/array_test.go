package repair

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// shipments has the desk's connector make an event of each shipment under a content hash, but none of the shipment "bad".
func (d *desk) shipments() {
	d.connector.Batches = true
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		m, ok := in.Message.(*retinov1.ShippingOrdered)
		if !ok || m.GetShipping().GetId() == "bad" {
			return connectors.Translation{}, connectors.Errorf("$.shipping.id", "is bad")
		}
		return connectors.Translation{Key: connectors.ContentHash(), Events: []*eventv1.Event{
			{Type: "shipment.ordered", Subject: "shipment/" + m.GetShipping().GetId()},
		}}, nil
	}
}

func shipmentOf(id string) string { return body(`"shipping":{"id":"` + id + `"}`) }

func arrayOf(ids ...string) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = shipmentOf(id)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// TestReleasedArrayIsItsOwn: without a natural key, the webhooks of a released array are facts of their own, as one that came
// alone is: no other swallows them, they swallow none, and equal ones of one array are two.
func TestReleasedArrayIsItsOwn(t *testing.T) {
	d := newDesk(t)
	w := d.held(t, d.delivery("", arrayOf("1", "bad", "1", "bad")))
	d.shipments()
	take := func(id string) intake.Outcome {
		o, err := d.receive(d.delivery(shipping, shipmentOf(id)))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o := take("1"); o != intake.Accepted {
		t.Fatal(o)
	}
	r := d.retry(t, w, Options{})
	if r.Outcome != intake.Accepted || r.Events != 2 || r.Fault == nil || r.Fault.Reason != HeldElements || !strings.Contains(r.Fault.Problem, "2 of the array's 4") {
		t.Errorf("%+v", r)
	}
	if o := take("bad"); o != intake.Quarantined {
		t.Errorf("a webhook like one that stays in quarantine is %v", o)
	}
	want := []string{
		"0:malformed_json", "0:shipment/1", "0:malformed_json", // the array, one that came alone, and the array released
		"1:malformed_jsonshipment/1", "2:untranslatable", "3:malformed_jsonshipment/1", "4:untranslatable", "0:untranslatable",
	}
	if diff := cmp.Diff(want, d.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	ids := make(map[string]bool)
	for _, e := range d.book.Entries {
		for _, ev := range e.Events {
			ids[ev.GetId()] = true
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d ids of 3 events", len(ids))
	}
}

// TestReleasedArrayLiesWhereItWas: its webhooks are found by the time at which it was received, in its order, and kept for as
// long as it. Those that became events are released ones.
func TestReleasedArrayLiesWhereItWas(t *testing.T) {
	d := newDesk(t)
	w := d.held(t, d.delivery("", arrayOf("1", "2", "bad", "4")))
	at := d.received.Add(-48 * time.Hour)
	w.Id = journal.IDAt(at.Add(time.Millisecond))
	w.Id = w.Id[:15] + "fff" + w.Id[18:] // the counter is at its end
	d.shipments()
	if r := d.retry(t, w, Options{}); r.Events != 3 {
		t.Fatalf("%+v", r)
	}
	last := w.GetId()
	for i, e := range d.book.Entries[2:] {
		id := e.Webhook.GetId()
		if id <= last || id >= journal.IDAt(at.Add(time.Second)) || id[14] != '7' {
			t.Errorf("element %d is %s, after %s", i, id, last)
		}
		last = id
		released := e.Webhook.GetReleasedAt() != nil
		if released == (i == 2) || e.Webhook.GetQuarantine() == nil || int(e.Webhook.GetElement()) != i+1 {
			t.Errorf("element %d is stored as %v", i, e.Webhook)
		}
		for _, ev := range e.Events {
			if ev.GetWebhookId() != id {
				t.Errorf("element %d's event is of %s", i, ev.GetWebhookId())
			}
		}
	}
	if again := d.source.Drafts(d.source.Redelivery(w, "")); len(again) != 5 {
		t.Errorf("%d drafts", len(again))
	}
}

// TestElementIDs are as many as an array may have webhooks, and stay in order.
// TestReleaseArrayOfBroken: that nothing became of an array shows, before and after.
func TestReleaseArrayOfBroken(t *testing.T) {
	for _, dryRun := range []bool{true, false} {
		d := newDesk(t)
		w := d.held(t, d.delivery("", "[1,2,3]"))
		d.shipments()
		r := d.retry(t, w, Options{DryRun: dryRun})
		if r.Events != 0 || r.Fault == nil || r.Fault.Reason != HeldElements || !strings.Contains(r.Fault.Problem, "3 of the array's 3") {
			t.Errorf("%+v", r)
		}
		if n := d.value(t, "bridge_quarantined_total"); !dryRun && n != 4 {
			t.Errorf("%v in quarantine", n)
		}
	}
}

// TestDriftHasNoNames: what is stored and counted of a difference is not personal, and names that are data make few.
func TestDriftHasNoNames(t *testing.T) {
	d := newDesk(t)
	var text strings.Builder
	for i := range 80 {
		fmt.Fprintf(&text, `"%s.novak@%d.cz":"777123456",`, strings.Repeat("j", i%40+1), i)
	}
	held := d.held(t, d.delivery(shipping, body(text.String()+`"discount":5`)))
	d.translates(connectors.NaturalKey("1"), 1)
	if r := d.retry(t, held, Options{}); r.Outcome != intake.Accepted {
		t.Fatal(r)
	}
	var unknown []*journalv1.Drift
	for _, x := range d.book.Entries[1].Webhook.GetDrift() {
		if x.GetKind() == journalv1.DriftKind_DRIFT_KIND_UNKNOWN {
			unknown = append(unknown, x)
		}
	}
	if len(unknown) != 2 || unknown[0].GetPath() != `$["x.x@0.x"]` || string(unknown[0].GetSample()) != `"000000000"` ||
		unknown[1].GetPath() != "$.discount" {
		t.Errorf("stored %v", unknown)
	}
}
