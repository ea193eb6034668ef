package repair

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
)

func TestRelease(t *testing.T) {
	d := newDesk(t)
	w := d.held(t, d.delivery("", body(`"new":1`)))
	stored := proto.CloneOf(w)
	d.translates(connectors.NaturalKey("1"), 2)
	if r := d.retry(t, w, Options{DryRun: true}); r.Outcome != intake.Accepted || r.Events != 2 || len(d.book.Entries) != 1 {
		t.Fatalf("dry run: %+v, %d entries", r, len(d.book.Entries))
	}
	if r := d.retry(t, w, Options{}); r.Outcome != intake.Accepted || r.Events != 2 || r.Event != shipping {
		t.Fatalf("%+v", r)
	}
	if diff := cmp.Diff(stored, w, protocmp.Transform()); diff != "" {
		t.Errorf("the webhook it was given was changed:\n%s", diff)
	}
	entry := d.book.Entries[1]
	if entry.Operation != journal.Release || entry.Webhook.GetReleasedAt() == nil {
		t.Errorf("act %v, released at %v", entry.Operation, entry.Webhook.GetReleasedAt())
	}
	want := proto.CloneOf(stored)
	want.VendorEvent = shipping
	want.ReleasedAt = entry.Webhook.GetReleasedAt()
	want.Drift = entry.Webhook.GetDrift()
	want.EventCount, want.FirstPosition = 2, 1
	if diff := cmp.Diff(want, entry.Webhook, protocmp.Transform()); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
	unknown := &journalv1.Drift{Kind: journalv1.DriftKind_DRIFT_KIND_UNKNOWN, Path: "$.new", Sample: []byte("0")}
	if !slices.ContainsFunc(want.GetDrift(), func(d *journalv1.Drift) bool { return proto.Equal(d, unknown) }) {
		t.Errorf("today's drift is not stored: %v", want.GetDrift())
	}
	for _, e := range entry.Events {
		if e.GetWebhookId() != stored.GetId() || !proto.Equal(e.GetReceivedAt(), stored.GetReceivedAt()) || e.GetVendorEvent() != shipping {
			t.Errorf("event %v is not the webhook's", e)
		}
	}
	if n := d.value(t, "bridge_released_total"); n != 1 {
		t.Errorf("released %v", n)
	}
}

// TestReleasedNaturalKey: a fact with a natural key is published once, however often and whenever it comes, with the ids
// that it would have had.
func TestReleasedNaturalKey(t *testing.T) {
	received := newDesk(t)
	received.translates(connectors.NaturalKey("1"), 1)
	received.accept(t, version("1"))
	want := received.book.Entries[0].Events[0].GetId()

	d := newDesk(t)
	first, second := d.held(t, d.delivery(shipping, version("1"))), d.held(t, d.delivery(shipping, version("2")))
	d.translates(connectors.NaturalKey("1"), 1)
	if r := d.retry(t, first, Options{}); r.Outcome != intake.Accepted {
		t.Fatal(r)
	}
	if got := d.book.Entries[2].Events[0].GetId(); got != want {
		t.Errorf("the event is %s, and would have been %s at receipt", got, want)
	}
	if o := d.accept(t, version("1")); o != intake.Duplicate {
		t.Errorf("a redelivery after the release is %v", o)
	}
	// The same fact with another content is a revision, as at receipt.
	if r := d.retry(t, second, Options{}); r.Outcome != intake.Accepted {
		t.Fatal(r)
	}
	if n := d.value(t, "bridge_revisions_total"); n != 1 {
		t.Errorf("%v revisions", n)
	}
	if o := d.accept(t, version("2")); o != intake.Duplicate {
		t.Errorf("a redelivery of the revision is %v", o)
	}
}

// TestRetriedAfterAnother: a quarantined webhook that is retried after another of its key was published has an id of its own,
// also when the key's window has passed.
func TestRetriedAfterAnother(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		d := newDesk(t)
		w := d.held(t, d.delivery(shipping, version("1")))
		d.translates(connectors.NaturalKey("1"), 1)
		d.accept(t, version("2"))
		published := d.last().Events[0]
		if forgotten {
			d.book.Forget()
		}
		if r := d.retry(t, w, Options{}); r.Outcome != intake.Accepted || r.Events != 1 {
			t.Fatalf("%+v", r)
		}
		if got := d.last().Events[0]; got.GetId() == published.GetId() || proto.Equal(intake.Canonical(got), intake.Canonical(published)) {
			t.Errorf("%v has the id of %v", got, published)
		}
	}
}

