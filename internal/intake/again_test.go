package intake

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
)

// shipping is an event that the desk's connector models.
const shipping = "shipping.ordered"

// modelled gives the desk's connector Retino's service, so that it has events.
func modelled(c *source.Source) {
	c.Connector.Service = retino.New().Service
	c.Connector.EventField = "event_type"
}

// held puts a webhook into quarantine, and returns it as it is stored.
func (d *desk) held(t *testing.T, delivery *Delivery) *journalv1.Webhook {
	t.Helper()
	o, err := d.Quarantine(t.Context(), delivery, NewFault(Malformed, errors.New("a test's")))
	if o != Quarantined || err != nil {
		t.Fatal(o, err)
	}
	return d.book.entries[len(d.book.entries)-1].Webhook
}

func (d *desk) release(t *testing.T, w *journalv1.Webhook, o ReleaseOptions) Released {
	t.Helper()
	r, err := d.Release(t.Context(), d.source, w, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func body(text string) string { return `{"event_type":"` + shipping + `",` + text + `}` }

func TestRelease(t *testing.T) {
	d := newDesk(t, modelled)
	w := d.held(t, d.delivery("", body(`"new":1`)))
	stored := proto.CloneOf(w)
	d.translates(connectors.NaturalKey("1"), 2)
	if r := d.release(t, w, ReleaseOptions{DryRun: true}); r.Outcome != Accepted || r.Events != 2 || len(d.book.entries) != 1 {
		t.Fatalf("dry run: %+v, %d entries", r, len(d.book.entries))
	}
	if r := d.release(t, w, ReleaseOptions{}); r.Outcome != Accepted || r.Events != 2 || r.Event != shipping {
		t.Fatalf("%+v", r)
	}
	if diff := cmp.Diff(stored, w, protocmp.Transform()); diff != "" {
		t.Errorf("the webhook it was given was changed:\n%s", diff)
	}
	entry := d.book.entries[1]
	if entry.Operation != journal.Release || entry.Webhook.GetReleasedAt() == nil {
		t.Errorf("act %v, released at %v", entry.Operation, entry.Webhook.GetReleasedAt())
	}
	want := proto.CloneOf(stored)
	want.VendorEvent = shipping
	want.ReleasedAt = entry.Webhook.GetReleasedAt()
	want.Drift = entry.Webhook.GetDrift()
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
	received := newDesk(t, modelled)
	received.translates(connectors.NaturalKey("1"), 1)
	received.accept(t, shipping, body(`"v":1`))
	want := received.book.entries[0].Events[0].GetId()

	d := newDesk(t, modelled)
	first, second := d.held(t, d.delivery(shipping, body(`"v":1`))), d.held(t, d.delivery(shipping, body(`"v":2`)))
	d.translates(connectors.NaturalKey("1"), 1)
	if r := d.release(t, first, ReleaseOptions{}); r.Outcome != Accepted {
		t.Fatal(r)
	}
	if got := d.book.entries[2].Events[0].GetId(); got != want {
		t.Errorf("the event is %s, and would have been %s at receipt", got, want)
	}
	if o := d.accept(t, shipping, body(`"v":1`)); o != Duplicate {
		t.Errorf("a redelivery after the release is %v", o)
	}
	// The same fact with another content is a revision, as at receipt.
	if r := d.release(t, second, ReleaseOptions{}); r.Outcome != Accepted {
		t.Fatal(r)
	}
	if n := d.value(t, "bridge_revisions_total"); n != 1 {
		t.Errorf("%v revisions", n)
	}
	if o := d.accept(t, shipping, body(`"v":2`)); o != Duplicate {
		t.Errorf("a redelivery of the revision is %v", o)
	}
}

// TestReleasedAfterRedelivery: what came in again meanwhile is not published twice.
func TestReleasedAfterRedelivery(t *testing.T) {
	d := newDesk(t, modelled)
	w := d.held(t, d.delivery(shipping, body(`"v":1`)))
	d.translates(connectors.NaturalKey("1"), 1)
	d.accept(t, shipping, body(`"v":1`))
	if r := d.release(t, w, ReleaseOptions{}); r.Outcome != Duplicate || r.Events != 0 || r.Fault != nil {
		t.Errorf("%+v", r)
	}
}

// TestReleasedContentHash: without a natural key, a webhook that was kept is a fact of its own. The same body a second ago
// does not swallow it, nor does it swallow the next.
func TestReleasedContentHash(t *testing.T) {
	d := newDesk(t, modelled)
	w := d.held(t, d.delivery(shipping, body(`"v":1`)))
	d.translates(connectors.ContentHash(), 1)
	if o := d.accept(t, shipping, body(`"v":1`)); o != Accepted {
		t.Fatal(o)
	}
	if r := d.release(t, w, ReleaseOptions{}); r.Outcome != Accepted {
		t.Errorf("%+v", r)
	}
	if r := d.release(t, w, ReleaseOptions{}); r.Outcome != Duplicate {
		t.Errorf("a second time: %+v", r)
	}
	if o := d.accept(t, shipping, body(`"v":2`)); o != Accepted {
		t.Errorf("another: %v", o)
	}
	ids := map[string]bool{}
	for _, e := range d.book.entries {
		for _, event := range e.Events {
			ids[event.GetId()] = true
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d ids of three facts", len(ids))
	}
}

// TestReleasedUnderHeaderKey: the vendor's own id of the webhook counts, as at receipt.
func TestReleasedUnderHeaderKey(t *testing.T) {
	d := newDesk(t, modelled)
	d.connector.KeyHeader = "X-Acme-Id"
	d.translates(connectors.ContentHash(), 1)
	headers := []*journalv1.Header{{Name: "x-acme-id", Value: "42"}}
	delivery := d.delivery(shipping, body(`"v":1`))
	delivery.Headers = headers
	if r := d.release(t, d.held(t, delivery), ReleaseOptions{}); r.Outcome != Accepted {
		t.Fatal(r)
	}
	again := d.delivery(shipping, body(`"v":1`))
	again.Headers = headers
	if o, err := d.Accept(t.Context(), again, &retinov1.ShippingOrdered{}, nil); o != Duplicate || err != nil {
		t.Errorf("a redelivery is %v, %v", o, err)
	}
}

// TestReleaseNames: which event a stored webhook is taken for.
func TestReleaseNames(t *testing.T) {
	for _, test := range []struct {
		name, path, header, stored, body, asked string

		event  string
		reason Reason
	}{
		{name: "body", body: body(`"v":1`), event: shipping},
		{name: "path", path: shipping, body: `{}`, event: shipping},
		{name: "header", header: shipping, body: `{}`, event: shipping},
		{name: "kept without the path", stored: shipping, body: `{}`, event: shipping},
		{name: "none", body: `{}`, reason: NoEvent},
		{name: "two", path: "other", body: body(`"v":1`), event: shipping, reason: EventMismatch},
		{name: "two, and asked", path: "other", body: body(`"v":1`), asked: shipping, event: shipping},
		{name: "none, and asked", body: `{}`, asked: shipping, event: shipping},
		{name: "asked for nothing known", body: `{}`, asked: "nonsense", event: "nonsense", reason: UnknownEvent},
		{name: "not modelled", body: `{"event_type":"x"}`, event: "x"},
		{name: "still broken", path: shipping, body: `{`, event: shipping, reason: Malformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, modelled)
			d.connector.EventHeader = "X-Event"
			d.translates(connectors.ContentHash(), 1)
			w := d.held(t, d.delivery(test.stored, test.body))
			w.PathEvent = test.path
			if test.header != "" {
				w.Headers = []*journalv1.Header{{Name: "x-event", Value: test.header}}
			}
			r := d.release(t, w, ReleaseOptions{Event: test.asked})
			var reason Reason
			if r.Fault != nil {
				reason = r.Fault.Reason
			}
			if r.Event != test.event || reason != test.reason || (r.Outcome == Accepted) != (test.reason == "") {
				t.Errorf("%+v (%v)", r, r.Fault)
			}
			if test.reason != "" && len(d.book.entries) != 1 {
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
		reason   Reason
	}{
		{journalv1.Encoding_ENCODING_FORM, "x=1&payload=" + `%7B%22event_type%22%3A%22shipping.ordered%22%7D`, ""},
		{journalv1.Encoding_ENCODING_FORM, "x=1", BadForm},
		{journalv1.Encoding_ENCODING_PROTOBUF, string(typed), ""},
		{journalv1.Encoding_ENCODING_PROTOBUF, "\xff", Shape},
		{journalv1.Encoding_ENCODING_RAW, "\x1f\x8b", Malformed}, // as it was quarantined
	} {
		d := newDesk(t, modelled)
		d.connector.FormField = "payload"
		d.translates(connectors.ContentHash(), 1)
		delivery := d.delivery(shipping, test.body)
		delivery.Encoding = test.encoding
		r := d.release(t, d.held(t, delivery), ReleaseOptions{})
		if test.reason == "" && (r.Outcome != Accepted || r.Event != shipping) || test.reason != "" && (r.Fault == nil || r.Fault.Reason != test.reason) {
			t.Errorf("%v %q: %+v %v", test.encoding, test.body, r, r.Fault)
		}
	}
}

// TestReleaseMended: the connector mends the text, also when it is taken out of quarantine. What is stored is what came.
func TestReleaseMended(t *testing.T) {
	d := newDesk(t, modelled)
	broken := body(`"v":1,`)
	w := d.held(t, d.delivery(shipping, broken))
	d.translates(connectors.ContentHash(), 1)
	if r := d.release(t, w, ReleaseOptions{}); r.Fault == nil || r.Fault.Reason != Malformed {
		t.Fatalf("%+v", r)
	}
	for name, mend := range map[string]func([]byte) []byte{
		"panics":  func([]byte) []byte { panic("mend") },
		"shorter": func([]byte) []byte { return []byte("{}") },
	} {
		d.connector.Normalize = mend
		if r := d.release(t, w, ReleaseOptions{}); r.Fault == nil || r.Fault.Reason != Malformed {
			t.Errorf("%s: %+v", name, r)
		}
	}
	d.connector.Normalize = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(",}"), []byte(" }")) }
	if r := d.release(t, w, ReleaseOptions{}); r.Outcome != Accepted {
		t.Fatalf("%+v", r)
	}
	if got := string(d.book.entries[1].Webhook.GetBody()); got != broken {
		t.Errorf("stored is %q", got)
	}
}

// TestReleaseFaults: a connector's panic is a fault, and what the journal says is told.
func TestReleaseFaults(t *testing.T) {
	d := newDesk(t, modelled)
	w := d.held(t, d.delivery(shipping, body(`"v":1`)))
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) { panic("secret") }
	if r := d.release(t, w, ReleaseOptions{}); r.Fault == nil || r.Fault.Reason != Panicked {
		t.Fatalf("%+v", r)
	}
	d.translates(connectors.ContentHash(), 1)
	for _, failure := range []struct{ cause, want error }{
		{journal.ErrNotFound, journal.ErrNotFound},
		{journal.ErrUnavailable, ErrUnavailable},
		{context.DeadlineExceeded, ErrUnavailable},
	} {
		d.book.err = failure.cause
		if _, err := d.Release(t.Context(), d.source, w, ReleaseOptions{}); !errors.Is(err, failure.want) {
			t.Errorf("%v: %v", failure.cause, err)
		}
	}
	if n := d.value(t, "bridge_released_total"); n != 0 {
		t.Errorf("released %v", n)
	}
}

// published takes in a webhook and returns it with its events, as they are stored.
func (d *desk) published(t *testing.T, key connectors.Key, n int) (*journalv1.Webhook, []*eventv1.Event) {
	t.Helper()
	d.translates(key, n)
	d.accept(t, shipping, body(`"v":1`))
	entry := d.book.entries[len(d.book.entries)-1]
	return entry.Webhook, entry.Events
}

// makes has the connector make these subjects under a key.
func (d *desk) makes(key connectors.Key, subjects ...string) {
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) {
		t := connectors.Translation{Key: key}
		for _, s := range subjects {
			t.Events = append(t.Events, &eventv1.Event{Type: "order.changed", Subject: s})
		}
		return t, nil
	}
}

