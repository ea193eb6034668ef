package journaltest

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	oneHolder    = "A name has one holder at a time. Nothing that a claim does after it was lost takes effect: it is ErrLost."
	whenLost     = "A claim is lost, at the latest, before another holder has the name, and when the reader is paused, moved or forgotten."
	parkedStays  = "A parked event stays until its reader unparks it, an operator discards it, or its retention ends."
	movedSaysSo  = "A cursor that an operator moved says so to every holder, until one of them saves it."
	replaysGoOn  = "A replay survives every crash, with what its reader's holder saved of it. One that has ended never goes on."
	noteStays    = "A note that a claim saved is there for every instance, and for the next holder of the name, while some instance runs."
	everyReplica = "Every instance that has the log open is listed, with the names that it holds and the counts that it reported last, at every instance."
	operatorsAsk = "A pause, a move and a request survive every crash. A request stays until its reader carried it out."
)

var readerCases = []testCase{
	{"one holder", oneHolder, oneAtATime, nil},
	{"writes of a lost claim", oneHolder, lostWrites, nil},
	{"lost when paused, moved or forgotten", whenLost, whenClaimsAreLost, nil},
	{"lost before the next", whenLost, lostBeforeNext, nil},
	{"cursor", "A cursor that was saved is there after every crash. A reader that continues there misses no event.", cursors, []need{canCrash}},
	{"registered at the end", "A cursor that was saved is there after every crash. A reader that continues there misses no event.", registeredAtEnd, []need{canReopen}},
	{"moved", movedSaysSo, moved, []need{canCrash}},
	{"parked", parkedStays, parkedUntil, []need{canReopen}},
	{"age of parked events", parkedStays, parkedAge, []need{hasClock, canRetain}},
	{"parked again", "Its first time and its history survive when it is parked again.", parkedAgain, []need{canCrash}},
	{"attempt of a discarded event", "The attempt of a retry changes nothing if the event is parked no more.", attempts, nil},
	{"gaps", "A gap that was recorded twice is counted once.", gaps, []need{canCrash}},
	{"notes", noteStays, notes, nil},
	{"replicas", everyReplica, replicas, nil},
	{"replays", replaysGoOn, replays, []need{canCrash}},
	{"replays that have ended", replaysGoOn, endedReplays, []need{canReopen}},
	{"operators' requests", operatorsAsk, requests, []need{canCrash}},
}

// parked is an event that was refused once.
func parked(p sinks.Position, reason string) *journalv1.Parked {
	at := timestamppb.New(Start.Add(time.Duration(p) * time.Second))
	return &journalv1.Parked{
		Position: uint64(p), Event: []byte("event"), Reason: reason, FirstAttemptAt: at, LastAttemptAt: at, AttemptCount: 1,
		Attempts: []*journalv1.Attempt{{At: at, Error: reason}},
	}
}

func (t *test) parkedPositions(name string) (all []sinks.Position) {
	got, err := t.journal().Parked(t.ctx, name, 0, 1000)
	t.fail("parked", err)
	for _, p := range got {
		all = append(all, sinks.Position(p.GetPosition()))
	}
	return all
}

func isLost(c journal.Claim) bool {
	select {
	case <-c.Lost():
		return true
	default:
		return false
	}
}

func oneAtATime(t *test) {
	t.add(plain("a").adding(4))
	t.register("reader", 1, journal.Hold)
	first := t.claim("reader")
	for range 2 * len(t.h.Instances) {
		j := t.journal()
		t.waits("a second claim", func(ctx context.Context) error { _, err := j.Claim(ctx, "reader"); return err })
	}
	other := t.claim("another name")
	t.fail("save", first.Save(t.ctx, 3))
	t.fail("release", first.Release(t.ctx))
	second := t.claim("reader")
	t.equal("position", second.Position(), sinks.Position(3))
	t.fail("release again", first.Release(t.ctx))
	if isLost(second) || isLost(other) {
		t.fatalf("a claim is lost because another one was released twice")
	}
	t.is("save of the first holder", first.Save(t.ctx, 5), journal.ErrLost)
	t.equal("position", t.reader("reader").Position, sinks.Position(3))
	t.is("save past the end", second.Save(t.ctx, 6), sinks.ErrFuture)
}

// losses are the ways to lose a claim.
var losses = []struct {
	name string
	do   func(t *test, c journal.Claim) error
}{
	{"release", func(t *test, c journal.Claim) error { return c.Release(t.ctx) }},
	{"pause", func(t *test, _ journal.Claim) error { return t.journal().Pause(t.ctx, "pause") }},
	{"move", func(t *test, _ journal.Claim) error { return t.journal().MoveTo(t.ctx, "move", 2) }},
	{"forget", func(t *test, _ journal.Claim) error { return t.journal().Forget(t.ctx, "forget") }},
}

