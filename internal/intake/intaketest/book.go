// Package intaketest has a journal in memory, for tests of the packages that commit to one.
package intaketest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Written is an entry as the journal stored it, with its events decoded. It shares no memory with the caller's entry.
type Written struct {
	journal.Entry

	Events []*eventv1.Event
	// Window is that of the first key.
	Window time.Duration
	// First is the position of its first event.
	First sinks.Position
}

// Book is a journal in memory, in which every content lives for ever unless the test forgets it. The zero value is empty. It
// is safe for concurrent use.
type Book struct {
	// Before, if set, is called with each append's context before anything is stored. Its error is the append's.
	Before func(ctx context.Context) error
	// Err, if set, is the error of every call.
	Err error
	// Entries are what was stored, Appends how often an append was asked for, Commits how often one was done.
	Entries          []Written
	Appends, Commits int

	mu     sync.Mutex
	known  map[journal.Hash][]journal.Seen
	events []*eventv1.Event
	// greatest are the greatest versions of subjects.
	greatest map[journal.Hash]string
}

// Forget ends the windows of all contents.
func (b *Book) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = nil
}

// Reset empties the book.
func (b *Book) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Entries, b.known, b.events, b.greatest, b.Appends, b.Commits = nil, nil, nil, nil, 0, 0
}

// All returns what was stored.
func (b *Book) All() []Written {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.Entries)
}

// Append adds an entry.
func (b *Book) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	receipts, err := b.AppendAll(ctx, []journal.Entry{e})
	if err != nil {
		return journal.Receipt{}, err
	}
	return receipts[0], nil
}

// AppendAll adds entries.
func (b *Book) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	if b.Before != nil {
		if err := b.Before(ctx); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Appends++
	if b.Err != nil {
		return nil, b.Err
	}
	b.Commits++
	receipts := make([]journal.Receipt, len(entries))
	for i, e := range entries {
		receipts[i] = b.add(e)
	}
	return receipts, nil
}

// add decides an entry as package journal specifies, and stores it.
func (b *Book) add(e journal.Entry) (r journal.Receipt) {
	same := func(s journal.Seen) bool { return s.Same(e.Bytes, e.Meaning) }
	exact := func(s journal.Seen) bool { return s.Bytes == e.Bytes }
	knowsBytes := false
	for _, k := range e.Keys {
		seen := b.known[k.Hash]
		r.Duplicate = r.Duplicate || slices.ContainsFunc(seen, same)
		r.Revised = r.Revised || len(seen) > 0
		knowsBytes = knowsBytes || slices.ContainsFunc(seen, exact)
	}
	r.Revised = r.Revised && !r.Duplicate
	r.Kept = r.Duplicate && !knowsBytes && e.Operation == journal.Receive
	if b.known == nil {
		b.known = make(map[journal.Hash][]journal.Seen)
	}
	for _, k := range e.Keys {
		if !k.LookupOnly && !slices.ContainsFunc(b.known[k.Hash], exact) {
			b.known[k.Hash] = append(b.known[k.Hash], journal.Seen{Bytes: e.Bytes, Meaning: e.Meaning})
		}
	}
	if r.Duplicate && !r.Kept && e.Operation != journal.Release {
		return r
	}
	if r.Duplicate {
		e.Events = nil
	}
	w := newWritten(e)
	r.Stale = b.markStale(w)
	w.Webhook.Duplicate = r.Duplicate
	w.First = sinks.Position(len(b.events) + 1)
	if r.First = w.First; len(w.Events) == 0 {
		r.First, w.First = 0, 0
	}
	if e.Operation != journal.Correct {
		w.Webhook.EventCount, w.Webhook.FirstPosition = uint32(len(w.Events)), uint64(w.First)
	}
	b.events = append(b.events, w.Events...)
	b.Entries = append(b.Entries, w)
	return r
}

// markStale marks the events whose version is older than one of their subject's before.
func (b *Book) markStale(w Written) (stale int) {
	for i, e := range w.Events {
		if len(w.Versions) == 0 || w.Versions[i].Subject == (journal.Hash{}) {
			continue
		}
		v := w.Versions[i]
		if known, ok := b.greatest[v.Subject]; ok && sinks.CompareVersions(v.Text, known) < 0 {
			e.Stale = true
			stale++
			continue
		}
		if b.greatest == nil {
			b.greatest = make(map[journal.Hash]string)
		}
		b.greatest[v.Subject] = v.Text
	}
	return stale
}

func newWritten(e journal.Entry) Written {
	w := Written{Entry: e, Window: e.Keys[0].Window}
	w.Keys, w.Indexes, w.Versions = slices.Clone(e.Keys), slices.Clone(e.Indexes), slices.Clone(e.Versions)
	w.Webhook = proto.CloneOf(e.Webhook)
	w.Webhook.Body = bytes.Clone(e.Webhook.GetBody())
	for _, encoded := range e.Events {
		event := &eventv1.Event{}
		if err := proto.Unmarshal(encoded, event); err != nil {
			panic(err)
		}
		w.Events = append(w.Events, event)
	}
	return w
}

// Webhook returns the stored webhook with this id, as it was stored last.
func (b *Book) Webhook(_ context.Context, id string) (*journalv1.Webhook, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range slices.Backward(b.Entries) {
		if e.Webhook.GetId() == id && e.Operation != journal.Correct {
			return e.Webhook, nil
		}
	}
	return nil, journal.ErrNotFound
}

// Corrections returns the corrections of a webhook.
func (b *Book) Corrections(_ context.Context, id string) (all []journal.Correction, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.Entries {
		if e.Operation != journal.Correct || e.Webhook.GetId() != id {
			continue
		}
		for i, index := range e.Indexes {
			all = append(all, journal.Correction{Index: index, Position: e.First + sinks.Position(i)})
		}
	}
	return all, nil
}

// EventAt returns the event at a position.
func (b *Book) EventAt(_ context.Context, p sinks.Position) (*eventv1.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return proto.CloneOf(b.events[p-1]), nil
}

// Find returns the quarantined webhooks, all of them.
func (b *Book) Find(context.Context, journal.Query) (page journal.Page, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.Entries {
		if e.Webhook.GetQuarantine() != nil && e.Webhook.GetReleasedAt() == nil {
			page.Webhooks = append(page.Webhooks, e.Webhook)
		}
	}
	return page, nil
}

// Discard removes nothing, and counts.
func (b *Book) Discard(_ context.Context, ids []string) (int, error) { return len(ids), nil }
