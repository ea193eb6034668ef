package journaltest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

var durabilityCases = []testCase{
	{"acknowledged", "An entry whose append returned without an error survives every crash: its webhook, all its events, and its content under each of its keys.", acknowledged, []need{canCrash}},
	{"reopened", "An entry whose append returned without an error survives every crash: its webhook, all its events, and its content under each of its keys.", reopened, []need{canReopen}},
	{"whole or not at all", "An entry exists whole or not at all, also when its append returned an error.", whole, []need{canCrash}},
	{"array whole or not at all", "The entries of one AppendAll exist all, except duplicates, or none of them does.", wholeArray, []need{canCrash}},
	{"shown", "Everything that a reader was shown survives every crash, with the same content, at the same position. This holds for events, bounds, positions that Seek found, webhooks, pages of webhooks, corrections, drift, parked events and gaps.", shown, []need{canCrash}},
	{"not shown before it is durable", "Nothing is shown, and no append returns, before it is durable.", unshown, []need{canStall, canCrash}},
	{"drift", "Drift counts cover exactly the webhooks that were stored, each once, and the new drift of those that were released.", drift, []need{canCrash}},
}

// maxCrashes bounds the crashes that a case makes within an operation.
const maxCrashes = 12

func acknowledged(t *test) {
	kinds := map[string]spec{
		"one key":      plain("a"),
		"several keys": plain("b").under("b1", "b2", "b3").adding(3),
		"no events":    plain("c").adding(0),
		"quarantined":  quarantined("d"),
	}
	for _, n := range []int{0, 1} {
		for name, s := range kinds {
			name = fmt.Sprint(name, n)
			s.bytes += name
			if s.meaning != "" {
				s.meaning += name
			}
			s.keys = append([]string{name}, s.keys...)
			e := t.entry(s)
			r := t.append(e)
			t.crash(n, nil)
			t.equal("webhook after a crash", t.webhook(e.Webhook.GetId()), stored(e, r))
			t.hasEvents(e, r.First)
			for _, key := range s.keys {
				if !t.knows(key, s) {
					t.fatalf("%s: a key is not known after a crash", name)
				}
			}
		}
	}
}

// hasEvents ends the case unless the events of an entry are there, at consecutive positions.
func (t *test) hasEvents(e journal.Entry, first sinks.Position) {
	for i, encoded := range e.Events {
		got, err := t.journal().EventAt(t.ctx, first+sinks.Position(i))
		t.fail("event", err)
		t.equal("event", got, decode(encoded))
	}
}

func reopened(t *test) {
	s := plain("a").under("a1", "a2").adding(2)
	e := t.entry(s)
	r := t.append(e)
	t.reopen()
	t.equal("webhook", t.webhook(e.Webhook.GetId()), stored(e, r))
	t.hasEvents(e, r.First)
	t.equal("the same again", t.add(s.under("a2"), s), []journal.Receipt{{Duplicate: true}, {Duplicate: true}})
}

// present reports whether an entry is there. It ends the case if it is there in part.
func (t *test) present(e journal.Entry, s spec) bool {
	_, err := t.journal().Webhook(t.ctx, e.Webhook.GetId())
	there := err == nil
	if !there {
		t.is("webhook", err, journal.ErrNotFound)
	}
	events := 0
	for _, event := range t.events() {
		if event.GetWebhookId() == e.Webhook.GetId() {
			events++
		}
	}
	if there && events != len(e.Events) || !there && events > 0 {
		t.fatalf("the webhook is there: %v, with %d of %d events", there, events, len(e.Events))
	}
	for _, key := range s.keys {
		if t.knows(key, s) != there {
			t.fatalf("the webhook is there: %v; key %s knows it: %v", there, key, !there)
		}
	}
	return there
}

func whole(t *test) {
	for n := range maxCrashes {
		s := plain(fmt.Sprint("a", n)).adding(3)
		s.keys = append(s.keys, fmt.Sprint("b", n), fmt.Sprint("c", n))
		e := t.entry(s)
		var err error
		j := t.journal()
		t.crash(n, func() { _, err = j.Append(t.ctx, e) })
		if there := t.present(e, s); err == nil && !there {
			t.fatalf("acknowledged and not there after a crash at write %d", n)
		}
	}
}

func wholeArray(t *test) {
	known := plain("known").adding(2)
	t.add(known)
	for n := range maxCrashes {
		a, b := plain(fmt.Sprint("a", n)).adding(3), plain(fmt.Sprint("b", n))
		entries := t.entries(a, known, b)
		var err error
		j := t.journal()
		t.crash(n, func() { _, err = j.AppendAll(t.ctx, entries) })
		first, last := t.present(entries[0], a), t.present(entries[2], b)
		if first != last {
			t.fatalf("after a crash at write %d the first entry is there: %v, and the last: %v", n, first, last)
		}
		if err == nil && !first {
			t.fatalf("acknowledged and not there after a crash at write %d", n)
		}
		_, err = t.journal().Webhook(t.ctx, entries[1].Webhook.GetId())
		t.is("webhook of a duplicate", err, journal.ErrNotFound)
	}
}

