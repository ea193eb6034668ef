package pebble

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/page"
	"github.com/webhook-bridge/bridge/sinks"
)

func ids(ws []*journalv1.Webhook) (ids []string) {
	for _, w := range ws {
		ids = append(ids, w.GetId())
	}
	return ids
}

func webhookIDs(is ...int) (ids []string) {
	for _, i := range is {
		ids = append(ids, webhookID(i))
	}
	return ids
}

func TestWebhookNotFound(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	for _, id := range []string{webhookID(7), "", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"} {
		if _, err := j.Webhook(t.Context(), id); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("webhook %q: %v", id, err)
		}
	}
}

// TestFind reads all webhooks by pages, with every kind of limit. No webhook comes twice, and none is missing.
func TestFind(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	var all, held []int
	for i := 1; i < 40; i++ {
		all = append(all, i)
		switch {
		case i%3 == 0 && i%4 == 0:
			appendAll(t, j, quarantined(i), released(i, 1))
		case i%3 == 0:
			appendAll(t, j, quarantined(i))
			held = append(held, i)
		default:
			appendAll(t, j, entry(i, 10, i%2))
		}
	}
	even := func(w *journalv1.Webhook) bool { return w.GetId()[len(w.GetId())-1]%2 == 0 }
	for _, c := range []struct {
		name string
		q    journal.Query
		want []int
	}{
		{"all", journal.Query{}, all},
		{"quarantined", journal.Query{Quarantined: true}, held},
		{"after", journal.Query{After: webhookID(5)}, within(all, 6, 99)},
		{"after none", journal.Query{After: webhookID(39)}, nil},
		{"before", journal.Query{Before: webhookID(6)}, within(all, 1, 6)},
		{"between", journal.Query{After: webhookID(3), Before: webhookID(9)}, within(all, 4, 9)},
		{"from a time", journal.Query{After: journal.IDAt(start.Add(10e6))}, within(all, 10, 99)},
		{"up to a time", journal.Query{Before: journal.IDAt(start.Add(10e6))}, within(all, 1, 10)},
		{"nothing between", journal.Query{After: webhookID(9), Before: webhookID(9)}, nil},
		{"crossed", journal.Query{After: webhookID(9), Before: webhookID(3)}, nil},
		{"quarantined after", journal.Query{After: webhookID(5), Quarantined: true}, within(held, 6, 99)},
	} {
		for _, match := range []func(*journalv1.Webhook) bool{nil, even} {
			for _, budget := range [][2]int{{0, 0}, {1, 0}, {4, 0}, {0, 1}, {0, 3}, {2, 3}, {3, 2}, {39, 39}} {
				for _, backwards := range []bool{false, true} {
					q := c.q
					q.Match, q.Backwards, q.Limit, q.Scan = match, backwards, budget[0], budget[1]
					var want []string
					for _, id := range webhookIDs(c.want...) {
						if match == nil || match(&journalv1.Webhook{Id: id}) {
							want = append(want, id)
						}
					}
					if backwards {
						slices.Reverse(want)
					}
					name := fmt.Sprintf("%s, matching: %v, backwards: %v, limit and scan: %v", c.name, match != nil, backwards, budget)
					diff(t, name, pages(t, j, q), want)
				}
			}
		}
	}
}

func within(is []int, from, to int) (some []int) {
	for _, i := range is {
		if i >= from && i < to {
			some = append(some, i)
		}
	}
	return some
}

// pages returns what all pages of a query have, and checks that none is longer than asked for or looked at too much.
func pages(t *testing.T, j *Journal, q journal.Query) (all []string) {
	t.Helper()
	match, looked := q.Match, 0
	q.Match = func(w *journalv1.Webhook) bool {
		looked++
		return match == nil || match(w)
	}
	for {
		looked = 0
		page, err := j.Find(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if q.Limit > 0 && len(page.Webhooks) > q.Limit || q.Scan > 0 && looked > q.Scan {
			t.Fatalf("%d webhooks, %d looked at, of %+v", len(page.Webhooks), looked, q)
		}
		all = append(all, ids(page.Webhooks)...)
		switch {
		case page.Next == "":
			return all
		case q.Backwards:
			q.Before = page.Next
		default:
			q.After = page.Next
		}
	}
}

// TestFindLarge: a page is bounded in bytes, and holds at least one webhook.
func TestFindLarge(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	for i, size := range []int{6 << 20, 6 << 20, 20 << 20, 1, 6 << 20, 1} {
		e := entry(i, 0, 0)
		e.Webhook.Body = make([]byte, size)
		appendAll(t, j, e)
	}
	var sizes []int
	for q := (journal.Query{}); ; {
		page, err := j.Find(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.Webhooks))
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	diff(t, "webhooks by page", sizes, []int{2, 1, 3})
}

// TestFindReadsLittle: a page ends when much was read, though nothing of it was selected.
func TestFindReadsLittle(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	const each = page.ScanBytes / 4
	for i := range 6 {
		e := entry(i, 0, 0)
		e.Webhook.Body = make([]byte, each)
		appendAll(t, j, e)
	}
	none := func(*journalv1.Webhook) bool { return false }
	got, err := j.Find(t.Context(), journal.Query{Match: none})
	if err != nil || len(got.Webhooks) > 0 || got.Next != webhookID(3) {
		t.Errorf("%d webhooks, next is %q, %v", len(got.Webhooks), got.Next, err)
	}
	got, err = j.Find(t.Context(), journal.Query{Match: none, After: got.Next})
	if err != nil || got.Next != "" {
		t.Errorf("next is %q, %v", got.Next, err)
	}
}

func TestFindErrors(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	appendAll(t, j, entry(1, 10, 1), entry(2, 10, 1))
	for _, q := range []journal.Query{{After: "x"}, {Before: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}} {
		if _, err := j.Find(t.Context(), q); err == nil {
			t.Errorf("%+v: accepted", q)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := j.Find(ctx, journal.Query{Match: func(*journalv1.Webhook) bool { cancel(); return false }})
	wantErr(t, "done on the way", err, context.Canceled)
	shut(t, j)
	_, err = j.Find(t.Context(), journal.Query{})
	wantErr(t, "closed", err, sinks.ErrClosed)
}

func TestIDAt(t *testing.T) {
	at := time.UnixMilli(1_772_627_400_123)
	id := journal.IDAt(at.Add(999 * time.Microsecond))
	u, err := journal.ParseID(id)
	if err != nil || u.Variant() != uuid.RFC4122 {
		t.Fatalf("%s: %v", id, err)
	}
	if got, err := webhookTime(webhookKey(prefixWebhook, u)); err != nil || !got.Equal(at) {
		t.Errorf("%s: %v, %v", id, got, err)
	}
	for range 100 {
		was := journal.IDAt(time.Now())
		minted := uuid.Must(uuid.NewV7()).String()
		if minted <= was || minted >= journal.IDAt(time.Now().Add(time.Second)) {
			t.Fatalf("%s was minted after %s", minted, was)
		}
	}
}

func TestNewest(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	for i := range 6 {
		e := entry(i, 10, 1)
		if i == 5 {
			e = quarantined(5)
		}
		e.Webhook.Source = []string{"a", "b", "c"}[i%3]
		appendAll(t, j, e)
	}
	got, err := j.Newest(t.Context(), []string{"a", "c", "none"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Millisecond) }
	diff(t, "newest", got, map[string]time.Time{"a": at(3), "c": at(5)})
	if got, err := j.Newest(t.Context(), nil); len(got) > 0 || err != nil {
		t.Errorf("of no source: %v, %v", got, err)
	}
}
