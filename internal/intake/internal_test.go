package intake

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// one returns the connector's answer with one event.
func one(e *eventv1.Event, also ...connectors.Key) func(connectors.Input) (connectors.Translation, error) {
	return func(connectors.Input) (connectors.Translation, error) {
		return connectors.Translation{Key: connectors.NaturalKey("o1", ""), Also: also, Events: []*eventv1.Event{e}}, nil
	}
}

// TestInternalErrors: a webhook that fails by an internal error is quarantined, also where the source rejects undecodable webhooks.
func TestInternalErrors(t *testing.T) {
	failing := func(string, []byte) (proto.Message, []vendorjson.Drift, error) {
		return nil, nil, errors.New("no call")
	}
	for name, tt := range map[string]struct {
		normalize func([]byte) []byte
		decoder   Decoder
		event     *eventv1.Event
		body      string
		reason    Reason
	}{
		"Normalize panics":             {normalize: func([]byte) []byte { panic("x") }, reason: Panicked},
		"Normalize panics at an array": {normalize: func([]byte) []byte { panic("x") }, body: `[{"status":"a"}]`, reason: Panicked},
		"Normalize shortens":           {normalize: func(b []byte) []byte { return b[1:] }, reason: BadEvents},
		"the decoder fails":            {decoder: failing, reason: BadEvents},
		"the decoder panics":           {decoder: func(string, []byte) (proto.Message, []vendorjson.Drift, error) { panic("x") }, reason: Panicked},
		"encoding fails":               {event: &eventv1.Event{Type: "a.\xff", Subject: "s"}, reason: BadEvents},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, func(s *source.Source) { s.Reject = true })
			d.connector.Batches, d.connector.Normalize = true, tt.normalize
			if tt.event == nil {
				tt.event = &eventv1.Event{Type: "order.changed", Subject: "order/1"}
			}
			d.connector.Translate = one(tt.event)
			if tt.decoder != nil {
				d.source.decoder = tt.decoder
			}
			if tt.body == "" {
				tt.body = `{"status":"a"}`
			}
			if err := d.Receive(t.Context(), d.delivery("order", tt.body)); err != nil {
				t.Fatal(err)
			}
			w := d.book.Entries[0].Webhook
			if w.GetQuarantine().GetReason() != string(tt.reason) || string(w.GetBody()) != tt.body {
				t.Errorf("stored %v", w)
			}
			if got := strings.Count(d.log.String(), "connector panicked"); (got == 1) != (tt.reason == Panicked) {
				t.Errorf("log: %s", d.log)
			}
		})
	}
}

// TestPanicsAreLoggedWithinReason: a connector that always panics does not flood the log.
func TestPanicsAreLoggedWithinReason(t *testing.T) {
	d := newDesk(t)
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) { panic(1) }
	for range 200 {
		d.accept(t, "order", `{"status":"`+strings.Repeat("x", len(d.book.Entries))+`"}`)
	}
	if got := strings.Count(d.log.String(), "connector panicked"); got == 0 || got > 100 || len(d.book.Entries) != 200 {
		t.Errorf("%d panics logged of %d", got, len(d.book.Entries))
	}
}

// TestDocumentOnce: also an array is normalized once.
func TestDocumentOnce(t *testing.T) {
	d, calls := newDesk(t), 0
	d.keyedByBody()
	d.connector.Normalize = func(b []byte) []byte {
		calls++
		return b
	}
	if err := d.batch(t, "a", "b"); err != nil || calls != 1 {
		t.Errorf("Normalize was called %d times; %v", calls, err)
	}
}

// TestAlsoAlone: where Key falls back to the body's hash, the further keys count all the same, and the first of them names the
// events.
func TestAlsoAlone(t *testing.T) {
	d := newDesk(t, keyedByHeader)
	d.connector.Translate = one(&eventv1.Event{Type: "order.changed", Subject: "order/1"}, connectors.OwnID("evt_1"))
	for i, id := range []string{"a", "b"} {
		o, err := d.receive(d.withID("order", `{"status":"x"}`, id))
		if want := []Outcome{Accepted, Duplicate}[i]; o != want || err != nil {
			t.Errorf("delivery %s: %v, %v", id, o, err)
		}
	}
	want := scope{"shop", "order"}.key(kindNatural, "5:evt_1", NaturalWindow)
	if got := d.book.Entries[0].Keys[0]; got != want {
		t.Errorf("first key %v, want %v", got, want)
	}
	id := d.book.Entries[0].Events[0].GetId()
	d.book.Forget()
	if _, err := d.receive(d.withID("order", `{"status":"x"}`, "c")); err != nil {
		t.Fatal(err)
	}
	if got := d.book.Entries[1].Events[0].GetId(); got != id {
		t.Errorf("received again after the window, its id is %s and not %s", got, id)
	}
}

// TestUnmappedIDs: the id of an unmapped event names what the event carries, not the bytes that it was made of.
func TestUnmappedIDs(t *testing.T) {
	d := newDesk(t, keyedByHeader)
	id := func() string {
		d.book.Forget()
		if _, err := d.receive(d.withID("strange", `{"a":1}`, "id1")); err != nil {
			t.Fatal(err)
		}
		return d.book.Entries[len(d.book.Entries)-1].Events[0].GetId()
	}
	before := id()
	if again := id(); again != before {
		t.Errorf("the same content has the ids %s and %s", before, again)
	}
	d.connector.Normalize = func(b []byte) []byte { return []byte(strings.Replace(string(b), "1", "2", 1)) }
	if after := id(); after == before {
		t.Errorf("%s names two contents", before)
	}
	if meaning := d.book.Entries[0].Meaning; meaning != [16]byte{} {
		t.Errorf("an unmapped webhook has the meaning %x", meaning)
	}
}

// TestPanicInDraft: also a panic after the reading is a fault. The journal never stores an array without an id.
func TestPanicInDraft(t *testing.T) {
	d := newDesk(t)
	d.keyedByBody()
	array := d.delivery("order", `[{"status":"a"}]`)
	array.Stored = &journalv1.Webhook{Id: "none", Quarantine: &journalv1.Quarantine{Reason: "x"}}
	if all := d.source.Drafts(array); len(all) != 1 || all[0].Fault == nil || all[0].Fault.Reason != Panicked {
		t.Errorf("%d drafts, %+v", len(all), all[0].Fault)
	}
}

// TestSharedEvent: a connector may return the same event for all webhooks. The race detector sees whether it is written.
func TestSharedEvent(t *testing.T) {
	d := newDesk(t)
	shared := &eventv1.Event{Id: "x", Source: "y", Type: "order.changed", Subject: "order/1"}
	d.connector.Translate = one(shared)
	done := make(chan error)
	for _, status := range []string{"a", "b"} {
		go func() { done <- d.Receive(t.Context(), d.delivery("order", `{"status":"`+status+`"}`)) }()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	if shared.GetId() != "x" || shared.GetSource() != "y" {
		t.Errorf("the connector's event was changed: %v", shared)
	}
	for _, e := range d.book.Entries {
		if got := e.Events[0]; got.GetId() == "x" || got.GetSource() != "shop" {
			t.Errorf("stored %v", got)
		}
	}
}
