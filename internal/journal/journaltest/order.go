package journaltest

import (
	"fmt"
	"sync"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

var orderCases = []testCase{
	{"dense positions", "Positions start at 1 and are dense: one for each event, in the order of commit. The events of an entry are neighbours.", dense, nil},
	{"positions after a crash", "A position that was acknowledged or shown never means another event: not after a crash, not after a failed write, and not when retention has removed all events.", positionsAfterCrash, []need{canCrash}},
	{"positions after a failed write", "A position that was acknowledged or shown never means another event: not after a crash, not after a failed write, and not when retention has removed all events.", positionsAfterFailure, []need{canFail}},
	{"positions after retention", "A position that was acknowledged or shown never means another event: not after a crash, not after a failed write, and not when retention has removed all events.", positionsAfterRetention, []need{canRetain, hasClock, canReopen}},
	{"bounds", "Bounds never go back.", boundsNeverBack, []need{canReopen, canRetain, hasClock}},
}

func dense(t *test) {
	t.equal("bounds at first", t.journal().Bounds(), sinks.Bounds{Earliest: 1, Next: 1})
	t.equal("receipts", t.add(plain("a").adding(2), plain("b").adding(0), plain("c")), []journal.Receipt{{First: 1}, {}, {First: 3}})
	array := t.appendAll(t.entries(plain("d").adding(2), quarantined("e"), plain("f"))...)
	t.equal("array", array, []journal.Receipt{{First: 4}, {}, {First: 6}})
	const writers, each = 4, 10
	var entries [writers][each]journal.Entry
	for i := range entries {
		for k := range entries[i] {
			entries[i][k] = t.entry(plain(fmt.Sprint(i, "/", k)).adding(3))
		}
	}
	var wg sync.WaitGroup
	var receipts [writers][each]journal.Receipt
	errs := make(chan error, writers*each)
	for i := range entries {
		j := t.journal()
		wg.Go(func() {
			for k, e := range entries[i] {
				r, err := j.Append(t.ctx, e)
				receipts[i][k] = r
				errs <- err
			}
		})
	}
	wg.Wait()
	for range writers * each {
		t.fail("append", <-errs)
	}
	t.equal("bounds", t.journal().Bounds(), sinks.Bounds{Earliest: 1, Next: 7 + 3*writers*each})
	for i := range entries {
		for k, e := range entries[i] {
			t.hasEvents(e, receipts[i][k].First)
			if k > 0 && receipts[i][k].First < receipts[i][k-1].First {
				t.fatalf("an entry lies before the one that was committed before it")
			}
		}
	}
}

// placed remembers events by their positions, and ends the case when one means another event.
type placed map[sinks.Position]string

func (p placed) check(t *test) {
	for _, r := range t.records(t.journal()) {
		e, err := r.Event()
		t.fail("event", err)
		name := nameOf(e)
		if known, ok := p[r.Position]; ok && known != name {
			t.fatalf("position %d meant %s, and means %s", r.Position, known, name)
		}
		p[r.Position] = name
	}
}

// nameOf tells events apart, and marks stale ones.
func nameOf(e *eventv1.Event) string { return factName(e.GetId(), e.GetStale()) }

func factName(id string, stale bool) string {
	if stale {
		return id + " stale"
	}
	return id
}

func (p placed) note(e journal.Entry, r journal.Receipt) {
	for i, encoded := range e.Events {
		p[r.First+sinks.Position(i)] = decode(encoded).GetId()
	}
}

func positionsAfterCrash(t *test) {
	known := make(placed)
	for n := range maxCrashes {
		e := t.entry(plain(fmt.Sprint("a", n)).adding(2))
		j := t.journal()
		t.crash(n, func() {
			if r, err := j.Append(t.ctx, e); err == nil {
				known.note(e, r)
			}
		})
		known.check(t)
		e = t.entry(plain(fmt.Sprint("b", n)))
		known.note(e, t.append(e))
		known.check(t)
	}
}

func positionsAfterFailure(t *test) {
	known := make(placed)
	for n := range 4 {
		e := t.entry(plain(fmt.Sprint("a", n)))
		known.note(e, t.append(e))
		mend := t.h.Fail()
		_, err := t.journal().Append(t.ctx, t.entry(plain(fmt.Sprint("failing", n))))
		t.is("append while writes fail", err, journal.ErrUnavailable)
		mend()
		e = t.entry(plain(fmt.Sprint("b", n)))
		t.persist("append", func() error {
			r, err := t.journal().Append(t.ctx, e)
			if err == nil && !r.Duplicate {
				known.note(e, r)
			}
			return err
		})
		known.check(t)
	}
}

func positionsAfterRetention(t *test) {
	t.add(plain("a").adding(3))
	t.advance(EventAge + time.Hour)
	t.retain()
	want := sinks.Bounds{Earliest: 4, Next: 4}
	t.equal("bounds", t.journal().Bounds(), want)
	t.reopen()
	t.equal("bounds after reopening", t.journal().Bounds(), want)
	t.equal("receipt", t.add(plain("b")), []journal.Receipt{{First: 4}})
}

func boundsNeverBack(t *test) {
	last := make([]sinks.Bounds, len(t.h.Instances))
	check := func() {
		for i, j := range t.h.Instances {
			b := j.Bounds()
			if b.Earliest < last[i].Earliest || b.Next < last[i].Next || b.Next < b.Earliest {
				t.fatalf("bounds went from %+v to %+v", last[i], b)
			}
			last[i] = b
		}
	}
	for n := range 8 {
		t.add(plain(fmt.Sprint("a", n)))
		check()
		t.advance(EventAge / 3)
		t.retain()
		check()
		if n%2 == 0 {
			for i := range t.h.Instances {
				t.h.Instances[i] = t.h.Reopen(i)
				check()
			}
		}
		if n == 6 {
			t.advance(2 * EventAge)
			t.retain()
			check()
		}
	}
	if b := t.journal().Bounds(); b.Next != 9 || b.Earliest < 8 {
		t.fatalf("bounds are %+v in the end", b)
	}
}
