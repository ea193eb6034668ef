package repair

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// published receives a webhook and returns it with its events, as they are stored.
func (d *desk) published(t *testing.T, key connectors.Key, n int) (*journalv1.Webhook, []*eventv1.Event) {
	t.Helper()
	d.translates(key, n)
	d.accept(t, body(`"v":1`))
	return d.last().Webhook, d.last().Events
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

// TestRetranslate: what differs is corrected, once.
func TestRetranslate(t *testing.T) {
	d := newDesk(t)
	key := connectors.NaturalKey("1")
	w, published := d.published(t, key, 3)
	if r := d.retranslate(t, w, false); len(r.Changes) != 0 || len(d.book.Entries) != 1 {
		t.Fatalf("nothing changed, but %+v", r)
	}
	d.makes(key, "order/0", "order/one", "order/2")
	dry := d.retranslate(t, w, true)
	if len(dry.Changes) != 1 || len(d.book.Entries) != 1 {
		t.Fatalf("dry run: %+v", dry)
	}
	r := d.retranslate(t, w, false)
	if len(r.Changes) != 1 || r.Changes[0].Index != 1 {
		t.Fatalf("%+v", r)
	}
	entry := d.book.Entries[1]
	if entry.Operation != journal.Correct || !cmp.Equal(entry.Indexes, []uint32{1}) || entry.Window != intake.NaturalWindow {
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
	if diff := cmp.Diff(got, r.Changes[0].Made, protocmp.Transform()); diff != "" {
		t.Errorf("told of the correction (-published +told):\n%s", diff)
	}
	if dry.Changes[0].Made.GetId() != got.GetId() {
		t.Errorf("the dry run said %s", dry.Changes[0].Made.GetId())
	}
	if r := d.retranslate(t, w, false); len(r.Changes) != 0 || len(d.book.Entries) != 2 {
		t.Errorf("corrected, but %+v", r)
	}
	// And back: another correction, of the correction.
	d.makes(key, "order/0", "order/1", "order/2")
	r = d.retranslate(t, w, false)
	if len(r.Changes) != 1 || r.Changes[0].Made.GetSupersedes() != got.GetId() || len(d.book.Entries) != 3 {
		t.Errorf("changed back: %+v", r)
	}
	if id := r.Changes[0].Made.GetId(); id == published[1].GetId() || id == got.GetId() {
		t.Error("the third event has the id of an earlier one")
	}
}

// TestCorrectionsMeet: two who find the same correction at the same time publish it once.
func TestCorrectionsMeet(t *testing.T) {
	d := newDesk(t)
	w, published := d.published(t, connectors.NaturalKey("1"), 1)
	for range 2 {
		made := &eventv1.Event{Type: "order.changed", Subject: "order/x"}
		draft := d.source.Correct(w, []intake.Correction{
			{Event: made, Supersedes: published[0].GetId()}, {Index: 1, Event: &eventv1.Event{Type: "a", Subject: "b"}},
		})
		if err := d.intake.Commit(t.Context(), draft); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.book.Entries) != 2 || len(d.last().Events) != 2 {
		t.Errorf("%d entries", len(d.book.Entries))
	}
}

// TestRetranslateMoreAndLess: an event not made before is published under an id of its own; one not made any more is
// reported, and nothing else.
func TestRetranslateMoreAndLess(t *testing.T) {
	for name, key := range map[string]connectors.Key{"natural": connectors.NaturalKey("1"), "hash": connectors.ContentHash()} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			w, published := d.published(t, key, 1)
			d.translates(key, 2)
			r := d.retranslate(t, w, false)
			if len(r.Changes) != 1 || r.Changes[0].Published != nil || r.Changes[0].Made.GetSupersedes() != "" {
				t.Fatalf("%+v", r)
			}
			got := r.Changes[0].Made.GetId()
			if got == "" || got == published[0].GetId() || got != d.last().Events[0].GetId() {
				t.Errorf("the event's id is %q", got)
			}
			if again := d.retranslate(t, w, false); len(again.Changes) != 0 || len(d.book.Entries) != 2 {
				t.Error("it was published twice")
			}

			d.translates(key, 1)
			r = d.retranslate(t, w, false)
			if len(r.Changes) != 1 || r.Changes[0].Made != nil || r.Changes[0].Published.GetId() != got || len(d.book.Entries) != 2 {
				t.Errorf("an event no longer made: %+v", r)
			}
		})
	}
}

// TestKeptDuplicates: a webhook that was kept as a duplicate made no events and gets none.
func TestKeptDuplicates(t *testing.T) {
	d := newDesk(t)
	d.published(t, connectors.NaturalKey("1"), 1)
	if o := d.accept(t, body(`"v": 1`)); o != intake.Duplicate || !d.last().Webhook.GetDuplicate() || len(d.book.Entries) != 2 {
		t.Fatalf("white space: %v, %d entries", o, len(d.book.Entries))
	}
	if kept := d.last().Webhook; Retranslates(kept) || !Retranslates(d.book.Entries[0].Webhook) {
		t.Errorf("%v has events to correct", kept)
	}
}

// TestRetranslateFaults: what cannot be translated today stays as it is.
func TestRetranslateFaults(t *testing.T) {
	d := newDesk(t)
	w, _ := d.published(t, connectors.NaturalKey("1"), 1)
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{}, connectors.Errorf("$.id", "is missing")
	}
	if r := d.retranslate(t, w, false); r.Fault == nil || r.Fault.Path != "$.id" || len(d.book.Entries) != 1 {
		t.Errorf("%+v", r)
	}
	d.makes(connectors.NaturalKey("1"), "order/x")
	for _, err := range []struct{ cause, want error }{
		{journal.ErrUnavailable, intake.ErrUnavailable}, {journal.ErrNotFound, journal.ErrNotFound},
	} {
		d.book.Err = err.cause
		if _, got := d.Retranslate(t.Context(), d.source, w, false); !errors.Is(got, err.want) {
			t.Error(got)
		}
	}
}

// TestRetranslateUnmapped: an event that somebody has modelled since becomes a correction of the unmapped one.
func TestRetranslateUnmapped(t *testing.T) {
	d := newDesk(t)
	modelled := d.source
	unmodelled := *d.connector
	unmodelled.Service = kasafik.New().Service
	d.source = d.sourceOf(&unmodelled)
	if o := d.accept(t, body(`"v":1`)); o != intake.Accepted {
		t.Fatal(o)
	}
	entry := d.last()
	d.source = modelled
	d.translates(connectors.ContentHash(), 1)
	r := d.retranslate(t, entry.Webhook, false)
	if len(r.Changes) != 1 || r.Changes[0].Made.GetType() != "order.changed" || r.Changes[0].Made.GetSupersedes() != entry.Events[0].GetId() {
		t.Errorf("%+v", r)
	}
	if d.last().Events[0].GetReceivedAt().AsTime() != d.received.Truncate(time.Nanosecond) {
		t.Error("the correction has another time of receipt")
	}
}