func (d *desk) retranslate(t *testing.T, w *journalv1.Webhook, published []*eventv1.Event, dryRun bool) Retranslated {
	t.Helper()
	r, err := d.Retranslate(t.Context(), d.source, w, published, dryRun)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRetranslate: what differs is corrected, once.
func TestRetranslate(t *testing.T) {
	d := newDesk(t, modelled)
	key := connectors.NaturalKey("1")
	w, published := d.published(t, key, 3)
	if r := d.retranslate(t, w, published, false); len(r.Changes) != 0 || len(d.book.entries) != 1 {
		t.Fatalf("nothing changed, but %+v", r)
	}
	d.makes(key, "order/0", "order/one", "order/2")
	if r := d.retranslate(t, w, published, true); len(r.Changes) != 1 || len(d.book.entries) != 1 {
		t.Fatalf("dry run: %+v", r)
	}
	r := d.retranslate(t, w, published, false)
	if len(r.Changes) != 1 || r.Changes[0].Index != 1 {
		t.Fatalf("%+v", r)
	}
	entry := d.book.entries[1]
	if entry.Operation != journal.Correct || !cmp.Equal(entry.Indexes, []uint32{1}) || entry.Window != NaturalWindow {
		t.Errorf("%+v", entry)
	}
	got := entry.Events[0]
	want := &eventv1.Event{
		Id: got.GetId(), Type: "order.changed", Subject: "order/one", Source: "shop", Connector: "acme", VendorEvent: shipping,
		ReceivedAt: w.GetReceivedAt(), WebhookId: w.GetId(), Supersedes: published[1].GetId(),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("correction (-want +got):\n%s", diff)
	}
	// Who did not see the correction finds the same one, which is there.
	if r := d.retranslate(t, w, published, false); r.Changes[0].Made.GetId() != got.GetId() || len(d.book.entries) != 2 {
		t.Errorf("a second time: %+v, %d entries", r, len(d.book.entries))
	}
	// Who saw it finds nothing.
	current := []*eventv1.Event{published[0], got, published[2]}
	if r := d.retranslate(t, w, current, false); len(r.Changes) != 0 {
		t.Errorf("corrected, but %+v", r)
	}
	// And back: another correction, of the correction.
	d.makes(key, "order/0", "order/1", "order/2")
	r = d.retranslate(t, w, current, false)
	if len(r.Changes) != 1 || r.Changes[0].Made.GetSupersedes() != got.GetId() || len(d.book.entries) != 3 {
		t.Errorf("changed back: %+v", r)
	}
	if id := r.Changes[0].Made.GetId(); id == published[1].GetId() || id == got.GetId() {
		t.Error("the third event has the id of an earlier one")
	}
}

// TestRetranslateMoreAndLess: an event not made before is published under the id that it would have had; one not made any
// more is reported, and nothing else.
func TestRetranslateMoreAndLess(t *testing.T) {
	for name, key := range map[string]connectors.Key{"natural": connectors.NaturalKey("1"), "hash": connectors.ContentHash()} {
		t.Run(name, func(t *testing.T) {
			whole := newDesk(t, modelled)
			_, want := whole.published(t, key, 2)

			d := newDesk(t, modelled)
			w, published := d.published(t, key, 1)
			d.translates(key, 2)
			r := d.retranslate(t, w, published, false)
			if len(r.Changes) != 1 || r.Changes[0].Published != nil || r.Changes[0].Made.GetSupersedes() != "" {
				t.Fatalf("%+v", r)
			}
			got := r.Changes[0].Made.GetId()
			if name == "natural" && got != want[1].GetId() {
				t.Errorf("the event is %s, and would have been %s at receipt", got, want[1].GetId())
			}
			if got == "" || got == published[0].GetId() {
				t.Errorf("the event's id is %q", got)
			}
			if again := d.retranslate(t, w, published, false); again.Changes[0].Made.GetId() != got || len(d.book.entries) != 2 {
				t.Error("it was published twice")
			}

			d.translates(key, 1)
			r = d.retranslate(t, w, []*eventv1.Event{published[0], r.Changes[0].Made}, false)
			if len(r.Changes) != 1 || r.Changes[0].Made != nil || r.Changes[0].Published.GetId() != got || len(d.book.entries) != 2 {
				t.Errorf("an event no longer made: %+v", r)
			}
		})
	}
}

// TestRetranslateRevision: an event more of a revision has no id of the fact that it revises.
func TestRetranslateRevision(t *testing.T) {
	d := newDesk(t, modelled)
	key := connectors.NaturalKey("1")
	d.translates(key, 2)
	d.accept(t, shipping, body(`"v":1`))
	d.translates(key, 1)
	d.accept(t, shipping, body(`"v":2`))
	first, revision := d.book.entries[0], d.book.entries[1]
	d.translates(key, 2)
	r := d.retranslate(t, revision.Webhook, revision.Events, false)
	if len(r.Changes) != 1 || r.Changes[0].Made.GetId() == first.Events[1].GetId() {
		t.Errorf("%+v", r)
	}
}

// TestRetranslateFaults: what cannot be translated today stays as it is.
func TestRetranslateFaults(t *testing.T) {
	d := newDesk(t, modelled)
	w, published := d.published(t, connectors.NaturalKey("1"), 1)
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, connectors.Errorf("$.id", "is missing")
	}
	if r := d.retranslate(t, w, published, false); r.Fault == nil || r.Fault.Path != "$.id" || len(d.book.entries) != 1 {
		t.Errorf("%+v", r)
	}
	d.makes(connectors.NaturalKey("1"), "order/x")
	d.book.err = journal.ErrUnavailable
	if _, err := d.Retranslate(t.Context(), d.source, w, published, false); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	d.book.err = journal.ErrNotFound
	if _, err := d.Retranslate(t.Context(), d.source, w, published, false); !errors.Is(err, journal.ErrNotFound) {
		t.Error(err)
	}
}

// TestRetranslateUnmapped: an event that somebody has modelled since becomes a correction of the unmapped one.
func TestRetranslateUnmapped(t *testing.T) {
	d := newDesk(t)
	d.translates(connectors.ContentHash(), 1)
	if o, err := d.Unmapped(t.Context(), d.delivery(shipping, body(`"v":1`))); o != Accepted || err != nil {
		t.Fatal(o, err)
	}
	entry := d.book.entries[0]
	modelled(&d.source.Source)
	r := d.retranslate(t, entry.Webhook, entry.Events, false)
	if len(r.Changes) != 1 || r.Changes[0].Made.GetType() != "order.changed" || r.Changes[0].Made.GetSupersedes() != entry.Events[0].GetId() {
		t.Errorf("%+v", r)
	}
	if d.book.entries[1].Events[0].GetReceivedAt().AsTime() != d.received.Truncate(time.Nanosecond) {
		t.Error("the correction has another time of receipt")
	}
}
