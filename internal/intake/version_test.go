package intake

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
)

func numbered(subject, version string) *eventv1.Event {
	return &eventv1.Event{Type: "order.changed", Subject: subject, SubjectVersion: version}
}

// TestVersions: an entry has the versions of its events, each under its source and subject.
func TestVersions(t *testing.T) {
	unmapped := &eventv1.Event{Type: UnmappedType, Subject: "till/orders", SubjectVersion: "1"}
	one := numbered("order/1", "7")
	version := func(source, subject, text string) journal.Version {
		return journal.Version{Subject: subjectHash(source, subject), Text: text, Window: NaturalWindow}
	}
	for _, c := range []struct {
		name   string
		events []*eventv1.Event
		want   []journal.Version
	}{
		{"no version", []*eventv1.Event{numbered("order/1", ""), numbered("order/2", "")}, nil},
		{"an unmapped event has no record to compare", []*eventv1.Event{unmapped}, nil},
		{"one", []*eventv1.Event{one}, []journal.Version{version("till", "order/1", "7")}},
		{
			"some",
			[]*eventv1.Event{numbered("order/2", ""), one, unmapped, numbered("order/3", "v1"), numbered("order/4", "")},
			[]journal.Version{{}, version("till", "order/1", "7"), {}, version("till", "order/3", "v1"), {}},
		},
	} {
		if d := cmp.Diff(c.want, appendVersions(nil, "till", c.events)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
	hashes := map[journal.Hash]bool{}
	for _, pair := range [][2]string{{"till", "order/1"}, {"till", "order/2"}, {"till2", "order/1"}, {"till", "2order/1"}, {"tillo", "rder/1"}} {
		hashes[subjectHash(pair[0], pair[1])] = true
	}
	if len(hashes) != 5 {
		t.Errorf("5 subjects have %d digests", len(hashes))
	}
}

// TestStaleEvents: an old version that comes late is published, says so and is counted. A redelivery of it is not counted again, and a
// version is no part of what its event means to a connector that makes the same event.
func TestStaleEvents(t *testing.T) {
	d := newDesk(t)
	d.connector.Translate = func(in connectors.Input) (connectors.Translation, error) {
		version := in.Message.(interface{ GetStatus() string }).GetStatus()
		return connectors.Translation{Key: connectors.NaturalKey("1", version), Events: []*eventv1.Event{numbered("order/1", version)}}, nil
	}
	for i, step := range []struct {
		event, version string
		outcome        Outcome
		stale          bool
	}{
		{"order", "9", Accepted, false},
		{"order", "8", Accepted, true},
		{"order", "8", Duplicate, false},
		{"refund", "10", Accepted, false},
		{"order", "9.5", Accepted, true},
		{"order", "10", Accepted, false},
	} {
		if o := d.accept(t, step.event, `{"status": "`+step.version+`"}`); o != step.outcome {
			t.Fatalf("step %d: %v", i, o)
		}
		last := d.book.Entries[len(d.book.Entries)-1].Events[0]
		if step.outcome == Accepted && last.GetStale() != step.stale {
			t.Errorf("step %d: event %v, want stale: %v", i, last, step.stale)
		}
	}
	if got := d.value(t, "bridge_events_stale_total"); got != 2 {
		t.Errorf("bridge_events_stale_total = %v", got)
	}
	if Canonical(&eventv1.Event{Type: "a", Stale: true}).GetStale() || !hasReceipt(&eventv1.Event{Stale: true}) {
		t.Error("stale is part of the event's meaning")
	}
}

// TestVersionsOfQuarantine: a webhook in quarantine has no versions, and a correction has those of its events.
func TestVersionsOfQuarantine(t *testing.T) {
	d := newDesk(t, func(c *source.Source) { c.Reject = false })
	d.translates(connectors.NaturalKey("1"), 1)
	d.spoils("")
	if o := d.accept(t, "order", `{"status": ""}`); o != Quarantined || d.book.Entries[0].Versions != nil {
		t.Errorf("%v, versions %v", o, d.book.Entries[0].Versions)
	}
	w := d.book.Entries[0].Webhook
	c := d.source.Correct(w, []Correction{{Event: numbered("order/1", "")}, {Index: 1, Event: numbered("order/1", "3")}})
	if d := cmp.Diff([]journal.Version{{}, {Subject: subjectHash(w.GetSource(), "order/1"), Text: "3", Window: NaturalWindow}}, c.entry.Versions); d != "" {
		t.Errorf("versions of a correction (-want +got):\n%s", d)
	}
}
