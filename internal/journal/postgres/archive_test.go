package postgres

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestFind compares pages of random queries with what was stored: in both tables, in both directions, with and without bounds.
func TestFind(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	a, b := r.open(), r.open()
	var stored []*journalv1.Webhook
	for n := range 60 {
		e := r.entry(n % 3)
		if n%4 == 1 {
			e.Events, e.Meaning = nil, journal.Hash{}
			e.Webhook.Quarantine = &journalv1.Quarantine{Reason: "malformed_json"}
		}
		receipt, err := a.Append(t.Context(), e)
		r.is("append", err, nil)
		if n%8 == 1 { // released without events
			e.Operation, e.Events = journal.Release, nil
			e.Webhook.ReleasedAt = timestamppb.New(began)
			e.Keys[0].Hash[3] = 1
			_, err := a.Append(t.Context(), e)
			r.is("release", err, nil)
		}
		e.Webhook.FirstPosition, e.Webhook.EventCount = uint64(receipt.First), uint32(len(e.Events))
		stored = append(stored, e.Webhook)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		q := journal.Query{Backwards: random.IntN(2) == 0, Quarantined: random.IntN(3) == 0, Limit: 1 + random.IntN(9), Scan: 1 + random.IntN(20)}
		if random.IntN(2) == 0 {
			q.After = stored[random.IntN(len(stored))].GetId()
		}
		if random.IntN(2) == 0 {
			q.Before = stored[random.IntN(len(stored))].GetId()
		}
		if random.IntN(2) == 0 {
			q.Match = func(w *journalv1.Webhook) bool { return w.GetEventCount() != 1 }
		}
		want := wanted(stored, q)
		if got := r.pages([]*Journal{a, b}[n%2], q); !slices.Equal(got, want) {
			t.Fatalf("%+v: %v, want %v", q, got, want)
		}
	}
	w, err := b.Webhook(t.Context(), stored[2].GetId())
	if err != nil || w.String() != stored[2].String() {
		t.Errorf("%v, %v, want %v", w, err, stored[2])
	}
	// Retention moves its limits before it removes anything.
	r.exec(fmt.Sprintf(`update bridge.log set webhooks_from = %d, quarantined_from = %d`,
		stored[10].GetReceivedAt().AsTime().UnixMilli(), stored[20].GetReceivedAt().AsTime().UnixMilli()))
	kept := slices.DeleteFunc(slices.Clone(stored), func(w *journalv1.Webhook) bool {
		return w.GetId() < stored[10].GetId() || w.GetQuarantine() != nil && w.GetId() < stored[20].GetId()
	})
	if got, want := r.pages(b, journal.Query{}), wanted(kept, journal.Query{}); !slices.Equal(got, want) {
		t.Errorf("behind the limits: %v, want %v", got, want)
	}
	_, err = b.Webhook(t.Context(), stored[2].GetId())
	r.is("webhook before the limit", err, journal.ErrNotFound)
	_, err = b.Webhook(t.Context(), stored[13].GetId())
	r.is("quarantined webhook before the limit", err, journal.ErrNotFound)
}

// wanted are the ids that a query selects.
func wanted(stored []*journalv1.Webhook, q journal.Query) (ids []string) {
	for _, w := range stored {
		selected := w.GetId() > q.After && (q.Before == "" || w.GetId() < q.Before) && (q.Match == nil || q.Match(w))
		if selected && (!q.Quarantined || w.GetQuarantine() != nil && w.GetReleasedAt() == nil) {
			ids = append(ids, w.GetId())
		}
	}
	if q.Backwards {
		slices.Reverse(ids)
	}
	return ids
}

// pages are the ids of all pages of a query.
func (r *readTest) pages(j *Journal, q journal.Query) (ids []string) {
	for range 1000 {
		got, err := j.Find(r.Context(), q)
		r.is("find", err, nil)
		for _, w := range got.Webhooks {
			ids = append(ids, w.GetId())
		}
		switch {
		case got.Next == "":
			return ids
		case q.Backwards:
			q.Before = got.Next
		default:
			q.After = got.Next
		}
	}
	r.Fatal("the pages do not end")
	return nil
}

// TestFindLarge: a page of large webhooks has fewer of them, and the next one begins behind it.
func TestFindLarge(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	j := r.open()
	for range 5 {
		e := r.entry(0)
		e.Webhook.Body = make([]byte, 6<<20)
		_, err := j.Append(t.Context(), e)
		r.is("append", err, nil)
	}
	var sizes []int
	for q := (journal.Query{}); ; {
		got, err := j.Find(t.Context(), q)
		r.is("find", err, nil)
		sizes = append(sizes, len(got.Webhooks))
		if q.After = got.Next; q.After == "" {
			break
		}
	}
	if !slices.Equal(sizes, []int{2, 2, 1}) {
		t.Errorf("pages of %v webhooks", sizes)
	}
}

// direct has an instance connect to the server without a proxy.
func (r *readTest) direct(c *Config) { c.URL = r.cluster.Primary().URL(pgtest.User, pgtest.Database) }

// BenchmarkRead is how fast a reader catches up, with reads of about a mebibyte.
func BenchmarkRead(b *testing.B) {
	r := newReadTest(b, pgtest.Shared(b))
	j := r.open(r.direct)
	const events = 100_000
	r.add(j, 1) // makes the partition
	encoded, err := proto.Marshal(&eventv1.Event{
		Id: "event", Type: "type", Source: "source", Subject: "subject", ReceivedAt: timestamppb.New(began),
		Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: strings.Repeat("payload ", 60)}},
	})
	r.is("encode", err, nil)
	r.exec(fmt.Sprintf(`insert into bridge.event select n, n, '\x%x'::bytea from generate_series(2, %d) n`, encoded, events),
		fmt.Sprintf(`update bridge.log set next = %d`, events+1))
	records := make([]sinks.Record, 0, 4096)
	n := 0
	for b.Loop() {
		for p := sinks.Position(1); p <= events; {
			got, err := j.Read(b.Context(), p, records)
			if err != nil {
				b.Fatal(err)
			}
			p += sinks.Position(len(got))
			n += len(got)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkWakeup is the time from a commit at one instance to its event at another.
func BenchmarkWakeup(b *testing.B) {
	r := newReadTest(b, pgtest.Shared(b))
	one, other := r.open(r.direct), r.open(r.direct)
	for n := sinks.Position(1); b.Loop(); n++ {
		b.StopTimer()
		e := r.entry(1)
		e.Keys[0].Hash[4], e.Bytes[4], e.Meaning[4] = byte(n), byte(n>>8), byte(n>>16)
		if _, err := one.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := other.Read(b.Context(), n, make([]sinks.Record, 0, 1)); err != nil {
			b.Fatal(err)
		}
	}
}
