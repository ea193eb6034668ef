package pebble

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

func webhook(t *testing.T, j *Journal, i int) *journalv1.Webhook {
	t.Helper()
	w, err := j.Webhook(t.Context(), webhookID(i))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestAppendAllMany makes one call with more entries than a group has, and more bytes than one piece of Pebble's log.
func TestAppendAllMany(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	const n = 10_000
	many := make([]journal.Entry, n)
	for i := range many {
		many[i] = entry(i, 2<<10, 1)
	}
	receipts, err := j.AppendAll(t.Context(), many)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range receipts {
		if r.First != sinks.Position(i+1) {
			t.Fatalf("entry %d: %+v", i, r)
		}
	}
	diff(t, "bounds", j.Bounds(), sinks.Bounds{Earliest: 1, Next: n + 1})
	diff(t, "webhooks", len(allWebhooks(t, j)), n)
}

func TestRelease(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	appendAll(t, j, entry(1, 10, 1), quarantined(2), quarantined(3), quarantined(4))
	released2, released3 := released(2, 2), released(3, 1)
	released3.Keys, released3.Bytes = entry(1, 10, 1).Keys, entry(1, 10, 1).Bytes
	released4 := released(4, 1)
	released4.Keys = entry(1, 10, 1).Keys
	diff(t, "receipts", appendAll(t, j, released2, released3, released4), []journal.Receipt{{First: 2}, {Duplicate: true}, {Revised: true, First: 4}})
	for name, e := range map[string]journal.Entry{"released": released2, "released as a duplicate": released3, "never there": released(5, 1), "not in quarantine": released(1, 1)} {
		_, err := j.Append(t.Context(), e)
		wantErr(t, name, err, journal.ErrNotFound)
	}
	unmarked := released(4, 1)
	unmarked.Webhook.ReleasedAt = nil
	if _, err := j.Append(t.Context(), unmarked); err == nil {
		t.Error("released without a time")
	}
	for range 2 {
		diff(t, "with events", webhook(t, j, 2), stored(released2, 2))
		duplicate := stored(released3, 0)
		duplicate.EventCount, duplicate.Duplicate = 0, true
		diff(t, "a duplicate", webhook(t, j, 3), duplicate)
		diff(t, "a revision", webhook(t, j, 4), stored(released4, 4))
		diff(t, "events", decoded(t, readAll(t, j)), events(entry(1, 10, 1), released2, released4))
		page, err := j.Find(t.Context(), journal.Query{Quarantined: true})
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "quarantine", len(page.Webhooks), 0)
		shut(t, j)
		j = open(t, testConfig(fs))
	}
	e := entry(6, 10, 1)
	e.Keys, e.Bytes = released2.Keys, released2.Bytes
	diff(t, "the released fact again", appendAll(t, j, e), []journal.Receipt{{Duplicate: true}})
}

func TestCorrect(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	appendAll(t, j, entry(1, 10, 3), quarantined(2), quarantined(3), released(3, 1))
	first, second, ofReleased := corrected(1, 2, 0), corrected(1, 1), corrected(3, 0)
	diff(t, "receipts", appendAll(t, j, first, second, ofReleased, first), []journal.Receipt{{First: 5}, {First: 7}, {First: 8}, {Duplicate: true}})
	for name, i := range map[string]int{"in quarantine": 2, "not there": 4} {
		_, err := j.Append(t.Context(), corrected(i, 0))
		wantErr(t, name, err, journal.ErrNotFound)
	}
	uneven := corrected(1, 0)
	uneven.Indexes = nil
	if _, err := j.Append(t.Context(), uneven); err == nil {
		t.Error("events without indexes accepted")
	}
	for range 2 {
		for i, want := range [][]journal.Correction{1: {{Index: 2, Position: 5}, {Index: 0, Position: 6}, {Index: 1, Position: 7}}, 2: nil, 3: {{Index: 0, Position: 8}}, 4: nil} {
			got, err := j.Corrections(t.Context(), webhookID(i))
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "corrections", got, want)
		}
		diff(t, "webhook", webhook(t, j, 1), stored(entry(1, 10, 3), 1))
		diff(t, "webhooks", ids(allWebhooks(t, j)), webhookIDs(1, 2, 3))
		diff(t, "events", decoded(t, readAll(t, j)), events(entry(1, 10, 3), released(3, 1), first, second, ofReleased))
		shut(t, j)
		j = open(t, testConfig(fs))
	}
	if got, err := j.Corrections(t.Context(), "no id"); len(got) > 0 || err != nil {
		t.Errorf("no id: %v, %v", got, err)
	}
}

