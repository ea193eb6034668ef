package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const whenWritesFail = "When a write fails, appends get ErrUnavailable, readers stay where they are, and the log recovers by itself as soon as the storage allows it. The process lives."

var failureCases = []testCase{
	{"failed writes", whenWritesFail, failedWrites, []need{canFail}},
	{"discard while low", "Discard works while the storage is too full for appends.", discardWhileLow, []need{canBeLow}},
	{"contexts", "When the context of a call ends, the call returns its error, also while it waits.", contexts, []need{canStall}},
	{"close", "Close commits what is queued. Every call that waits, and every later one, gets sinks.ErrClosed.", closes, []need{canReopen}},
}

var archiveCases = []testCase{
	{"pages", "Continuing at the end of a page leaves out nothing and returns nothing twice.", pages, []need{hasClock}},
	{"newest", "Newest returns when the newest stored webhook of each source was received. Pings are left out.", newest, []need{hasClock}},
}

func failedWrites(t *test) {
	t.everything()
	before := t.snapshot()
	mend := t.h.Fail()
	e := t.entry(plain("failing"))
	_, err := t.journal().Append(t.ctx, e)
	t.is("append", err, journal.ErrUnavailable)
	t.equal("bounds", t.journal().Bounds(), before.Bounds)
	_, err = t.journal().AppendAll(t.ctx, t.entries(plain("x"), plain("y")))
	t.is("append all", err, journal.ErrUnavailable)
	t.eventually("health says that no append would be tried", func() bool { return !t.journal().Health().Available })
	mend()
	var r journal.Receipt
	t.persist("append again", func() (err error) {
		r, err = t.journal().Append(t.ctx, e)
		return err
	})
	t.equal("events", t.events()[:len(before.Events)], before.Events)
	var again journal.Receipt
	t.persistAcross("the same again", func() (err error) {
		again, err = t.journal().Append(t.ctx, t.entry(plain("failing")))
		return err
	})
	t.equal("the same again", again, duplicate)
	for _, j := range t.h.Instances {
		t.soonAcross(fmt.Sprintf("health is good, after %+v", r), func() bool {
			h := j.Health()
			return h.Available && h.Next >= before.Bounds.Next+1
		})
	}
}

func discardWhileLow(t *test) {
	q := t.entry(quarantined("q"))
	t.append(q)
	mend := t.h.Low()
	_, err := t.journal().Append(t.ctx, t.entry(plain("a")))
	t.is("append while the storage is nearly full", err, journal.ErrUnavailable)
	t.discards(1, q)
	mend()
	var r journal.Receipt
	t.persistAcross("append when there is room", func() (err error) {
		r, err = t.journal().Append(t.ctx, t.entry(plain("a")))
		return err
	})
	t.equal("receipt", r, journal.Receipt{First: 1})
}

func contexts(t *test) {
	t.add(plain("a"))
	t.register("held", 1, journal.Hold)
	t.claim("held")
	j := t.journal()
	t.waits("read at the end", func(ctx context.Context) error {
		_, err := j.Read(ctx, j.Bounds().Next, make([]sinks.Record, 0, 1))
		return err
	})
	t.waits("claim of a reader that has a holder", func(ctx context.Context) error {
		_, err := j.Claim(ctx, "held")
		return err
	})
	e := t.entry(plain("b"))
	held, resume := t.stall()
	t.waits("append", func(ctx context.Context) error { _, err := j.Append(ctx, e); return err })
	<-held
	t.waits("array", func(ctx context.Context) error { _, err := j.AppendAll(ctx, []journal.Entry{e}); return err })
	t.waits("discard", func(ctx context.Context) error { _, err := j.Discard(ctx, []string{e.Webhook.GetId()}); return err })
	resume(false)
	t.equal("the append was committed all the same", t.append(e), duplicate)
}

func closes(t *test) {
	t.add(plain("a"))
	reading := make(chan error, len(t.h.Instances))
	claiming := make(chan error, len(t.h.Instances))
	t.register("held", 1, journal.Hold)
	c := t.claim("held")
	for _, j := range t.h.Instances {
		go func() {
			_, err := j.Read(t.ctx, j.Bounds().Next, make([]sinks.Record, 0, 1))
			for err == nil { // appends below
				_, err = j.Read(t.ctx, j.Bounds().Next, make([]sinks.Record, 0, 1))
			}
			reading <- err
		}()
		go func() {
			next, err := j.Claim(t.ctx, "held")
			for err == nil { // the holder's instance closed first
				<-next.Lost()
				next, err = j.Claim(t.ctx, "held")
			}
			claiming <- err
		}()
	}
	var answers []*answer
	var specs []spec
	for n := range 50 {
		specs = append(specs, plain(fmt.Sprint("b", n)))
		answers = append(answers, t.appendAside(t.entry(specs[n])))
	}
	for _, j := range t.h.Instances {
		t.fail("close", j.Close())
		t.is("reader that waits", <-reading, sinks.ErrClosed)
		t.is("claim that waits", <-claiming, sinks.ErrClosed)
		t.closed(j)
	}
	t.is("save of a claim", c.Save(t.ctx, 1), journal.ErrLost)
	t.reopen()
	for n, a := range answers {
		<-a.done
		if a.err != nil && !errors.Is(a.err, sinks.ErrClosed) {
			t.fatalf("append while closing: %v", a.err)
		}
		if again := t.add(specs[n])[0]; again.Duplicate != (a.err == nil) {
			t.fatalf("append while closing: %v, and after it %+v", a.err, again)
		}
	}
}