// everything adds something of every kind.
func (t *test) everything() {
	e := t.entry(plain("a").adding(3).drifting("$.new"))
	t.append(e)
	q := t.entries(quarantined("q1"), quarantined("q2"))
	t.appendAll(q...)
	t.append(releaseOf(q[0], 2, t.now, "released"))
	t.append(correctionOf(e, "corrected", 2, 0))
	t.register("reader", 1, journal.Hold)
	c := t.claim("reader")
	_, err := c.RecordGap(t.ctx, 1, 3)
	t.fail("gap", err)
	t.fail("park", c.Park(t.ctx, parked(4, "refused")))
	t.fail("release", c.Release(t.ctx))
}

func shown(t *test) {
	t.everything()
	for n := range 4 {
		before := t.snapshot()
		t.crash(n, nil)
		t.equal("after a crash", t.snapshot(), before)
		t.add(plain(fmt.Sprint("more", n)))
	}
}

func unshown(t *test) {
	t.everything()
	before := t.snapshot()
	late := plain("late").drifting("$.late")
	e := t.entry(late)
	held, resume := t.stall()
	t.waits("append", func(ctx context.Context) error {
		_, err := t.journal().Append(ctx, e)
		return err
	})
	<-held
	for _, j := range t.h.Instances {
		t.unchanged(j, before, e)
	}
	t.crash(0, func() { resume(true) })
	after := t.snapshot()
	if !t.h.Certain && int(after.Bounds.Next-before.Bounds.Next) == len(e.Events) { // what was not acknowledged may be there, whole
		if !t.present(e, late) {
			t.fatalf("there are more events, and not the webhook")
		}
		after, before = snapshot{Events: after.Events[:len(before.Events)]}, snapshot{Events: before.Events}
	}
	t.equal("after the crash", after, before)
}

// unchanged ends the case if an instance shows an entry that is not durable.
func (t *test) unchanged(j journal.Journal, before snapshot, e journal.Entry) {
	t.equal("bounds", j.Bounds(), before.Bounds)
	t.unseen("webhook", func(ctx context.Context) (any, error) {
		_, err := j.Webhook(ctx, e.Webhook.GetId())
		return nil, err
	}, nil)
	t.unseen("page", func(ctx context.Context) (any, error) {
		p, err := j.Find(ctx, journal.Query{})
		return len(p.Webhooks), err
	}, len(before.Webhooks))
	t.unseen("drift", func(ctx context.Context) (any, error) {
		d, err := j.Drift(ctx)
		return len(d), err
	}, len(before.Drift))
	t.unseen("event", func(ctx context.Context) (any, error) {
		got, err := j.Read(ctx, before.Bounds.Next, make([]sinks.Record, 0, 1))
		return len(got), err
	}, 0)
}

// unseen ends the case if a read returns something else than before. It may as well fail.
func (t *test) unseen(what string, read func(context.Context) (any, error), before any) {
	ctx, cancel := context.WithTimeout(t.ctx, soon)
	defer cancel()
	got, err := read(ctx)
	if err == nil && !reflect.DeepEqual(got, before) || err == nil && before == nil {
		t.fatalf("%s shows %v, which is not durable", what, got)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, journal.ErrNotFound) {
		t.fatalf("%s: %v", what, err)
	}
}

func drift(t *test) {
	a := plain("a").drifting("$.x", "$.y")
	t.add(a, a, plain("b").drifting("$.x"))
	t.add(a.with("other bytes", "a"))                         // kept
	t.add(a.with("a", "a"), quarantined("q").drifting("$.y")) // a duplicate; stored in quarantine
	t.appendAll(t.entries(a, plain("c").drifting("$.x"))...)  // a duplicate, and another one
	want := map[string]uint64{"$.x": 4, "$.y": 3}
	t.equal("drift", t.driftCounts(), want)
	t.crash(0, nil)
	t.equal("drift after a crash", t.driftCounts(), want)
	for n := range maxCrashes {
		e := t.entry(plain(fmt.Sprint("d", n)).drifting("$.z"))
		j := t.journal()
		t.crash(n, func() { _, _ = j.Append(t.ctx, e) })
		if _, err := t.journal().Webhook(t.ctx, e.Webhook.GetId()); err == nil {
			want["$.z"]++
		}
		t.equal("drift after a crash", t.driftCounts(), want)
	}
}
