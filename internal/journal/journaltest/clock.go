package journaltest

import (
	"context"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	earlierMark = "A mark can be resolved in every later state of the same log, until retention has removed the events at its position; from then on it is ErrExpired."
	restored    = "A log that was restored from an older copy refuses a mark of the state that was lost: ErrForked, or ErrFuture while the log is shorter. It accepts a mark of a state that the copy contains."
	clockBack   = "What was committed before the clock was put back counts as committed then, or when the clock was put back, whichever reads earlier. So a content stays alive across a step back, and its window ends at the latest one window after it."
)

var epochCases = []testCase{
	{"epochs", "Every opening of the log begins an epoch. So does a clock that was put back by more than a second.", epochs, []need{canReopen, hasClock}},
	{"marks", earlierMark, marks, []need{canReopen, canCrash, hasClock, canRetain}},
	{"marks of a lost future", restored, lostFuture, []need{canBackup}},
	{"marks without an epoch", "A mark without an epoch, from an older version, is checked against the bounds alone.", oldMarks, []need{canRetain, hasClock}},
}

var clockCases = []testCase{
	{"a small step back", "Within an epoch time does not go back: a step back of up to a second is waited out.", smallStep, []need{hasClock}},
	{"back by 30 minutes", clockBack, back(30 * time.Minute), []need{hasClock}},
	{"back by 40 minutes over the hour", clockBack, back(40 * time.Minute), []need{hasClock}},
	{"back by two hours", clockBack, back(2 * time.Hour), []need{hasClock}},
	{"back by three hours", clockBack, back(3 * time.Hour), []need{hasClock}},
	{"back while closed", clockBack, backWhileClosed, []need{hasClock, canReopen}},
	{"a year ahead", "What was committed while the clock was ahead counts as committed when the clock came back. What was committed before keeps its age.", yearAhead, []need{hasClock, canRetain}},
	{"a year ahead twice", "What was committed while the clock was ahead counts as committed when the clock came back. What was committed before keeps its age.", aheadTwice, []need{hasClock}},
	{"time of commit", "CommittedAt never decreases with the position.", committedAt, []need{hasClock, canReopen}},
	{"two looks", "Retention by age removes only what was old at two looks at the clock, a minute apart.", twoLooks, []need{hasClock, canRetain}},
}

// end is the mark at the end of the log.
func (t *test) end() sinks.Mark {
	j := t.journal()
	return j.Mark(j.Bounds().Next)
}

func epochs(t *test) {
	seen := make(map[sinks.Epoch]bool)
	fresh := func(what string) {
		t.add(plain(what))
		m := t.end()
		if m.Epoch == 0 || seen[m.Epoch] {
			t.fatalf("%s: epoch %x was there before", what, m.Epoch)
		}
		seen[m.Epoch] = true
		t.add(plain(what + ", once more"))
		if again := t.end(); again.Epoch != m.Epoch {
			t.fatalf("%s: epoch %x became %x without a reason", what, m.Epoch, again.Epoch)
		}
	}
	fresh("at first")
	t.reopen()
	fresh("reopened")
	t.advance(-time.Second - 1)
	fresh("put back")
	t.advance(-time.Hour)
	fresh("put back again")
}

func marks(t *test) {
	all := []sinks.Mark{t.journal().Mark(1)}
	resolved := func() {
		for _, m := range all {
			var want error
			if m.Position < t.journal().Bounds().Earliest {
				want = sinks.ErrExpired
			}
			t.is(fmt.Sprintf("mark %+v", m), t.journal().Resolve(t.ctx, m), want)
		}
	}
	change := []func(){
		func() {},
		func() { t.reopen() },
		func() { t.advance(-2 * time.Hour) },
		func() { t.crash(0, nil) },
		func() { t.crash(1, nil) },
		func() { t.advance(3 * time.Hour) },
		func() { t.advance(-2 * time.Hour); t.reopen() },
	}
	for n, do := range change {
		do()
		resolved()
		for i := range 2 {
			t.add(plain(fmt.Sprint(n, "/", i)))
			all = append(all, t.end())
			resolved()
		}
	}
	for range 3 {
		t.advance(EventAge / 2)
		t.retain()
		resolved()
	}
	t.equal("everything has expired", t.journal().Bounds(), sinks.Bounds{Earliest: 15, Next: 15})
}

