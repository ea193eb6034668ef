package journaltest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	staleRule    = "An event whose entry gives a version of its subject is stale if a greater version of the subject is known. The stored event then has the field stale, and the receipt counts it."
	compareRule  = "Versions compare as sinks.CompareVersions says. An equal version is not stale."
	inOrderRule  = "A version is known from the commit of its event on, in the order of positions: within an entry and an AppendAll, for entries that arrive at the same instant, and across crashes."
	lapseRule    = "The versions of a subject are known until no event with one was committed for the window."
	clockRule    = "The clock's rules hold for versions as they do for contents."
	unknownRule  = "Duplicates, and entries of an AppendAll that is ErrNotFound, make no version known."
	operatorRule = "The events of a release and of a correction are compared, and make their versions known, like those of a webhook that is received."
)

var versionCases = []testCase{
	{"stale", staleRule, staleEvents, nil},
	{"versions compared", compareRule, comparedVersions, nil},
	{"versions in order", inOrderRule, versionsInOrder, nil},
	{"versions at the same instant", inOrderRule, versionsAtOnce, nil},
	{"versions across crashes", inOrderRule, versionsAcrossCrashes, []need{canCrash}},
	{"versions reopened", inOrderRule, versionsReopened, []need{canReopen}},
	{"versions lapse", lapseRule, versionsLapse, []need{hasClock}},
	{"versions and a clock that is put back", clockRule, versionsBack, []need{hasClock, canReopen}},
	{"versions and a clock that is ahead", clockRule, versionsAhead, []need{hasClock, canRetain}},
	{"versions of duplicates", unknownRule, versionsOfDuplicates, nil},
	{"versions of releases and corrections", operatorRule, versionsOfOperators, nil},
}

// publish appends an event with a version, and ends the case unless it is stale or not, as wanted.
func (t *test) publish(subject, version string, stale bool) {
	t.publishFor(window, subject, version, stale)
}

func (t *test) publishFor(window time.Duration, subject, version string, stale bool) {
	name := fmt.Sprint("publish", t.made)
	r := t.append(t.entry(plain(name).about(subject, version).lasting(window)))
	if stale != (r.Stale == 1) || r.Stale > 1 {
		t.fatalf("version %s of %s: receipt %+v, want stale: %v", version, subject, r, stale)
	}
	e, err := t.journal().EventAt(t.ctx, r.First)
	t.fail("event", err)
	if e.GetStale() != stale {
		t.fatalf("version %s of %s: the stored event is %v, want stale: %v", version, subject, e, stale)
	}
}

// stale returns whether each event, from a position on, is stale.
func (t *test) stale(from sinks.Position) (all []bool) {
	for _, e := range t.events()[from-1:] {
		all = append(all, e.GetStale())
	}
	return all
}

func staleEvents(t *test) {
	t.publish("a", "2", false)
	t.publish("a", "1", true)
	t.publish("b", "1", false)
	t.publish("a", "3", false)
	t.publish("a", "2", true)
	t.equal("an entry without versions", t.append(t.entry(plain("none"))).Stale, 0)
	e := t.entry(plain("several").about("a", "1", "", "4", "3", "4"))
	t.equal("some of an entry's events", t.append(e), journal.Receipt{First: 7, Stale: 2})
	t.equal("which", t.stale(1), []bool{false, true, false, false, true, false, true, false, false, true, false})
	for _, r := range t.records(t.journal()) {
		decoded, err := r.Event()
		t.fail("event", err)
		t.equal("the header of the stored event", r.Header.Stale, decoded.GetStale())
	}
}

func comparedVersions(t *test) {
	for n, c := range []struct {
		known, version string
		stale          bool
	}{
		{"10", "9", true},
		{"9", "10", false},
		{"5", "5", false},
		{"1.50", "1.5", false},
		{"1.5", "1.50", false},
		{"9007199254740993", "9007199254740992", true},
		{"b", "a", true},
		{"a", "b", false},
		{"v9", "v10", true},
		{"2026-03-01T12:00:01Z", "2026-03-01T12:00:00Z", true},
	} {
		subject := fmt.Sprint("subject", n)
		t.publish(subject, c.known, false)
		t.publish(subject, c.version, c.stale)
	}
}

func versionsInOrder(t *test) {
	t.append(t.entry(plain("entry").about("a", "2", "1", "3", "2")))
	t.equal("within an entry", t.stale(1), []bool{false, true, false, true})
	r := t.appendAll(t.entries(
		plain("first").about("a", "3"), plain("second").about("a", "5", "4"), plain("third").about("b", "4"), plain("last").about("a", "4"))...)
	t.equal("within an AppendAll", t.stale(5), []bool{false, false, true, false, true})
	t.equal("receipts", r, []journal.Receipt{{First: 5}, {First: 6, Stale: 1}, {First: 8}, {First: 9, Stale: 1}})
	t.publish("a", "4", true)
	t.publish("b", "4", false)
}

