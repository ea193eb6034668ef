package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// keyedByBody makes the connector's natural key what stands before the first semicolon of a webhook's only string.
func (d *desk) keyedByBody() {
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		text := in.Message.(*retinov1.Receipt).GetStatus()
		key, _, _ := strings.Cut(text, ";")
		if key == "bad" {
			return connectors.Translation{}, connectors.Errorf("$.status", "is bad")
		}
		t := connectors.Translation{Key: connectors.NaturalKey(key)}
		if key == "thin" {
			t.Key = connectors.ContentHash()
		}
		t.Events = append(t.Events, &eventv1.Event{Type: "order.changed", Subject: "order/" + key})
		return t, nil
	}
}

// batch hands webhooks to the desk, to be committed at once.
func (d *desk) batch(t *testing.T, texts ...string) error {
	t.Helper()
	var b Batch
	for i, text := range texts {
		delivery := d.delivery("order", fmt.Sprintf("{%q:%q}", "status", text))
		delivery.Batch, delivery.Element = &b, i+1
		msg := &retinov1.Receipt{Status: text}
		if o, err := d.Accept(t.Context(), delivery, msg, []vendorjson.Drift{{Kind: vendorjson.Unknown, Path: "$.new"}}); err != nil {
			return err
		} else if o != Collected {
			t.Errorf("%s: %v", text, o)
		}
	}
	return d.Commit(t.Context(), &b)
}

// stored lists what was kept: element, and reason or subjects.
func (d *desk) stored() []string {
	var all []string
	for _, e := range d.book.entries {
		line := []string{fmt.Sprintf("%d:%s", e.Webhook.GetElement(), e.Webhook.GetQuarantine().GetReason())}
		for _, ev := range e.Events {
			line = append(line, ev.GetSubject())
		}
		all = append(all, strings.Join(line, ""))
	}
	return all
}

