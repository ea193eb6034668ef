package journaltest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// world is a simple model of a journal: everything that was committed, as the specification counts it.
type world struct {
	// last is the time of the last commit.
	last     time.Time
	earliest sinks.Position
	// events are all events there ever were; the first has position 1.
	events   []fact
	contents map[journal.Hash][]content
	versions map[journal.Hash]greatest
	webhooks map[string]place
	drift    map[string]uint64
}

// fact is an event, and when it counts as committed.
type fact struct {
	id    string
	at    time.Time
	stale bool
}

// greatest is the greatest version of a subject, and when an event of the subject with a version was committed last.
type greatest struct {
	at   time.Time
	text string
	// old: the versions of the subject lapsed once, or retention ran when they were older than any window. They may be known or
	// not when the clock is put back.
	old bool
}

// content was recorded under a key.
type content struct {
	at             time.Time
	bytes, meaning journal.Hash
	// old: retention ran when it was older than any window. It may be forgotten.
	old bool
}

// place is a stored webhook.
type place struct {
	quarantined, released, duplicate bool
	first                            sinks.Position
	count                            int
	received                         time.Time
}

// call is a call of a writer: an append, or a discard.
type call struct {
	entries []journal.Entry
	discard string
}

// result is the result of a call. discarded is the number of webhooks that a discard removed.
type result struct {
	receipts  []journal.Receipt
	discarded int
	err       error
}

func newWorld() *world {
	return &world{
		last: Start, earliest: 1, contents: make(map[journal.Hash][]content), versions: make(map[journal.Hash]greatest), webhooks: make(map[string]place),
		drift: make(map[string]uint64),
	}
}

func (w *world) clone() *world {
	c := *w
	c.events = slices.Clone(w.events)
	c.contents = make(map[journal.Hash][]content, len(w.contents))
	for k, all := range w.contents {
		c.contents[k] = slices.Clone(all)
	}
	c.versions = maps.Clone(w.versions)
	c.webhooks, c.drift = maps.Clone(w.webhooks), maps.Clone(w.drift)
	return &c
}

func (w *world) next() sinks.Position { return sinks.Position(len(w.events)) + 1 }

// open begins an epoch: what was committed counts as committed now, or earlier.
func (w *world) open(now time.Time) {
	for i := range w.events {
		w.events[i].at = least(w.events[i].at, now)
	}
	for _, all := range w.contents {
		for i := range all {
			all[i].at = least(all[i].at, now)
		}
	}
	for s, v := range w.versions {
		v.at = least(v.at, now)
		w.versions[s] = v
	}
	w.last = now
}