// TestReleasedAfterRedelivery: what came in again meanwhile is not published twice.
func TestReleasedAfterRedelivery(t *testing.T) {
	d := newDesk(t)
	w := d.held(t, d.delivery(shipping, version("1")))
	d.translates(connectors.NaturalKey("1"), 1)
	d.accept(t, version("1"))
	if r := d.retry(t, w, Options{}); r.Outcome != intake.Duplicate || r.Events != 0 || r.Fault != nil {
		t.Errorf("%+v", r)
	}
}

// TestReleasedContentHash: without a natural key, a webhook that was kept is a fact of its own. The same body a second ago
// does not swallow it, nor does it swallow the next.
func TestReleasedContentHash(t *testing.T) {
	d := newDesk(t)
	w := d.held(t, d.delivery(shipping, version("1")))
	d.translates(connectors.ContentHash(), 1)
	if o := d.accept(t, version("1")); o != intake.Accepted {
		t.Fatal(o)
	}
	if r := d.retry(t, w, Options{}); r.Outcome != intake.Accepted {
		t.Errorf("%+v", r)
	}
	if r := d.retry(t, w, Options{}); r.Outcome != intake.Duplicate {
		t.Errorf("a second time: %+v", r)
	}
	if o := d.accept(t, version("2")); o != intake.Accepted {
		t.Errorf("another: %v", o)
	}
	ids := map[string]bool{}
	for _, e := range d.book.Entries {
		for _, event := range e.Events {
			ids[event.GetId()] = true
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d ids of three facts", len(ids))
	}
}

// TestReleasedUnderHeaderKey: the vendor's own id of the webhook counts, as at receipt.
func TestReleasedUnderDeliveryKey(t *testing.T) {
	d := newDesk(t)
	d.connector.KeyHeader = "X-Acme-Id"
	d.translates(connectors.ContentHash(), 1)
	headers := []*journalv1.Header{{Name: "x-acme-id", Value: "42"}}
	delivery := d.delivery(shipping, version("1"))
	delivery.Headers = headers
	if r := d.retry(t, d.held(t, delivery), Options{}); r.Outcome != intake.Accepted {
		t.Fatal(r)
	}
	again := d.delivery(shipping, version("1"))
	again.Headers = headers
	if o, err := d.receive(again); o != intake.Duplicate || err != nil {
		t.Errorf("a redelivery is %v, %v", o, err)
	}
}

// TestReleaseNames: which event a stored webhook is taken for.
func TestReleaseNames(t *testing.T) {
	for _, test := range []struct {
		name, path, header, stored, body, asked string

		event  string
		reason intake.Reason
	}{
		{name: "body", body: version("1"), event: shipping},
		{name: "path", path: shipping, body: `{"v":1}`, event: shipping},
		{name: "header", header: shipping, body: `{"v":1}`, event: shipping},
		{name: "kept without the path", stored: shipping, body: `{"v":1}`, event: shipping},
		{name: "none", body: `{"v":1}`, reason: intake.NoEvent},
		{name: "two", path: "other", body: version("1"), event: shipping, reason: intake.EventMismatch},
		{name: "two, and asked", path: "other", body: version("1"), asked: shipping, event: shipping},
		{name: "none, and asked", body: `{"v":1}`, asked: shipping, event: shipping},
		{name: "asked for nothing known", body: `{"v":1}`, asked: "nonsense", event: "nonsense", reason: intake.UnknownEvent},
		{name: "not modelled", body: `{"event_type":"x"}`, event: "x"},
		{name: "still broken", path: shipping, body: `{`, event: shipping, reason: intake.Malformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			d.connector.EventHeader = "X-Event"
			d.translates(connectors.ContentHash(), 1)
			w := d.held(t, d.delivery(test.stored, test.body))
			w.PathEvent = test.path
			if test.header != "" {
				w.Headers = []*journalv1.Header{{Name: "x-event", Value: test.header}}
			}
			r := d.retry(t, w, Options{Event: test.asked})
			var reason intake.Reason
			if r.Fault != nil {
				reason = r.Fault.Reason
			}
			if r.Event != test.event || reason != test.reason || (r.Outcome == intake.Accepted) != (test.reason == "") {
				t.Errorf("%+v (%v)", r, r.Fault)
			}
			if test.reason != "" && len(d.book.Entries) != 1 {
				t.Error("something was stored")
			}
		})
	}
}