func lostFuture(t *test) {
	t.add(plain("a"), plain("b"))
	held := []sinks.Mark{t.journal().Mark(1), t.journal().Mark(2), t.end()}
	restore := t.h.Backup(t.journal())
	t.add(plain("c"), plain("d"))
	lost := []sinks.Mark{t.journal().Mark(4), t.end()}
	j := restore()
	check := func(all []sinks.Mark, want error) {
		for _, m := range all {
			t.is(fmt.Sprintf("mark %+v", m), j.Resolve(t.ctx, m), want)
		}
	}
	check(held, nil)
	for _, m := range lost {
		if err := j.Resolve(t.ctx, m); err == nil {
			t.fatalf("mark %+v of what was lost is accepted", m)
		}
	}
	for n := range 4 {
		_, err := j.Append(t.ctx, t.entry(plain(fmt.Sprint("other", n))))
		t.fail("append", err)
	}
	check(held, nil)
	check(lost, sinks.ErrForked)
	check([]sinks.Mark{j.Mark(4), j.Mark(7)}, nil)
	t.equal("the id", j.ID(), t.journal().ID())
}

func oldMarks(t *test) {
	t.add(plain("a"))
	t.advance(2 * time.Hour)
	t.add(plain("b"))
	check := func(want ...error) {
		for p, err := range want {
			t.is(fmt.Sprint("mark ", p), t.journal().Resolve(t.ctx, sinks.Mark{Position: sinks.Position(p)}), err)
		}
	}
	check(sinks.ErrExpired, nil, nil, nil, sinks.ErrFuture)
	t.advance(EventAge - time.Hour)
	t.retain()
	check(sinks.ErrExpired, sinks.ErrExpired, nil, nil, sinks.ErrFuture)
}

func (t *test) committed(p sinks.Position) time.Time {
	at, err := t.journal().CommittedAt(t.ctx, p)
	t.fail("committed at", err)
	return at.UTC()
}

func smallStep(t *test) {
	t.add(plain("a"))
	first, epoch := t.committed(1), t.end().Epoch
	t.advance(-time.Second)
	t.add(plain("b"))
	t.equal("time of the first commit", t.committed(1), first)
	t.equal("time of the second commit", t.committed(2), first)
	t.equal("epoch", t.end().Epoch, epoch)
	t.advance(2 * time.Second)
	t.add(plain("c"))
	t.equal("time of the third commit", t.committed(3), first.Add(time.Second))
}

// back puts the clock back after entries of several windows.
func back(by time.Duration) func(*test) {
	return func(t *test) {
		t.advance(8 * time.Minute) // 12:38
		t.afterStep(by, func() {})
	}
}

func backWhileClosed(t *test) {
	for _, by := range []time.Duration{40 * time.Minute, 3 * time.Hour} {
		t.afterStep(by, func() {
			t.reopen()
		})
	}
}

func (t *test) afterStep(by time.Duration, step func()) {
	for _, w := range []time.Duration{10 * time.Second, 2 * time.Hour, MaxWindow} {
		t.made++
		a, b := plain(fmt.Sprint("a", t.made)).lasting(w), plain(fmt.Sprint("b", t.made)).lasting(w)
		t.add(a)
		t.advance(time.Second)
		t.add(b)
		p := t.journal().Bounds().Next
		t.advance(-by)
		step()
		t.expect(fmt.Sprint("window ", w, ", just after the step"), []spec{a, b}, duplicate, duplicate)
		t.advance(w - 1)
		t.expect(fmt.Sprint("window ", w, ", a window after the step"), []spec{a, b}, duplicate, duplicate)
		t.advance(1)
		t.expect(fmt.Sprint("window ", w, ", later"), []spec{a, b}, journal.Receipt{First: p}, journal.Receipt{First: p + 1})
	}
}

const year = 365 * 24 * time.Hour