func lostWrites(t *test) {
	t.add(plain("a").adding(4))
	for _, loss := range losses {
		name := loss.name
		t.register(name, 2, journal.Hold)
		c := t.claim(name)
		t.fail("park", c.Park(t.ctx, parked(1, "refused")))
		before, err := t.journal().Parked(t.ctx, name, 0, 10)
		t.fail("parked", err)
		t.fail(name, loss.do(t, c))
		for what, write := range map[string]func() error{
			"save":     func() error { return c.Save(t.ctx, 4) },
			"park":     func() error { return c.Park(t.ctx, parked(3, "late")) },
			"attempt":  func() error { return c.AddAttempt(t.ctx, parked(1, "late")) },
			"unpark":   func() error { return c.Unpark(t.ctx, 1) },
			"gap":      func() error { _, err := c.RecordGap(t.ctx, 1, 3); return err },
			"replay":   func() error { return c.SaveReplay(t.ctx, replay(name, 1)) },
			"note":     func() error { return c.SaveNote(t.ctx, []byte("late")) },
			"requests": func() error { _, err := c.Requests(t.ctx); return err },
		} {
			t.is(what+" after "+name, write(), journal.ErrLost)
		}
		after, err := t.journal().Parked(t.ctx, name, 0, 10)
		t.fail("parked", err)
		t.equal("parked after "+name, after, before)
		recorded, err := t.journal().Gaps(t.ctx, name)
		t.fail("gaps", err)
		t.equal("gaps after "+name, len(recorded), 0)
		if name != "forget" {
			t.equal("position after "+name, t.reader(name).Position, sinks.Position(2))
		}
	}
}

func whenClaimsAreLost(t *test) {
	t.add(plain("a").adding(4))
	for _, loss := range losses {
		t.register(loss.name, 1, journal.Hold)
		c := t.claim(loss.name)
		if isLost(c) {
			t.fatalf("lost before %s", loss.name)
		}
		t.fail(loss.name, loss.do(t, c))
		if !isLost(c) {
			t.fatalf("not lost after %s", loss.name)
		}
	}
	j := t.journal()
	t.waits("claim of a paused reader", func(ctx context.Context) error { _, err := j.Claim(ctx, "pause"); return err })
	t.fail("resume", j.Resume(t.ctx, "pause"))
	t.equal("position after a pause", t.claim("pause").Position(), sinks.Position(1))
	t.equal("position after a move", t.claim("move").Position(), sinks.Position(2))
	t.is("pause of a reader that was forgotten", j.Pause(t.ctx, "forget"), journal.ErrNotFound)
	t.is("move past the end", j.MoveTo(t.ctx, "move", 6), sinks.ErrFuture)
}

func lostBeforeNext(t *test) {
	t.add(plain("a").adding(3))
	t.register("reader", 1, journal.Hold)
	for n := range 20 {
		c := t.claim("reader")
		ended := make(chan bool)
		j, operator := t.journal(), t.journal()
		failed := make(chan error, 2)
		go func() {
			next, err := j.Claim(t.ctx, "reader")
			failed <- err
			ended <- isLost(c)
			if err == nil {
				failed <- next.Release(t.ctx)
				return
			}
			failed <- nil
		}()
		if n%2 == 0 {
			t.fail("release", c.Release(t.ctx))
		} else {
			t.fail("move", operator.MoveTo(t.ctx, "reader", sinks.Position(n%4)+1))
		}
		t.fail("claim", <-failed)
		if !<-ended {
			t.fatalf("another holder has the name, and the claim is not lost")
		}
		t.fail("release", <-failed)
	}
}

func cursors(t *test) {
	t.add(plain("a").adding(9))
	t.register("reader", 1, journal.Hold)
	last := sinks.Position(1)
	for n := range maxCrashes {
		c := t.claim("reader")
		at, next := c.Position(), sinks.Position(n%9)+2
		t.equal("position", at, last)
		var err error
		t.crash(n, func() { err = c.Save(t.ctx, next) })
		last = t.reader("reader").Position
		if err == nil && last != next || last != next && last != at {
			t.fatalf("saved %d: %v; after a crash the cursor is at %d, before it was at %d", next, err, last, at)
		}
		t.register("reader", 5, journal.Hold) // a cursor that exists stays
	}
}

