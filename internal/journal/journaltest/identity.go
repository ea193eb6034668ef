package journaltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
)

var identityCases = []testCase{
	{"window", "A content is alive until the key's window has passed since it was committed, and not longer.", windows, []need{hasClock}},
	{"same bytes", "An entry is a duplicate if one of its keys has a living content with the same bytes, or with the same meaning. No event is added.", sameBytes, nil},
	{"same meaning", "An entry is a duplicate if one of its keys has a living content with the same bytes, or with the same meaning. No event is added.", sameMeaning, nil},
	{"no meaning", "A meaning of zero equals no other. Then bytes alone tell contents apart.", noMeaning, nil},
	{"revision", "An entry that is not a duplicate is a revision if one of its keys has a living content. Its events are added, and its receipt says Revised.", revision, nil},
	{"new", "Every other entry is new.", newEntries, []need{hasClock}},
	{"kept", "A received webhook that is a duplicate by meaning, and whose bytes none of its keys knows, is stored without events and marked as a duplicate. Its receipt says Kept.", kept, nil},
	{"recorded", "Whatever the outcome, the content is recorded, with the time of the commit, under each key that has no living content with the same bytes.", recorded, []need{hasClock}},
	{"revision outlives its base", "Whatever the outcome, the content is recorded, with the time of the commit, under each key that has no living content with the same bytes.", outlivesBase, []need{hasClock}},
	{"not renewed", "A content that is known is not renewed.", notRenewed, []need{hasClock}},
	{"lookup only", "Nothing is recorded under a key that is LookupOnly.", lookupOnly, nil},
	{"at the same instant", "All of this holds for entries that arrive at the same instant, in any number of calls, and across crashes: the outcome is that of the same entries one after the other.", atOnce, nil},
	{"across crashes", "All of this holds for entries that arrive at the same instant, in any number of calls, and across crashes: the outcome is that of the same entries one after the other.", acrossCrashes, []need{canCrash}},
	{"duplicate of what is pending", "A duplicate is acknowledged when the entry that it repeats is durable. If that entry fails, the duplicate fails too.", pendingDuplicate, []need{canStall}},
	{"array in order", "In an AppendAll each entry is decided as if those before it were committed.", arrayInOrder, nil},
	{"many contents", "Under one key at least the 256 newest contents are known.", manyContents, []need{hasClock}},
}

var (
	duplicate     = journal.Receipt{Duplicate: true}
	keptDuplicate = journal.Receipt{Duplicate: true, Kept: true}
)

// expect appends entries, and ends the case unless their receipts are as given.
func (t *test) expect(what string, all []spec, want ...journal.Receipt) {
	t.equal(what, t.add(all...), want)
}

func windows(t *test) {
	for n, w := range []time.Duration{time.Second, 90 * time.Minute, MaxWindow} {
		s := plain(fmt.Sprint("a", n)).lasting(w)
		first := t.append(t.entry(s))
		t.advance(w - 1)
		t.expect("just within the window", []spec{s}, duplicate)
		t.advance(1)
		t.expect("after the window", []spec{s}, journal.Receipt{First: first.First + 1})
	}
	long := plain("b").lasting(MaxWindow)
	t.add(long)
	t.advance(2 * time.Second)
	t.expect("another content, with a short window", []spec{long.with("c", "c").lasting(time.Second)}, journal.Receipt{First: 8})
	t.expect("the first content", []spec{long}, duplicate)
}

func sameBytes(t *test) {
	a := plain("a").under("a1", "a2")
	t.add(a)
	for _, key := range a.keys {
		t.expect("by one of its keys", []spec{a.under("other "+key, key).with("a", "another meaning")}, duplicate)
	}
	t.expect("the key alone", []spec{a.under("a1")}, duplicate)
	t.equal("events", len(t.events()), 1)
	t.equal("webhooks", len(t.webhooks(false)), 1)
}

func sameMeaning(t *test) {
	a := plain("a").under("a1", "a2")
	t.add(a)
	for _, key := range a.keys {
		if r := t.add(a.under("other "+key, key).with("other bytes "+key, "a"))[0]; !r.Duplicate || r.First != 0 {
			t.fatalf("by one of its keys: %+v", r)
		}
	}
	t.equal("events", len(t.events()), 1)
}

func noMeaning(t *test) {
	a := plain("a").with("a", "")
	t.expect("with and without", []spec{a, a, a.with("b", ""), a.with("b", ""), a.with("a", "meaning")},
		journal.Receipt{First: 1}, duplicate, journal.Receipt{First: 2, Revised: true}, duplicate, duplicate)
}

func revision(t *test) {
	a := plain("a").under("a1", "a2")
	t.expect("revisions", []spec{
		a,
		a.with("b", "b"), a.with("b", "b"),
		a.under("a2", "new").with("c", "c").adding(2),
		a.under("new").with("c", "c"),
		a.under("a1").with("c", "c"),
		a,
	}, journal.Receipt{First: 1}, journal.Receipt{First: 2, Revised: true}, duplicate, journal.Receipt{First: 3, Revised: true},
		duplicate, journal.Receipt{First: 5, Revised: true}, duplicate)
}