// aheadTwice has the clock ahead for two commits under one key, within one hour of that clock.
func aheadTwice(t *test) {
	a := plain("a").lasting(MaxWindow)
	b, c := a.with("b", "b"), a.with("c", "c")
	t.add(a)
	for _, s := range []spec{b, c} {
		t.advance(year)
		t.add(s)
		t.advance(-year)
		t.expect("a commit after the clock came back", []spec{plain(s.bytes + "back")}, journal.Receipt{First: t.journal().Bounds().Next})
		t.advance(time.Minute)
	}
	t.expect("all are known", []spec{a, b, c}, duplicate, duplicate, duplicate)
}

func yearAhead(t *test) {
	a, b, c := plain("a").lasting(MaxWindow), plain("b").lasting(MaxWindow), plain("c").lasting(MaxWindow)
	t.add(a)
	t.advance(time.Hour)
	t.h.Retain()
	t.advance(year)
	t.add(b)
	t.advance(-year)
	t.add(c)
	t.retain()
	t.equal("nothing is gone", t.journal().Bounds(), sinks.Bounds{Earliest: 1, Next: 4})
	t.expect("all are known", []spec{a, b, c}, duplicate, duplicate, duplicate)
	t.equal("committed ahead", t.committed(2), Start.Add(time.Hour))
	t.equal("committed before", t.committed(1), Start)
	t.advance(EventAge - time.Hour) // and a minute since retention ran
	t.retain()
	t.equal("the one from before went by its age", t.journal().Bounds(), sinks.Bounds{Earliest: 2, Next: 4})
	t.advance(time.Hour)
	t.retain()
	t.equal("and the others by theirs", t.journal().Bounds(), sinks.Bounds{Earliest: 4, Next: 4})
	t.advance(MaxWindow - EventAge - 2*time.Hour)
	t.expect("within the windows", []spec{a, b}, duplicate, duplicate)
	t.advance(2 * time.Hour)
	t.retain()
	t.expect("after the windows", []spec{a, b}, journal.Receipt{First: 4}, journal.Receipt{First: 5})
}

func committedAt(t *test) {
	for n, d := range []time.Duration{0, time.Minute, -time.Hour, 2 * time.Hour, -time.Second, -3 * time.Hour, 0, time.Second, 300 * time.Hour, -300 * time.Hour} {
		t.advance(d)
		if n%4 == 3 {
			t.reopen()
		}
		t.add(plain(fmt.Sprint("a", n)).adding(2))
		last := time.Time{}
		for p := sinks.Position(1); p < t.journal().Bounds().Next; p++ {
			at := t.committed(p)
			if at.Before(last) || at.After(t.now.Add(time.Second)) {
				t.fatalf("%d was committed at %v, the one before at %v; it is %v", p, at, last, t.now)
			}
			last = at
		}
	}
	_, err := t.journal().CommittedAt(t.ctx, t.journal().Bounds().Next)
	t.is("past the end", err, sinks.ErrFuture)
	_, err = t.journal().CommittedAt(t.ctx, 0)
	t.is("before the start", err, sinks.ErrExpired)
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	_, err = t.journal().CommittedAt(ctx, 1)
	t.is("cancelled", err, context.Canceled)
}

func twoLooks(t *test) {
	q := t.entry(quarantined("q"))
	t.append(q)
	t.add(plain("a"))
	t.register("reader", 2, journal.Hold)
	t.fail("park", t.claim("reader").Park(t.ctx, parked(1, "refused")))
	t.h.Retain()
	t.advance(year)
	t.h.Retain()
	t.advance(-year)
	t.h.Retain()
	t.equal("after a look at a clock that was ahead", t.journal().Bounds(), sinks.Bounds{Earliest: 1, Next: 2})
	t.equal("webhooks", len(t.webhooks(false)), 2)
	t.equal("parked", len(t.parkedPositions("reader")), 1)
	t.advance(EventAge + time.Hour)
	t.h.Retain()
	t.equal("after the first look", t.journal().Bounds(), sinks.Bounds{Earliest: 1, Next: 2})
	t.advance(time.Minute)
	t.h.Retain()
	t.equal("after the second look", t.journal().Bounds(), sinks.Bounds{Earliest: 2, Next: 2})
}