func registeredAtEnd(t *test) {
	t.add(plain("a").adding(2))
	t.register("reader", 3, journal.Hold)
	t.is("register past the end", t.journal().Register(t.ctx, "late", 4, journal.Hold), sinks.ErrFuture)
	t.reopen()
	t.add(plain("b"))
	t.register("reader", 4, journal.Hold)
	t.equal("position", t.claim("reader").Position(), sinks.Position(3))
	t.equal("reader", t.reader("reader"), journal.ReaderState{Name: "reader", Position: 3, Registered: true, Claimed: true})
	t.journal().Unregister("reader")
	t.journal().Unregister("nobody")
	t.equal("position of a reader that is not registered any more", t.reader("reader").Position, sinks.Position(3))
}

func moved(t *test) {
	t.add(plain("a").adding(9))
	t.register("reader", 4, journal.Hold)
	is := func(when string, want bool) journal.Claim {
		c := t.claim("reader")
		t.equal("moved "+when, c.Moved(), want)
		return c
	}
	c := is("at first", false)
	t.fail("save", c.Save(t.ctx, 5))
	t.fail("pause", t.journal().Pause(t.ctx, "reader"))
	t.fail("resume", t.journal().Resume(t.ctx, "reader"))
	is("by a pause", false)
	t.fail("move", t.journal().MoveTo(t.ctx, "reader", 2))
	t.fail("pause", t.journal().Pause(t.ctx, "reader"))
	t.crash(0, nil)
	t.fail("resume", t.journal().Resume(t.ctx, "reader"))
	t.register("reader", 5, journal.Hold)
	c = is("after a crash", true)
	t.fail("release", c.Release(t.ctx))
	c = is("for the next holder", true)
	t.is("save past the end", c.Save(t.ctx, 11), sinks.ErrFuture)
	t.equal("moved after a save that failed", c.Moved(), true)
	t.fail("save", c.Save(t.ctx, 2))
	t.equal("moved after a save", c.Moved(), false)
	t.crash(1, nil)
	is("after it was saved", false)
	t.fail("move to where it is", t.journal().MoveTo(t.ctx, "reader", 2))
	is("to where it is", true)
	t.fail("forget", t.journal().Forget(t.ctx, "reader"))
	t.register("reader", 2, journal.Hold)
	is("before it was forgotten", false)
}

func parkedUntil(t *test) {
	t.register("a", 1, journal.Hold)
	t.register("b", 1, journal.Hold)
	a, b := t.claim("a"), t.claim("b")
	for p := range sinks.Position(3) {
		t.fail("park", a.Park(t.ctx, parked(p+1, "refused")))
	}
	t.fail("park", b.Park(t.ctx, parked(1, "refused")))
	t.reopen()
	t.equal("parked", t.parkedPositions("a"), []sinks.Position{1, 2, 3})
	t.equal("of all readers", t.parkedPositions(""), []sinks.Position{1, 2, 3, 1})
	t.fail("unpark", t.claim("a").Unpark(t.ctx, 2))
	t.fail("discard", t.journal().DiscardParked(t.ctx, "a", 3))
	t.is("discard again", t.journal().DiscardParked(t.ctx, "a", 3), journal.ErrNotFound)
	t.equal("parked", t.parkedPositions("a"), []sinks.Position{1})
	t.equal("of another reader", t.parkedPositions("b"), []sinks.Position{1})
	some, err := t.journal().Parked(t.ctx, "a", 2, 10)
	t.fail("parked", err)
	t.equal("from a position on", len(some), 0)
	t.equal("counted", t.reader("a").Parked, uint64(1))
}

func parkedAge(t *test) {
	t.register("a", 1, journal.Hold)
	c := t.claim("a")
	t.fail("park", c.Park(t.ctx, parked(1, "refused")))
	t.fail("park", c.Park(t.ctx, parked(2, "refused")))
	t.advance(ParkedAge / 2)
	t.fail("park again", c.Park(t.ctx, parked(2, "refused")))
	t.advance(ParkedAge/2 - 2*time.Minute)
	t.retain()
	t.equal("young", t.parkedPositions("a"), []sinks.Position{1, 2})
	for range 2 {
		t.advance(slack)
		t.retain()
	}
	t.equal("one is old", t.parkedPositions("a"), []sinks.Position{2})
}