func newEntries(t *test) {
	a := plain("a")
	t.expect("under other keys", []spec{a, a.under("b"), a.under("c", "d")},
		journal.Receipt{First: 1}, journal.Receipt{First: 2}, journal.Receipt{First: 3})
	t.advance(window)
	t.expect("after the window", []spec{a.with("b", "b"), a.under("b")}, journal.Receipt{First: 4}, journal.Receipt{First: 5})
}

func kept(t *test) {
	a := plain("a").under("a1", "a2")
	t.add(a)
	again := t.entry(a.with("other bytes", "a"))
	t.equal("receipt", t.append(again), keptDuplicate)
	t.equal("webhook", t.webhook(again.Webhook.GetId()), stored(again, keptDuplicate))
	t.expect("the same bytes once more", []spec{a.with("other bytes", "a")}, duplicate)
	t.equal("webhooks", len(t.webhooks(false)), 2)
	t.equal("events", len(t.events()), 1)
}

func recorded(t *test) {
	a := plain("a").lasting(10 * time.Hour)
	t.add(a)
	t.advance(4 * time.Hour)
	t.expect("a duplicate with another key", []spec{a.under("a", "later")}, duplicate)
	t.expect("a duplicate by meaning", []spec{a.with("kept", "a")}, keptDuplicate)
	for _, s := range []spec{a.under("later"), a.with("kept", "none")} {
		t.expect("what a duplicate recorded", []spec{s}, duplicate)
	}
	t.advance(6*time.Hour - 1)
	t.expect("all of it", []spec{a, a.under("later"), a.with("kept", "none")}, duplicate, duplicate, duplicate)
	t.advance(1)
	for key, want := range map[string]bool{"a": false, "later": true} {
		if got := t.knowsFor(key, a.with("a", ""), 10*time.Hour); got != want {
			t.fatalf("ten hours after the first commit key %q knows the content: %v", key, got)
		}
	}
	if !t.knowsFor("a", a.with("kept", ""), 10*time.Hour) {
		t.fatalf("a content that a duplicate recorded went with the first one")
	}
	t.advance(4 * time.Hour)
	if t.knowsFor("later", a.with("a", ""), 10*time.Hour) || t.knowsFor("a", a.with("kept", ""), 10*time.Hour) {
		t.fatalf("a content is known after its own window")
	}
}

func outlivesBase(t *test) {
	a := plain("a").lasting(10 * time.Hour)
	t.add(a)
	t.advance(9 * time.Hour)
	b := a.with("b", "b")
	t.expect("revision", []spec{b}, journal.Receipt{First: 2, Revised: true})
	t.advance(2 * time.Hour)
	t.expect("the revision again, after the key's first content expired", []spec{b}, duplicate)
	t.expect("the first content again", []spec{a}, journal.Receipt{First: 3, Revised: true})
}

func notRenewed(t *test) {
	a := plain("a").lasting(10 * time.Hour)
	t.add(a)
	for range 3 {
		t.advance(3 * time.Hour)
		t.expect("within the window", []spec{a}, duplicate)
	}
	t.advance(time.Hour)
	t.expect("after the window", []spec{a}, journal.Receipt{First: 2})
}

func lookupOnly(t *test) {
	a := plain("a")
	t.add(a)
	send := func(s spec, old string) journal.Receipt {
		e := t.entry(s)
		e.Keys = append(e.Keys, journal.Key{Hash: hash("key", old), Window: window, LookupOnly: true})
		return t.append(e)
	}
	t.equal("a look-up finds", send(a.under("b"), "a"), duplicate)
	t.equal("a look-up that finds nothing", send(a.under("c").with("c", "c"), "old"), journal.Receipt{First: 2})
	t.expect("nothing was recorded", []spec{a.under("old").with("c", "c")}, journal.Receipt{First: 3})
	t.equal("a look-up finds another content", send(a.under("d").with("d", "d"), "a"), journal.Receipt{First: 4, Revised: true})
	t.expect("nothing was recorded beside it", []spec{a.with("d", "d")}, journal.Receipt{First: 5, Revised: true})
}