func TestDiscard(t *testing.T) {
	disk := vfs.NewCrashableMem()
	j := open(t, testConfig(disk))
	appendAll(t, j, entry(1, 10, 1), quarantined(2), quarantined(3), quarantined(4), released(4, 1))
	some := []string{webhookID(1), webhookID(2), webhookID(2), webhookID(4), webhookID(5), "no id"}
	for i := range 600 { // more than the committer looks up at once
		appendAll(t, j, quarantined(1000+i))
		some = append(some, webhookID(1000+i))
	}
	n, err := j.Discard(t.Context(), some)
	if n != 601 || err != nil {
		t.Errorf("%d discarded, %v", n, err)
	}
	check := func(j *Journal) {
		t.Helper()
		diff(t, "webhooks", ids(allWebhooks(t, j)), webhookIDs(1, 3, 4))
		_, err := j.Append(t.Context(), released(2, 1))
		wantErr(t, "released after", err, journal.ErrNotFound)
		n, err := j.Discard(t.Context(), some)
		if n != 0 || err != nil {
			t.Errorf("again: %d discarded, %v", n, err)
		}
	}
	check(j)
	check(open(t, testConfig(disk.CrashClone(vfs.CrashCloneCfg{}))))
}

// TestCorrectionsGoWithTheirWebhook: corrections are removed with their webhook, also if it was released and is kept longer.
func TestCorrectionsGoWithTheirWebhook(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.Retention = Retention{Age: 10 * time.Hour, QuarantineAge: 30 * time.Hour}
	j := open(t, cfg)
	appendAll(t, j, entry(1, 10, 1), quarantined(2), released(2, 1))
	appendAll(t, j, corrected(1, 0), corrected(2, 0))
	check := func(what string, want ...int) {
		t.Helper()
		retainTwice(t, j)
		var webhooks, corrections []string
		for i := range 4 {
			if _, err := j.Webhook(t.Context(), webhookID(i)); err == nil {
				webhooks = append(webhooks, webhookID(i))
			}
			if got, err := j.Corrections(t.Context(), webhookID(i)); err == nil && len(got) > 0 {
				corrections = append(corrections, webhookID(i))
			}
		}
		diff(t, what, webhooks, webhookIDs(want...))
		diff(t, "corrections "+what, corrections, webhookIDs(want...))
	}
	check("at first", 1, 2)
	c.Advance(11 * time.Hour)
	check("after the age of webhooks", 2)
	c.Advance(20 * time.Hour)
	check("after the age of the quarantine")
}

// TestDiscardGivesWay: the committer looks up few at a time, and of each only whether it was released.
func TestDiscardGivesWay(t *testing.T) {
	var commits atomic.Int64
	cfg := testConfig(vfs.NewMem())
	cfg.onCommit = func(committed) { commits.Add(1) }
	j := open(t, cfg)
	var some []string
	for i := range 320 {
		appendAll(t, j, quarantined(i))
		some = append(some, webhookID(i))
	}
	before := commits.Load()
	if n, err := j.Discard(t.Context(), some); n != len(some) || err != nil {
		t.Fatalf("%d discarded, %v", n, err)
	}
	shut(t, j)
	if groups := commits.Load() - before; groups < 10 {
		t.Errorf("in %d groups: appends wait while a tenth of the webhooks is read", groups)
	}
}

// TestWasReleased compares the committer's reading of a stored webhook with the decoded webhook.
func TestWasReleased(t *testing.T) {
	large := quarantined(3)
	large.Webhook.Body = make([]byte, 1<<20)
	for i, e := range []journal.Entry{quarantined(1), released(2, 1), released(2, 0), entry(4, 0, 0), large} {
		record, err := proto.Marshal(e.Webhook)
		if err != nil {
			t.Fatal(err)
		}
		v := append(make([]byte, webhookHeaderLen), record...)
		var got bool
		allocated := testing.AllocsPerRun(1, func() {
			var err error
			if got, err = wasReleased(v); err != nil {
				t.Error(err)
			}
		})
		diff(t, "released", got, e.Webhook.GetReleasedAt() != nil)
		diff(t, "allocated", allocated, 0.0)
		for n := range min(len(v), 100) {
			w, err := decodeWebhook(v[:n])
			if got, scanned := wasReleased(v[:n]); err == nil && (scanned != nil || got != (w.GetReleasedAt() != nil)) {
				t.Errorf("%d, cut to %d bytes: %v, %v", i, n, got, scanned)
			}
		}
	}
	if _, err := wasReleased(make([]byte, webhookHeaderLen-1)); err == nil {
		t.Error("what is no webhook is read")
	}
}
