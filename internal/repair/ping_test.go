package repair

import (
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
)

// TestReleasePings: a webhook that was quarantined, and that is a ping today, leaves the quarantine without events, also if it is
// read as an event. A dry run changes nothing.
func TestReleasePings(t *testing.T) {
	for _, test := range []struct {
		body     string
		encoding journalv1.Encoding
		asked    string
		ping     string
	}{
		{"", journalv1.Encoding_ENCODING_JSON, "", "empty"},
		{"{}", journalv1.Encoding_ENCODING_JSON, shipping, "empty"},
		{"webhook_id=1", journalv1.Encoding_ENCODING_FORM, "", "form"},
		{`{"event_type":"ping"}`, journalv1.Encoding_ENCODING_JSON, "", "test"},
		{"", journalv1.Encoding_ENCODING_RAW, "", "empty"},
	} {
		d := newDesk(t)
		d.connector.FormField = "payload"
		d.translates(connectors.ContentHash(), 1)
		delivery := d.delivery("", test.body)
		delivery.Encoding = test.encoding
		held := d.held(t, delivery)
		if r := d.retry(t, held, Options{DryRun: true}); r.Outcome != intake.Ping || len(d.book.Entries) != 1 {
			t.Errorf("%q, dry run: %+v", test.body, r)
		}
		r := d.retry(t, held, Options{Event: test.asked})
		released := d.last()
		if r.Outcome != intake.Ping || r.Events != 0 || r.Fault != nil || len(released.Events) != 0 {
			t.Errorf("%q: %+v", test.body, r)
		}
		if w := released.Webhook; w.GetPing() != test.ping || w.GetReleasedAt() == nil || string(w.GetBody()) != test.body {
			t.Errorf("%q: stored %v", test.body, w)
		}
		if got := d.value(t, "bridge_pings_total"); got != 1 {
			t.Errorf("%q: %v pings are counted", test.body, got)
		}
	}
}

// TestRetranslatePing: what was published of a webhook that is a ping today stays.
func TestRetranslatePing(t *testing.T) {
	d := newDesk(t)
	d.connector.NoPings = true
	d.translates(connectors.ContentHash(), 1)
	if o := d.accept(t, "{}"); o != intake.Accepted {
		t.Fatal(o)
	}
	d.connector.NoPings = false
	r := d.retranslate(t, d.last().Webhook, false)
	if r.Fault != nil || len(r.Changes) != 1 || r.Changes[0].Made != nil || len(d.book.Entries) != 1 {
		t.Errorf("%+v", r)
	}
}