// atOnce has senders race with an array and with each other. The array has two revisions of one key; each of them comes alone
// too. Whatever the order, each content makes one event.
func atOnce(t *test) {
	for n := range 50 {
		a := plain(fmt.Sprint("a", n))
		b, c := a.with(a.bytes+"b", a.bytes+"b"), a.with(a.bytes+"c", a.bytes+"c")
		before := t.journal().Bounds().Next
		calls := [][]journal.Entry{t.entries(a, b), t.entries(b), t.entries(a), t.entries(c, a), t.entries(c.under(a.keys[0], "second"+a.bytes))}
		var mu sync.Mutex
		var all []journal.Receipt
		var failed []error
		var wg sync.WaitGroup
		for _, entries := range calls {
			j := t.journal()
			wg.Go(func() {
				receipts, err := j.AppendAll(t.ctx, entries)
				mu.Lock()
				defer mu.Unlock()
				all, failed = append(all, receipts...), append(failed, err)
			})
		}
		wg.Wait()
		t.fail("append", errors.Join(failed...))
		added, revised := 0, 0
		for _, r := range all {
			if !r.Duplicate {
				added++
			}
			if r.Revised {
				revised++
			}
		}
		if next := t.journal().Bounds().Next; added != 3 || revised != 2 || next != before+3 {
			t.fatalf("three contents of one key made %d events, %d of them revisions; the log grew by %d", added, revised, next-before)
		}
	}
}

func acrossCrashes(t *test) {
	for n := range maxCrashes {
		a := plain(fmt.Sprint("a", n))
		a.keys = append(a.keys, "second"+a.bytes)
		b := a.with("b"+a.bytes, "b"+a.bytes).under("second"+a.bytes, "third"+a.bytes)
		for _, s := range []spec{a, b} {
			e := t.entry(s)
			var err error
			j := t.journal()
			t.crash(n, func() { _, err = j.Append(t.ctx, e) })
			again := t.append(t.entry(s))
			if err == nil && !again.Duplicate {
				t.fatalf("acknowledged, and after a crash %+v", again)
			}
			if !again.Duplicate && again.Revised != (s.bytes == b.bytes) {
				t.fatalf("after a crash %+v", again)
			}
		}
		t.expect("both again", []spec{a, b, b.under("second"+a.bytes, a.bytes).with("kept"+a.bytes, b.meaning)}, duplicate, duplicate, keptDuplicate)
		t.equal("events", len(t.events()), 2*(n+1))
	}
}

func pendingDuplicate(t *test) {
	t.add(plain("before"))
	acknowledged := false
	for n, fail := range []bool{false, true} {
		a := plain(fmt.Sprint("a", n))
		for _, j := range t.h.Instances { // the duplicates whose callers gave up are committed then
			_, err := j.Append(t.ctx, t.entry(plain("before")))
			t.fail("append of a duplicate", err)
		}
		held, resume := t.stall()
		original := t.appendAside(t.entry(a))
		<-held
		early := t.entry(a)
		for _, j := range t.h.Instances {
			t.waits("a duplicate of what is not durable", func(ctx context.Context) error {
				_, err := j.Append(ctx, early)
				return err
			})
		}
		again := t.appendAside(t.entry(a))
		t.waits("another duplicate", func(ctx context.Context) error { // again is under way
			_, err := t.journal().Append(ctx, early)
			return err
		})
		resume(fail)
		<-original.done
		<-again.done
		if fail {
			t.is("the entry whose commit failed", original.err, journal.ErrUnavailable)
			acknowledged = again.err == nil && again.receipt.Duplicate
			if !acknowledged || t.h.Certain { // otherwise the entry must be there
				t.is("its duplicate", again.err, journal.ErrUnavailable)
			}
			continue
		}
		t.fail("append", errors.Join(original.err, again.err))
		t.equal("receipts", []journal.Receipt{original.receipt, again.receipt}, []journal.Receipt{{First: 2}, duplicate})
	}
	var last journal.Receipt
	t.persist("append again", func() (err error) {
		last, err = t.journal().Append(t.ctx, t.entry(plain("a1")))
		return err
	})
	if acknowledged {
		t.equal("append again of what a duplicate was acknowledged for", last, duplicate)
	}
	t.equal("events", len(t.events()), 3)
}

func arrayInOrder(t *test) {
	a := plain("a")
	b := a.with("b", "b")
	t.equal("array", t.appendAll(t.entries(a, a, b, b.with("b again", "b"), a.under("a", "a2"), plain("c"), a.under("a2").with("d", "d"))...), []journal.Receipt{
		{First: 1}, duplicate, {First: 2, Revised: true}, keptDuplicate, duplicate, {First: 3}, {First: 4, Revised: true},
	})
	t.equal("events", len(t.events()), 4)
	t.expect("once more", []spec{a, b, b.with("b again", ""), a.under("a2").with("d", "")}, duplicate, duplicate, duplicate, duplicate)
}

func manyContents(t *test) {
	const batch, batches = 50, 6 // of the 256 newest, the last five batches have 250
	a := plain("a")
	content := func(i int) spec { return a.with(fmt.Sprint("bytes", i), fmt.Sprint("meaning", i)) }
	for n := range batches {
		var some []spec
		for i := range batch {
			some = append(some, content(n*batch+i))
		}
		t.appendAll(t.entries(some...)...)
		t.advance(time.Millisecond)
	}
	for i := batch; i < batch*batches; i += 3 {
		if !t.knows("a", content(i)) {
			t.fatalf("of %d contents the %dth is not known", batch*batches, i+1)
		}
	}
}