// TestBatch: each webhook by itself, all at once.
func TestBatch(t *testing.T) {
	d := newDesk(t)
	d.keyedByBody()
	if err := d.batch(t, "a", "bad", "b", "a", "thin", "bad", "thin"); err != nil {
		t.Fatal(err)
	}
	want := []string{"1:order/a", "2:untranslatable", "3:order/b", "5:order/thin"}
	if diff := cmp.Diff(want, d.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if d.book.appends != 1 {
		t.Errorf("appended %d times", d.book.appends)
	}
	for name, want := range map[string]float64{
		"bridge_duplicates_total": 3, "bridge_quarantined_total": 1, "bridge_revisions_total": 0, "bridge_drift_total": 4,
	} {
		if got := d.value(t, name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	// Again, with one that is new.
	if err := d.batch(t, "a", "bad", "c"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(want, "3:order/c"), d.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	// What came alone is the same webhook.
	o, err := d.Accept(t.Context(), d.delivery("order", `{"status":"a"}`), &retinov1.Receipt{Status: "a"}, nil)
	if o != Duplicate || err != nil {
		t.Errorf("alone: %v, %v", o, err)
	}
}

// TestBatchOfRevisions: keys that are taken by other bodies, inside the batch and before it.
func TestBatchOfRevisions(t *testing.T) {
	d := newDesk(t)
	d.keyedByBody()
	if err := d.batch(t, "a;1", "b;1"); err != nil {
		t.Fatal(err)
	}
	if err := d.batch(t, "c;1", "a;2", "b;1", "c;2", "a;3", "c;1", "a;2", "bad"); err != nil {
		t.Fatal(err)
	}
	want := []string{"1:order/a", "2:order/b", "1:order/c", "2:order/a", "4:order/c", "5:order/a", "8:untranslatable"}
	if diff := cmp.Diff(want, d.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if got := d.value(t, "bridge_revisions_total"); got != 3 {
		t.Errorf("bridge_revisions_total = %v", got)
	}
	// Under the ids that they would have had alone.
	alone := newDesk(t)
	alone.keyedByBody()
	for _, text := range []string{"a;1", "a;2"} {
		body := fmt.Sprintf("{%q:%q}", "status", text)
		if _, err := alone.Accept(t.Context(), alone.delivery("order", body), &retinov1.Receipt{Status: text}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := d.book.entries[3].Events[0].GetId(), alone.book.entries[1].Events[0].GetId(); got != want {
		t.Errorf("id %s, alone %s", got, want)
	}
}

// contended takes keys away between one append and the next.
type contended struct {
	*book

	rounds int
}

func (c *contended) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	if c.rounds > 0 {
		c.rounds--
		return nil, &pebble.RevisedError{Entries: []int{c.rounds % len(entries)}}
	}
	return c.book.AppendAll(ctx, entries)
}

// TestBatchGivesUp: others that take the same keys all the time do not keep a webhook waiting for ever.
func TestBatchGivesUp(t *testing.T) {
	for rounds, ok := range map[int]bool{0: true, 1: true, maxRevisions: true, maxRevisions + 1: false, 1000: false} {
		d := newDesk(t)
		d.keyedByBody()
		j := &contended{book: d.book, rounds: rounds}
		d.journal = j
		err := d.batch(t, "a", "b", "c")
		if ok != (err == nil) || !ok && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d rounds: %v", rounds, err)
		}
		if n := len(d.book.entries); ok && n != 3 || !ok && n != 0 {
			t.Errorf("%d rounds: %d stored", rounds, n)
		}
	}
}

// TestBatchUnavailable: nothing of it is there, and nothing is counted.
func TestBatchUnavailable(t *testing.T) {
	d := newDesk(t)
	d.keyedByBody()
	d.book.err = journal.ErrUnavailable
	if err := d.batch(t, "a", "bad"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if got := d.value(t, "bridge_quarantined_total") + d.value(t, "bridge_drift_total"); got != 0 || len(d.book.entries) != 0 {
		t.Errorf("counted %v, stored %d", got, len(d.book.entries))
	}
	if strings.Contains(d.log.String(), "quarantined webhook") {
		t.Errorf("log: %s", d.log)
	}
}

// TestBatchRefused: where broken webhooks are refused, a fault of the sender's ends the batch; one of ours does not.
func TestBatchRefused(t *testing.T) {
	d := newDesk(t, func(c *source.Source) { c.Reject = true })
	d.keyedByBody()
	var fault *Fault
	if err := d.batch(t, "a", "bad", "b"); !errors.As(err, &fault) || fault.Path != "$.status" {
		t.Errorf("error %v", err)
	}
	if d.book.appends != 0 {
		t.Errorf("appended %d times", d.book.appends)
	}
	d.connector.Translate = func(connectors.Input) (connectors.Translation, error) { panic("ours") }
	if err := d.batch(t, "a"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"1:panic"}, d.stored()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// TestBatchKeyedByHeader: all webhooks of a body came with one id; their places tell them apart, and redelivered they are
// the same.
func TestBatchKeyedByHeader(t *testing.T) {
	d := newDesk(t, keyedByHeader)
	d.translates(connectors.ContentHash(), 1)
	for range 2 {
		var b Batch
		for i := range 3 {
			delivery := d.withID("order", "{}", "id-1")
			delivery.Batch, delivery.Element = &b, i+1
			if _, err := d.Accept(t.Context(), delivery, &retinov1.Receipt{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if b.Events() != 3 {
			t.Errorf("%d events", b.Events())
		}
		if err := d.Commit(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string]bool{}
	for _, e := range d.book.entries {
		ids[e.Events[0].GetId()] = true
	}
	if len(ids) != 3 || len(d.book.entries) != 3 {
		t.Errorf("%d webhooks with %d ids", len(d.book.entries), len(ids))
	}
}

// TestFormIsStoredAsItCame, and read as what it holds.
func TestFormIsStoredAsItCame(t *testing.T) {
	d := newDesk(t, func(c *source.Source) { c.Connector.FormField = "payload" })
	delivery := d.delivery("x", "payload=%7B%7D")
	delivery.Encoding, delivery.Text = journalv1.Encoding_ENCODING_FORM, []byte("{}")
	if o, err := d.Unmapped(t.Context(), delivery); o != Accepted || err != nil {
		t.Fatal(o, err)
	}
	e := d.book.entries[0]
	if got := string(e.Webhook.GetBody()); got != "payload=%7B%7D" || e.Events[0].GetUnmapped().GetJson() != "{}" {
		t.Errorf("stored %q, event %v", got, e.Events[0])
	}
}
