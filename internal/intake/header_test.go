package intake

import (
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

func TestHeaderOf(t *testing.T) {
	headers := []*journalv1.Header{{Name: "x-event", Value: "a"}, {Name: "x-id", Value: "1"}, {Name: "x-id", Value: "2"}, {Name: "x-none"}}
	for name, want := range map[string]string{"x-event": "a", "X-Event": "a", "X-ID": "1, 2", "x-none": "", "x-other": "", "": ""} {
		if got := HeaderOf(headers, name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// withID is a delivery with the vendor's own id of it.
func (d *desk) withID(event, body, id string) *Delivery {
	delivery := d.delivery(event, body)
	delivery.Headers = append(delivery.Headers, &journalv1.Header{Name: "x-webhook-id", Value: id})
	return delivery
}

func keyedByHeader(c *source.Source) { c.Connector.KeyHeader = "X-Webhook-Id" }

// TestKeyHeader: a delivery's id is a key beside the body's own, and alone where the body has none. It never makes two facts
// of one that the body tells.
func TestKeyHeader(t *testing.T) {
	for _, test := range []struct {
		name  string
		key   connectors.Key
		again Outcome // what the same body is under another id
	}{{"natural", connectors.NaturalKey("order-1"), Duplicate}, {"hash", connectors.ContentHash(), Accepted}} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, keyedByHeader)
			d.translates(test.key, 1)
			for i, step := range []struct {
				event, body, id string
				want            Outcome
			}{
				{"order", `{"status":"1"}`, "id-1", Accepted},
				{"order", `{"status":"1"}`, "id-1", Duplicate},
				{"order", `{"status": "1"}`, "id-1", Duplicate}, // white space
				{"order", `{"status":"1"}`, "id-2", test.again},
				{"order", `{"status":"2"}`, "id-2", Accepted}, // a revision
				{"order", `{"status":"2"}`, "id-2", Duplicate},
				{"refund", `{"status":"1"}`, "id-1", Accepted},
			} {
				o, err := d.receive(d.withID(step.event, step.body, step.id))
				if o != step.want || err != nil {
					t.Errorf("step %d: %v, %v; want %v", i, o, err, step.want)
				}
			}
			ids, events := map[string]bool{}, 0
			for _, e := range d.book.Entries {
				for _, event := range e.Events {
					ids[event.GetId()], events = true, events+1
				}
				if e.Window != NaturalWindow {
					t.Errorf("window %v", e.Window)
				}
			}
			if len(ids) != events {
				t.Errorf("%d ids of %d events", len(ids), events)
			}
			if got := d.value(t, "bridge_revisions_total"); got != 1 {
				t.Errorf("bridge_revisions_total = %v", got)
			}
		})
	}
}

// TestKeyHeaderOfUnmapped: the header is the key of an unmapped event too, and comes before its envelope.
func TestKeyHeaderOfUnmapped(t *testing.T) {
	d := newDesk(t, keyedByHeader)
	for i, step := range []struct {
		id   string
		want Outcome
	}{{"id-1", Accepted}, {"id-1", Duplicate}, {"id-2", Accepted}} {
		if o, err := d.receive(d.withID("x", "{}", step.id)); o != step.want || err != nil {
			t.Errorf("step %d: %v, %v", i, o, err)
		}
	}
}

// TestKeyHeaderOfQuarantined: two webhooks that broke the same way are kept, both.
func TestKeyHeaderOfQuarantined(t *testing.T) {
	d := newDesk(t, keyedByHeader)
	for i, step := range []struct {
		id   string
		want Outcome
	}{{"id-1", Quarantined}, {"id-1", Duplicate}, {"id-2", Quarantined}, {"", Quarantined}, {"", Duplicate}} {
		if o, err := d.receiveBroken(d.withID("x", "{", step.id), NewFault(Malformed, nil)); o != step.want || err != nil {
			t.Errorf("step %d: %v, %v", i, o, err)
		}
	}
}

// TestUnusableKeyHeader: an id that is none leaves the key to the connector.
func TestUnusableKeyHeader(t *testing.T) {
	for _, tt := range []struct {
		id     string
		usable bool
	}{
		{"id-1", true},
		{strings.Repeat("x", maxName), true},
		{"", false},
		{strings.Repeat("x", maxName+1), false},
		{"a\tb", false},
		{"a\uFFFD", false},
	} {
		d := newDesk(t, keyedByHeader)
		delivery := d.withID("order", "{}", tt.id)
		if _, ok := DeliveryKey(d.connector, delivery.Headers, 0); ok != tt.usable {
			t.Errorf("%.20q is usable: %v", tt.id, ok)
		}
		d.translates(connectors.NaturalKey("1"), 1)
		for i, key := range []int{3, 2} { // natural, delivery's id, old revision
			if draft := d.source.Drafts(delivery)[0]; (i == 0) == tt.usable && len(draft.entry.Keys) != key {
				t.Errorf("%.20q: %d keys", tt.id, len(draft.entry.Keys))
			}
		}
	}
	// A connector without such a header does not look for one.
	d := newDesk(t)
	if _, ok := DeliveryKey(d.connector, d.withID("order", "{}", "id-1").Headers, 0); ok {
		t.Error("a header that is not configured was read as an id")
	}
}

// TestWindowOfSource: what the operator says counts, then the connector, then the default.
func TestWindowOfSource(t *testing.T) {
	for _, tt := range []struct{ source, connector, want time.Duration }{
		{0, 0, connectors.DefaultWindow},
		{0, time.Minute, time.Minute},
		{time.Hour, time.Minute, time.Hour},
		{time.Hour, 0, time.Hour},
	} {
		d := newDesk(t, func(c *source.Source) { c.Window, c.Connector.Window = tt.source, tt.connector })
		d.translates(connectors.ContentHash(), 1)
		d.accept(t, "order", "{}")
		if _, err := d.receiveBroken(d.delivery("order", "{"), NewFault(Malformed, nil)); err != nil {
			t.Fatal(err)
		}
		for _, e := range d.book.Entries {
			if e.Window != tt.want {
				t.Errorf("%v and %v: window %v, want %v", tt.source, tt.connector, e.Window, tt.want)
			}
		}
	}
}
