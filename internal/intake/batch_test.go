package intake

import (
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
	"github.com/webhook-bridge/bridge/internal/source"
)

// keyedByBody makes the connector's natural key what stands before the first semicolon of a webhook's only string.
func (d *desk) keyedByBody() {
	d.connector.Batches = true
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
		t.Events = append(t.Events, &eventv1.Event{Type: "order.changed", Subject: "order/" + key, SubjectVersion: text})
		return t, nil
	}
}

// batch has the desk receive an array of webhooks.
func (d *desk) batch(t *testing.T, texts ...string) error {
	t.Helper()
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = fmt.Sprintf("{%q:%q,%q:1}", "status", text, "new")
	}
	return d.Receive(t.Context(), d.delivery("order", "["+strings.Join(all, ",")+"]"))
}

// stored lists what was kept: element, and reason or subjects.
func (d *desk) stored() []string {
	var all []string
	for _, e := range d.book.Entries {
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
	if d.book.Appends != 1 {
		t.Errorf("appended %d times", d.book.Appends)
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
	if o := d.accept(t, "order", `{"status":"a","new":1}`); o != Duplicate {
		t.Errorf("alone: %v", o)
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
		alone.accept(t, "order", fmt.Sprintf("{%q:%q}", "status", text))
	}
	if got, want := d.book.Entries[3].Events[0].GetId(), alone.book.Entries[1].Events[0].GetId(); got != want {
		t.Errorf("id %s, alone %s", got, want)
	}
}

// TestBatchUnavailable: nothing of it is there, and nothing is counted.
func TestBatchUnavailable(t *testing.T) {
	d := newDesk(t)
	d.keyedByBody()
	d.book.Err = journal.ErrUnavailable
	if err := d.batch(t, "a", "bad"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if got := d.value(t, "bridge_quarantined_total") + d.value(t, "bridge_drift_total"); got != 0 || len(d.book.Entries) != 0 {
		t.Errorf("counted %v, stored %d", got, len(d.book.Entries))
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
	if d.book.Appends != 0 {
		t.Errorf("appended %d times", d.book.Appends)
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
	d.connector.Batches = true
	d.translates(connectors.ContentHash(), 1)
	for range 2 {
		delivery := d.withID("order", `[{"v":1},{"v":1},{"v":1}]`, "id-1")
		if err := d.Receive(t.Context(), delivery); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string]bool{}
	for _, e := range d.book.Entries {
		ids[e.Events[0].GetId()] = true
	}
	if len(ids) != 3 || len(d.book.Entries) != 3 {
		t.Errorf("%d webhooks with %d ids", len(d.book.Entries), len(ids))
	}
}

// TestFormIsStoredAsItCame, and read as what it holds.
func TestFormIsStoredAsItCame(t *testing.T) {
	d := newDesk(t, func(c *source.Source) { c.Connector.FormField = "payload" })
	delivery := d.delivery("x", "payload=%7B%22v%22%3A1%7D")
	delivery.Encoding = journalv1.Encoding_ENCODING_FORM
	if o, err := d.receive(delivery); o != Accepted || err != nil {
		t.Fatal(o, err)
	}
	e := d.book.Entries[0]
	if got := string(e.Webhook.GetBody()); got != "payload=%7B%22v%22%3A1%7D" || e.Events[0].GetUnmapped().GetJson() != `{"v":1}` {
		t.Errorf("stored %q, event %v", got, e.Events[0])
	}
}
