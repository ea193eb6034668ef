package pebble

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// presence has the positions of an entry's first event, and of the first event of its later operation. They are 0 if there is
// no event, and absent if the entry is not stored.
type presence struct{ first, later sinks.Position }

const absent = ^sinks.Position(0)

// checkJournal checks that the journal has all acknowledged entries and all delivered records, each entry whole or not at all,
// the entries of one call all or none, and the drift of exactly these. Then it appends all entries again, and checks that each
// is there once.
func (w *workload) checkJournal(t *testing.T, j *Journal, acked []acknowledged, delivered []sinks.Record) {
	t.Helper()
	records := readAll(t, j)
	for _, want := range delivered {
		if i := int(want.Position - 1); i >= len(records) {
			t.Fatalf("position %d was delivered and is lost", want.Position)
		} else {
			diffMessages(t, fmt.Sprintf("delivered at %d", want.Position), eventOf(t, records[i]), eventOf(t, want))
		}
	}
	present := w.checkWhole(t, j, records)
	for _, a := range acked {
		first, e := present[a.entry].first, w.entries[a.entry]
		if a.later {
			first, e = present[a.entry].later, w.later[a.entry]
		}
		if first == absent {
			t.Fatalf("entry %d (later: %v) was acknowledged and is lost", a.entry, a.later)
		}
		if len(e.Events) > 0 && !a.receipt.Duplicate && first != a.receipt.First {
			t.Fatalf("entry %d (later: %v) lies at %d, acknowledged at %d", a.entry, a.later, first, a.receipt.First)
		}
	}
	w.checkDrift(t, j, present)
	next := j.Bounds().Next
	for _, call := range w.calls {
		w.appendAgain(t, j, call, present, next)
	}
	if got := len(readAll(t, j)); got != w.events() {
		t.Fatalf("%d events, want %d", got, w.events())
	}
	w.checkDrift(t, j, make([]presence, len(w.entries)))
}

// appendAgain appends a call again. The entries that are present must be duplicates, and the others get positions from next on.
func (w *workload) appendAgain(t *testing.T, j *Journal, call []int, present []presence, next sinks.Position) {
	t.Helper()
	receipts, err := w.receive(t.Context(), j, call)
	if err != nil {
		t.Fatal(err)
	}
	for k, i := range call {
		there := present[i].first != absent
		if there != receipts[k].Duplicate || there != receipts[0].Duplicate {
			t.Fatalf("entry %d of %v is present: %v, a duplicate: %v, the first: %v", i, call, there, receipts[k].Duplicate, receipts[0].Duplicate)
		}
		later := journal.Receipt{}
		if e, ok := w.later[i]; ok {
			there := present[i].later != absent
			later, err = j.Append(t.Context(), e)
			if e.Operation == journal.Release && there {
				if !errors.Is(err, journal.ErrNotFound) {
					t.Fatalf("entry %d released again: %v", i, err)
				}
			} else if err != nil || later.Duplicate != there {
				t.Fatalf("entry %d has what came later: %v, now %+v, %v", i, there, later, err)
			}
		}
		for _, r := range []journal.Receipt{receipts[k], later} {
			if r.First != 0 && r.First < next {
				t.Fatalf("position %d is used again", r.First)
			}
		}
	}
}

// checkWhole checks that each entry is stored whole and once, or not at all. It returns their positions.
func (w *workload) checkWhole(t *testing.T, j *Journal, records []sinks.Record) []presence {
	t.Helper()
	byID := make(map[string]sinks.Record)
	for _, r := range records {
		byID[eventOf(t, r).GetId()] = r
	}
	if len(byID) != len(records) {
		t.Fatalf("%d events, %d ids", len(records), len(byID))
	}
	present := make([]presence, len(w.entries))
	for i, e := range w.entries {
		first, later := positionOf(t, byID, e), absent
		l, ok := w.later[i]
		if ok {
			later = positionOf(t, byID, l)
		}
		got, err := j.Webhook(t.Context(), e.Webhook.GetId())
		if errors.Is(err, journal.ErrNotFound) {
			if len(e.Events) > 0 && first != absent || later != absent {
				t.Fatalf("entry %d has events and no webhook", i)
			}
			present[i] = presence{absent, absent}
			continue
		}
		if err != nil || first == absent {
			t.Fatalf("entry %d is there without its events, or: %v", i, err)
		}
		present[i] = presence{first, later}
		want := stored(e, first)
		if l.Operation == journal.Release && later != absent {
			want = stored(l, later)
		}
		diffMessages(t, "webhook", got, want)
		if l.Operation == journal.Correct {
			var want []journal.Correction
			for k, index := range l.Indexes {
				if later != absent {
					want = append(want, journal.Correction{Index: index, Position: later + sinks.Position(k)})
				}
			}
			corrections, err := j.Corrections(t.Context(), e.Webhook.GetId())
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "corrections", corrections, want)
		}
	}
	return present
}

// positionOf returns where an entry's events lie, one behind the other, or that they are absent, all of them.
func positionOf(t *testing.T, byID map[string]sinks.Record, e journal.Entry) sinks.Position {
	t.Helper()
	if len(e.Events) == 0 {
		return 0
	}
	first := absent
	for k := range e.Events {
		want := decodedEvent(e.Events[k])
		r, ok := byID[want.GetId()]
		if k == 0 && ok {
			first = r.Position
		}
		if ok != (first != absent) || ok && r.Position != first+sinks.Position(k) {
			t.Fatalf("%s has events in part: %d is there: %v, at %d", e.Webhook.GetId(), k, ok, r.Position)
		}
		if ok {
			diffMessages(t, "event", eventOf(t, r), want)
		}
	}
	return first
}

// checkDrift checks that the counts of drift cover exactly the entries that are present.
func (w *workload) checkDrift(t *testing.T, j *Journal, present []presence) {
	t.Helper()
	want := make(map[string]uint64)
	for i, e := range w.entries {
		for _, d := range e.Webhook.GetDrift() {
			if present[i].first != absent {
				want[d.GetKind().String()+d.GetPath()]++
			}
		}
	}
	counts, err := j.Drift(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, c := range counts {
		got[c.GetKind().String()+c.GetPath()] = c.GetCount()
	}
	diff(t, "drift", got, want)
	if t.Failed() {
		t.FailNow()
	}
}

// diffMessages is diff for many large messages, which are nearly always equal.
func diffMessages(t *testing.T, what string, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		diff(t, what, got, want)
	}
}