// TestReleaseEncodings: what a body is says how it is read.
func TestReleaseEncodings(t *testing.T) {
	typed, err := proto.Marshal(&retinov1.ShippingOrdered{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		encoding journalv1.Encoding
		body     string
		reason   intake.Reason
	}{
		{journalv1.Encoding_ENCODING_FORM, "x=1&payload=" + `%7B%22event_type%22%3A%22shipping.ordered%22%7D`, ""},
		{journalv1.Encoding_ENCODING_FORM, "x=1", intake.BadForm},
		{journalv1.Encoding_ENCODING_PROTOBUF, string(typed), ""},
		{journalv1.Encoding_ENCODING_PROTOBUF, "\xff", intake.Shape},
		{journalv1.Encoding_ENCODING_RAW, "\x1f\x8b", intake.Malformed}, // as it was quarantined
	} {
		d := newDesk(t)
		d.connector.FormField = "payload"
		d.translates(connectors.ContentHash(), 1)
		delivery := d.delivery(shipping, test.body)
		delivery.Encoding = test.encoding
		r := d.retry(t, d.held(t, delivery), Options{})
		if test.reason == "" && (r.Outcome != intake.Accepted || r.Event != shipping) || test.reason != "" && (r.Fault == nil || r.Fault.Reason != test.reason) {
			t.Errorf("%v %q: %+v %v", test.encoding, test.body, r, r.Fault)
		}
	}
}

// TestReleaseNormalized: the connector normalizes the text, also when it is released from quarantine. What was received is
// stored.
func TestReleaseNormalized(t *testing.T) {
	d := newDesk(t)
	broken := body(`"v":1,`)
	w := d.held(t, d.delivery(shipping, broken))
	d.translates(connectors.ContentHash(), 1)
	if r := d.retry(t, w, Options{}); r.Fault == nil || r.Fault.Reason != intake.Malformed {
		t.Fatalf("%+v", r)
	}
	for reason, normalize := range map[intake.Reason]func([]byte) []byte{
		intake.Panicked:  func([]byte) []byte { panic("normalize") },
		intake.BadEvents: func([]byte) []byte { return []byte("{}") },
	} {
		d.connector.Normalize = normalize
		if r := d.retry(t, w, Options{}); r.Fault == nil || r.Fault.Reason != reason || r.Event != shipping {
			t.Errorf("%s: %+v", reason, r)
		}
	}
	if got := strings.Count(d.log.String(), "connector panicked"); got != 1 {
		t.Errorf("%d panics in the log: %s", got, d.log)
	}
	d.connector.Normalize = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(",}"), []byte(" }")) }
	if r := d.retry(t, w, Options{}); r.Outcome != intake.Accepted {
		t.Fatalf("%+v", r)
	}
	if got := string(d.book.Entries[1].Webhook.GetBody()); got != broken {
		t.Errorf("stored is %q", got)
	}
}

// TestReleaseFaults: a connector's panic is a fault, and what the journal says is told.
func TestReleaseFaults(t *testing.T) {
	d := newDesk(t)
	w := d.held(t, d.delivery(shipping, version("1")))
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) { panic("secret") }
	if r := d.retry(t, w, Options{}); r.Fault == nil || r.Fault.Reason != intake.Panicked {
		t.Fatalf("%+v", r)
	}
	d.translates(connectors.ContentHash(), 1)
	for _, failure := range []struct{ cause, want error }{
		{journal.ErrNotFound, journal.ErrNotFound},
		{journal.ErrUnavailable, intake.ErrUnavailable},
		{context.DeadlineExceeded, intake.ErrUnavailable},
	} {
		d.book.Err = failure.cause
		if _, err := d.Retry(t.Context(), d.source, w, Options{}); !errors.Is(err, failure.want) {
			t.Errorf("%v: %v", failure.cause, err)
		}
	}
	if n := d.value(t, "bridge_released_total"); n != 0 {
		t.Errorf("released %v", n)
	}
}
