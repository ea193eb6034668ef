package intake

import (
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
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

// TestKeyHeader: the vendor's own id of a webhook tells it from others, whatever the connector says.
func TestKeyHeader(t *testing.T) {
	for name, key := range map[string]connectors.Key{"natural": connectors.NaturalKey("order-1"), "hash": connectors.ContentHash()} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, keyedByHeader)
			d.translates(key, 1)
			for i, step := range []struct {
				event, body, id string
				want            Outcome
			}{
				{"order", `{"v":1}`, "id-1", Accepted},
				{"order", `{"v":1}`, "id-1", Duplicate},
				{"order", `{"v":1}`, "id-2", Accepted}, // the same body, another fact
				{"order", `{"v":2}`, "id-2", Accepted}, // a revision
				{"order", `{"v":2}`, "id-2", Duplicate},
				{"refund", `{"v":1}`, "id-1", Accepted},
			} {
				o, err := d.Accept(t.Context(), d.withID(step.event, step.body, step.id), &retinov1.Receipt{}, nil)
				if o != step.want || err != nil {
					t.Errorf("step %d: %v, %v; want %v", i, o, err, step.want)
				}
			}
			ids := map[string]bool{}
			for _, e := range d.book.entries {
				if ids[e.Events[0].GetId()] = true; e.Window != NaturalWindow {
					t.Errorf("window %v", e.Window)
				}
			}
			if len(ids) != len(d.book.entries) {
				t.Errorf("%d ids of %d facts", len(ids), len(d.book.entries))
			}
			if got := d.value(t, "bridge_revisions_total"); got != 1 {
				t.Errorf("bridge_revisions_total = %v", got)
			}
		})
	}
}

// TestKeyHeaderOfUnmapped: also where nobody modelled the event, and before what its envelope says.
func TestKeyHeaderOfUnmapped(t *testing.T) {
	d := newDesk(t, keyedByHeader)
	for i, step := range []struct {
		id   string
		want Outcome
	}{{"id-1", Accepted}, {"id-1", Duplicate}, {"id-2", Accepted}} {
		if o, err := d.Unmapped(t.Context(), d.withID("x", "{}", step.id)); o != step.want || err != nil {
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
		if o, err := d.Quarantine(t.Context(), d.withID("x", "{", step.id), NewFault(Malformed, nil)); o != step.want || err != nil {
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
		if _, ok := headerKey(delivery); ok != tt.usable {
			t.Errorf("%.20q is usable: %v", tt.id, ok)
		}
		id, without := identify(delivery, connectors.NaturalKey("1")), identify(d.delivery("order", "{}"), connectors.NaturalKey("1"))
		if same := id.key == without.key; same == tt.usable {
			t.Errorf("%.20q: the connector's key counts: %v", tt.id, same)
		}
	}
	// A connector without such a header does not look for one.
	d := newDesk(t)
	if _, ok := headerKey(d.withID("order", "{}", "id-1")); ok {
		t.Error("a header that nobody named was taken for an id")
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
		if _, err := d.Quarantine(t.Context(), d.delivery("order", "{"), NewFault(Malformed, nil)); err != nil {
			t.Fatal(err)
		}
		for _, e := range d.book.entries {
			if e.Window != tt.want {
				t.Errorf("%v and %v: window %v, want %v", tt.source, tt.connector, e.Window, tt.want)
			}
		}
	}
}