// versionsAtOnce has senders race. Whatever the order, the stale events are those behind a greater version.
func versionsAtOnce(t *test) {
	const senders, rounds = 8, 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	versions := make(map[string]int)
	for s := range senders {
		var entries []journal.Entry
		for n := range rounds {
			e := t.entry(plain(fmt.Sprint(s, "/", n)).about("a", strconv.Itoa(n*7%11)))
			versions[decode(e.Events[0]).GetId()] = n * 7 % 11
			entries = append(entries, e)
		}
		j := t.journal()
		wg.Go(func() {
			for _, e := range entries {
				_, err := j.Append(t.ctx, e)
				mu.Lock()
				failed = append(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.fail("append", errors.Join(failed...))
	greatest := -1
	for i, e := range t.events() {
		v := versions[e.GetId()]
		if e.GetStale() != (v < greatest) {
			t.fatalf("event %d has version %d behind %d; stale: %v", i+1, v, greatest, e.GetStale())
		}
		greatest = max(greatest, v)
	}
}

func versionsAcrossCrashes(t *test) {
	for n := range maxCrashes {
		subject := fmt.Sprint("subject", n)
		e := t.entry(plain(subject).about(subject, "5"))
		j := t.journal()
		var err error
		t.crash(n, func() { _, err = j.Append(t.ctx, e) })
		stored := err == nil
		for _, got := range t.events() {
			stored = stored || got.GetId() == decode(e.Events[0]).GetId()
		}
		t.publish(subject, "4", stored)
		t.publish(subject, "6", false)
		t.publish(subject, "5", true)
	}
}

func versionsReopened(t *test) {
	t.publish("a", "5", false)
	t.reopen()
	t.publish("a", "4", true)
	t.publish("a", "5", false)
}

func versionsLapse(t *test) {
	t.advance(8 * time.Minute)
	for n, w := range []time.Duration{time.Second, 90 * time.Minute, MaxWindow} {
		subject := fmt.Sprint("subject", n)
		t.publishFor(w, subject, "5", false)
		t.advance(w - 1)
		t.publishFor(w, subject, "3", true) // the subject is known from here
		t.advance(w - 1)
		t.publishFor(w, subject, "4", true)
		t.advance(w)
		t.publishFor(w, subject, "1", false)
		t.advance(w - 1)
		t.publishFor(w, subject, "2", false)
		t.publishFor(w, subject, "1", true)
	}
}

func versionsBack(t *test) {
	const w = 10 * time.Hour
	for n, by := range []time.Duration{30 * time.Minute, 3 * time.Hour} {
		for _, reopen := range []bool{false, true} {
			subject := fmt.Sprint("subject", n, reopen)
			t.publishFor(w, subject, "5", false)
			t.advance(-by)
			if reopen {
				t.reopen()
			}
			t.publishFor(w, subject, "4", true)
			t.publishFor(w, subject, "6", false)
			t.advance(by)
			t.publishFor(w, subject, "5", true)
			t.publishFor(w, subject, "7", false)
			t.advance(w - 1)
			t.publishFor(w, subject, "6", true)
			t.advance(w)
			t.publishFor(w, subject, "1", false)
			t.advance(w)
		}
	}
}

func versionsAhead(t *test) {
	const w, year = 10 * time.Hour, 365 * 24 * time.Hour
	t.publishFor(w, "young", "5", false)
	t.advance(year)
	t.publishFor(w, "ahead", "5", false)
	t.advance(-year)
	t.publishFor(w, "now", "5", false) // the clock is seen to be back
	t.publishFor(w, "young", "4", true)
	t.advance(w - 1)
	t.publishFor(w, "ahead", "4", true)
	t.retain()
	t.advance(w - time.Minute - 1)
	t.publishFor(w, "ahead", "4", true)
	t.publishFor(w, "now", "4", false)
	t.advance(MaxWindow + 3*time.Hour)
	t.retain()
	t.publishFor(w, "ahead", "4", false)
}

func versionsOfDuplicates(t *test) {
	t.publish("a", "5", false)
	one := plain("one").about("b", "5")
	t.append(t.entry(one))
	t.equal("a duplicate", t.append(t.entry(one.about("a", "9"))), duplicate)
	t.equal("a duplicate that is kept", t.append(t.entry(one.with("other bytes", "one").about("a", "9"))), keptDuplicate)
	t.equal("a duplicate with an old version", t.append(t.entry(one.about("a", "1"))), duplicate)
	missing := releaseOf(t.entry(quarantined("missing")), 1, t.now, "missing")
	addVersions(&missing, window, "a", "9")
	_, err := t.journal().AppendAll(t.ctx, []journal.Entry{t.entry(plain("beside").about("a", "9")), missing})
	t.is("an array with a webhook that is not found", err, journal.ErrNotFound)
	t.publish("a", "6", false)
	t.publish("a", "5", true)
}

func versionsOfOperators(t *test) {
	q, w := t.entry(quarantined("q")), t.entry(plain("w").about("a", "3"))
	late := t.entry(quarantined("late"))
	t.appendAll(q, w, late)
	t.publish("a", "5", false)
	release := func(e journal.Entry, version string) journal.Receipt {
		r := releaseOf(e, 1, t.now, version)
		addVersions(&r, window, "a", version)
		return t.append(r)
	}
	t.equal("a late release", release(q, "4"), journal.Receipt{First: 3, Stale: 1})
	correct := func(version string) journal.Receipt {
		c := correctionOf(w, version, 0)
		addVersions(&c, window, "a", version)
		return t.append(c)
	}
	t.equal("a correction of an old event", correct("3"), journal.Receipt{First: 4, Stale: 1})
	t.equal("a correction with a greater version", correct("6").Stale, 0)
	t.publish("a", "5", true)
	t.equal("a release with a greater version", release(late, "7").Stale, 0)
	t.publish("a", "6", true)
	t.equal("which", t.stale(1), []bool{false, false, true, true, false, true, false, true})
}