func parkedAgain(t *test) {
	t.register("a", 1, journal.Hold)
	t.fail("park", t.claim("a").Park(t.ctx, parked(7, "first")))
	t.crash(0, nil)
	second := parked(7, "second")
	second.FirstAttemptAt = timestamppb.New(Start.Add(time.Hour))
	second.LastAttemptAt, second.Attempts[0].At = second.FirstAttemptAt, second.FirstAttemptAt
	given := proto.CloneOf(second)
	t.fail("park again", t.claim("a").Park(t.ctx, second))
	t.equal("the caller's", second, given)
	got, err := t.journal().Parked(t.ctx, "a", 0, 10)
	t.fail("parked", err)
	if len(got) != 1 {
		t.fatalf("%d events are parked", len(got))
	}
	got[0].ParkedAt = nil
	want := parked(7, "first")
	want.Sink, want.Reason, want.AttemptCount, want.LastAttemptAt = "a", "second", 2, second.GetLastAttemptAt()
	want.Attempts = append(want.Attempts, second.Attempts...)
	t.equal("parked twice", got[0], want)
}

func attempts(t *test) {
	t.register("a", 1, journal.Hold)
	c := t.claim("a")
	for p := range sinks.Position(2) {
		t.fail("park", c.Park(t.ctx, parked(p+1, "refused")))
		t.fail("retry", t.journal().RequestRetry(t.ctx, "a", p+1))
	}
	t.requested(c, []sinks.Position{1, 2}, nil)
	t.fail("discard", t.journal().DiscardParked(t.ctx, "a", 1))
	for p := range sinks.Position(2) {
		t.fail("attempt", c.AddAttempt(t.ctx, parked(p+1, "refused again")))
	}
	t.equal("parked", t.parkedPositions("a"), []sinks.Position{2})
	all, err := t.journal().Parked(t.ctx, "a", 0, 10)
	t.fail("parked", err)
	t.equal("attempts", all[0].GetAttemptCount(), uint64(2))
	t.requested(c, nil, nil)
}

func gaps(t *test) {
	t.register("a", 1, journal.Hold)
	c := t.claim("a")
	record := func(from, to sinks.Position, want uint64) {
		added, err := c.RecordGap(t.ctx, from, to)
		t.fail("gap", err)
		t.equal(fmt.Sprintf("gap from %d to %d adds", from, to), added, want)
	}
	record(10, 20, 10)
	record(10, 20, 0)
	record(15, 25, 5)
	record(30, 31, 1)
	t.crash(0, nil)
	c = t.claim("a")
	record(10, 20, 0)
	record(12, 31, 5)
	all, err := t.journal().Gaps(t.ctx, "a")
	t.fail("gaps", err)
	total := uint64(0)
	for _, g := range all {
		total += g.GetTo() - g.GetFrom()
	}
	t.equal("positions in gaps", total, uint64(21))
	t.equal("missed", t.reader("a").Missed, uint64(21))
}

func requests(t *test) {
	t.add(plain("a").adding(6))
	t.register("a", 4, journal.Hold)
	c := t.claim("a")
	for p := range sinks.Position(3) {
		t.fail("park", c.Park(t.ctx, parked(p+1, "refused")))
		t.fail("retry", t.journal().RequestRetry(t.ctx, "a", p+1))
	}
	t.is("retry of an event that is not parked", t.journal().RequestRetry(t.ctx, "a", 4), journal.ErrNotFound)
	t.fail("pass", t.journal().RequestPass(t.ctx, "a", 4))
	t.requested(c, []sinks.Position{1, 2, 3}, []sinks.Position{4})
	t.fail("pause", t.journal().Pause(t.ctx, "a"))
	t.crash(0, nil)
	if !t.reader("a").Paused {
		t.fatalf("the pause is gone")
	}
	t.fail("resume", t.journal().Resume(t.ctx, "a"))
	c = t.claim("a")
	t.requested(c, []sinks.Position{1, 2, 3}, []sinks.Position{4})
	t.fail("retried", c.Unpark(t.ctx, 1))
	t.fail("retried and refused", c.Park(t.ctx, parked(2, "again")))
	t.fail("discard", t.journal().DiscardParked(t.ctx, "a", 3))
	t.fail("passed", c.Park(t.ctx, parked(4, "passed")))
	t.fail("save", c.Save(t.ctx, 5))
	t.fail("move", t.journal().MoveTo(t.ctx, "a", 2))
	t.crash(1, nil)
	c = t.claim("a")
	t.equal("position", c.Position(), sinks.Position(2))
	t.requested(c, nil, nil)
	t.equal("parked", t.parkedPositions("a"), []sinks.Position{2, 4})
}

func (t *test) requested(c journal.Claim, retry, pass []sinks.Position) {
	got, err := c.Requests(t.ctx)
	t.fail("requests", err)
	var positions []sinks.Position
	for _, p := range got.Retry {
		positions = append(positions, sinks.Position(p.GetPosition()))
	}
	t.equal("requests to retry", positions, retry)
	t.equal("requests to pass", got.Pass, pass)
}