// closed ends the case unless calls of a closed journal get ErrClosed.
func (t *test) closed(j journal.Journal) {
	e := t.entry(plain("late"))
	id := e.Webhook.GetId()
	for what, call := range map[string]func() error{
		"append":       func() error { _, err := j.Append(t.ctx, e); return err },
		"append all":   func() error { _, err := j.AppendAll(t.ctx, []journal.Entry{e}); return err },
		"discard":      func() error { _, err := j.Discard(t.ctx, []string{id}); return err },
		"read":         func() error { _, err := j.Read(t.ctx, 1, make([]sinks.Record, 0, 1)); return err },
		"seek":         func() error { _, err := j.Seek(t.ctx, t.now.Add(-time.Hour)); return err },
		"resolve":      func() error { return j.Resolve(t.ctx, sinks.Mark{Position: 1}) },
		"event":        func() error { _, err := j.EventAt(t.ctx, 1); return err },
		"committed at": func() error { _, err := j.CommittedAt(t.ctx, 1); return err },
		"webhook":      func() error { _, err := j.Webhook(t.ctx, id); return err },
		"find":         func() error { _, err := j.Find(t.ctx, journal.Query{}); return err },
		"corrections":  func() error { _, err := j.Corrections(t.ctx, id); return err },
		"drift":        func() error { _, err := j.Drift(t.ctx); return err },
		"newest":       func() error { _, err := j.Newest(t.ctx, []string{"till"}); return err },
		"claim":        func() error { _, err := j.Claim(t.ctx, "a"); return err },
		"register":     func() error { return j.Register(t.ctx, "a", 1, journal.Hold) },
		"readers":      func() error { _, err := j.Readers(t.ctx); return err },
		"parked":       func() error { _, err := j.Parked(t.ctx, "", 0, 1); return err },
		"gaps":         func() error { _, err := j.Gaps(t.ctx, ""); return err },
	} {
		t.is(what+" after closing", call(), sinks.ErrClosed)
	}
	if j.Health().Available {
		t.fatalf("an append would be tried by a closed journal")
	}
}

func pages(t *test) {
	var want, waiting []string
	for n := range 10 {
		s := plain(fmt.Sprint("a", n))
		if n%3 == 1 {
			s = quarantined(s.bytes)
		}
		t.advance(time.Millisecond)
		e := t.entry(s)
		t.append(e)
		want = append(want, e.Webhook.GetId())
		if s.quarantined {
			waiting = append(waiting, e.Webhook.GetId())
		}
	}
	for limit := 1; limit <= 11; limit += 2 {
		t.equal("all", t.pages(journal.Query{Limit: limit}), want)
		t.equal("between two", t.pages(journal.Query{Limit: limit, After: want[1], Before: want[7]}), want[2:7])
		t.equal("in quarantine", t.pages(journal.Query{Limit: limit, Quarantined: true}), waiting)
		t.equal("few at once", t.pages(journal.Query{Limit: limit, Scan: 2, Quarantined: true}), waiting)
		backwards := slices.Clone(want)
		slices.Reverse(backwards)
		t.equal("backwards", t.pages(journal.Query{Limit: limit, Backwards: true}), backwards)
	}
}

func (t *test) pages(q journal.Query) (ids []string) {
	for {
		page, err := t.journal().Find(t.ctx, q)
		t.fail("find", err)
		for _, w := range page.Webhooks {
			ids = append(ids, w.GetId())
		}
		if page.Next == "" {
			return ids
		}
		if q.Backwards {
			q.Before = page.Next
		} else {
			q.After = page.Next
		}
	}
}

func newest(t *test) {
	t.add(plain("a"), quarantined("b"))
	t.advance(time.Minute)
	t.add(quarantined("c"))
	want := t.now
	t.advance(time.Minute)
	t.add(spec{keys: []string{"d"}, bytes: "d", ping: true})
	got, err := t.journal().Newest(t.ctx, []string{"till", "another"})
	t.fail("newest", err)
	for source, at := range got {
		got[source] = at.UTC()
	}
	t.equal("newest", got, map[string]time.Time{"till": want})
}