func least(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// commit carries out a call.
func (w *world) commit(c call, now time.Time) result {
	if now.Before(w.last.Add(-time.Second)) {
		w.open(now)
	} else if now.After(w.last) {
		w.last = now
	}
	if c.discard != "" {
		p, ok := w.webhooks[c.discard]
		if !ok || !p.quarantined {
			return result{}
		}
		delete(w.webhooks, c.discard)
		return result{discarded: 1}
	}
	tried := w.clone()
	var receipts []journal.Receipt
	for _, e := range c.entries {
		r, err := tried.append(e)
		if err != nil {
			return result{err: err}
		}
		receipts = append(receipts, r)
	}
	*w = *tried
	return result{receipts: receipts}
}

// append decides on an entry as the specification says it, one sentence after the other.
func (w *world) append(e journal.Entry) (r journal.Receipt, err error) {
	id := e.Webhook.GetId()
	p, there := w.webhooks[id]
	switch e.Operation {
	case journal.Release:
		if !p.quarantined {
			return r, journal.ErrNotFound
		}
	case journal.Correct:
		if !there || p.quarantined {
			return r, journal.ErrNotFound
		}
	}
	anyAlive, sameBytes := false, false
	for _, k := range e.Keys {
		for _, c := range w.contents[k.Hash] {
			if w.last.Sub(c.at) >= k.Window {
				continue
			}
			anyAlive = true
			if c.bytes == e.Bytes {
				sameBytes, r.Duplicate = true, true
			}
			if c.meaning == e.Meaning && e.Meaning != (journal.Hash{}) {
				r.Duplicate = true
			}
		}
	}
	r.Revised = anyAlive && !r.Duplicate
	r.Kept = r.Duplicate && !sameBytes && e.Operation == journal.Receive
	w.record(e)
	if !r.Duplicate && len(e.Events) > 0 {
		r.First = w.next()
	}
	r.Stale = w.store(e, r, p)
	return r, nil
}

// record records the content under each key that has no living content with the same bytes.
func (w *world) record(e journal.Entry) {
	for _, k := range e.Keys {
		known := slices.ContainsFunc(w.contents[k.Hash], func(c content) bool {
			return c.bytes == e.Bytes && w.last.Sub(c.at) < k.Window
		})
		if !known && !k.LookupOnly {
			w.contents[k.Hash] = append(w.contents[k.Hash], content{at: w.last, bytes: e.Bytes, meaning: e.Meaning})
		}
	}
}

// publish adds the events, and returns how many are stale.
func (w *world) publish(e journal.Entry) (stale int) {
	for i, event := range e.Events {
		f := fact{id: decode(event).GetId(), at: w.last}
		if len(e.Versions) > 0 {
			f.stale = w.compare(e.Versions[i])
		}
		if f.stale {
			stale++
		}
		w.events = append(w.events, f)
	}
	return stale
}

// compare makes a version known, and reports whether a greater one was. Versions are whole numbers here.
func (w *world) compare(v journal.Version) (stale bool) {
	if v.Subject == (journal.Hash{}) {
		return false
	}
	known, ok := w.versions[v.Subject]
	if ok && w.last.Sub(known.at) >= v.Window {
		known.text, known.old = "", true
	}
	stale = len(v.Text) < len(known.text) || len(v.Text) == len(known.text) && v.Text < known.text
	if !stale {
		known.text = v.Text
	}
	known.at = w.last
	w.versions[v.Subject] = known
	return stale
}

// store adds the events and the webhook. It returns how many events are stale.
func (w *world) store(e journal.Entry, r journal.Receipt, p place) (stale int) {
	if !r.Duplicate {
		stale = w.publish(e)
	}
	if e.Operation == journal.Correct || e.Operation == journal.Receive && r.Duplicate && !r.Kept {
		return stale
	}
	if e.Operation == journal.Receive {
		p = place{quarantined: e.Webhook.GetQuarantine() != nil, received: e.Webhook.GetReceivedAt().AsTime()}
		for _, d := range e.Webhook.GetDrift() {
			w.drift[d.GetPath()]++
		}
	} else {
		if !r.Duplicate {
			for _, d := range e.NewDrift {
				w.drift[d.GetPath()]++
			}
		}
		p.quarantined, p.released = false, true
	}
	p.duplicate, p.first, p.count = r.Duplicate, r.First, len(e.Events)
	if r.Duplicate {
		p.count = 0
	}
	w.webhooks[e.Webhook.GetId()] = p
	return stale
}

// retain removes the events that were old at a time, up to the first position that a reader needs.
func (w *world) retain(believed time.Time, needed sinks.Position) {
	for w.earliest < min(needed, w.next()) && w.events[w.earliest-1].at.Before(believed.Add(-EventAge)) {
		w.earliest++
	}
	for _, all := range w.contents {
		for i := range all {
			all[i].old = all[i].old || believed.Sub(all[i].at) >= MaxWindow
		}
	}
	for s, v := range w.versions {
		v.old = v.old || believed.Sub(v.at) >= MaxWindow
		w.versions[s] = v
	}
}

// uncertain reports whether a key has a content that may be forgotten.
func (w *world) uncertain(key journal.Hash) bool {
	return slices.ContainsFunc(w.contents[key], func(c content) bool { return c.old })
}

// uncertainSubject reports whether it is uncertain which versions of a subject are known.
func (w *world) uncertainSubject(subject journal.Hash) bool { return w.versions[subject].old }

// mayForget reports whether retention may have removed a webhook by a time.
func (w *world) mayForget(p place, believed time.Time) bool {
	if p.quarantined || p.released {
		return p.received.Before(believed.Add(-QuarantineAge))
	}
	return p.received.Before(believed.Add(-EventAge)) && (p.count == 0 || p.first+sinks.Position(p.count) <= w.earliest)
}

// fingerprint tells worlds apart.
func (w *world) fingerprint() string {
	var b strings.Builder
	fmt.Fprint(&b, w.last.UnixNano(), w.earliest, w.events)
	for _, id := range slices.Sorted(maps.Keys(w.webhooks)) {
		fmt.Fprint(&b, id, w.webhooks[id])
	}
	for _, k := range slices.SortedFunc(maps.Keys(w.contents), func(a, b journal.Hash) int { return slices.Compare(a[:], b[:]) }) {
		fmt.Fprintf(&b, "%x%v", k, w.contents[k])
	}
	for _, s := range slices.SortedFunc(maps.Keys(w.versions), func(a, b journal.Hash) int { return slices.Compare(a[:], b[:]) }) {
		fmt.Fprintf(&b, "%x%v", s, w.versions[s])
	}
	fmt.Fprint(&b, w.drift)
	return b.String()
}

// distinct returns each world once.
func distinct(all []*world) (some []*world) {
	if len(all) < 2 {
		return all
	}
	known := make(map[string]bool)
	for _, w := range all {
		if f := w.fingerprint(); !known[f] {
			known[f] = true
			some = append(some, w)
		}
	}
	return some
}

// outcomes returns the worlds in which calls that overlapped in time have these results, in any order. A call that failed because
// of a crash has happened, or has not.
func (w *world) outcomes(calls []call, results []result, now time.Time) (all []*world) {
	if len(calls) == 0 {
		return []*world{w}
	}
	for i := range calls {
		rest, restResults := without(calls, i), without(results, i)
		applied := w.clone()
		got := applied.commit(calls[i], now)
		failed := results[i].err != nil && !errors.Is(results[i].err, journal.ErrNotFound)
		if failed || same(got, results[i]) {
			all = append(all, applied.outcomes(rest, restResults, now)...)
		}
		if failed {
			all = append(all, w.outcomes(rest, restResults, now)...)
		}
	}
	return all
}

func without[T any](all []T, i int) []T { return slices.Delete(slices.Clone(all), i, i+1) }

func same(a, b result) bool {
	return slices.Equal(a.receipts, b.receipts) && a.discarded == b.discarded && errors.Is(a.err, journal.ErrNotFound) == errors.Is(b.err, journal.ErrNotFound)
}
