package journaltest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	groupsSurvive  = "A definition, a state, a parked event, a reset and a requested retry that were acknowledged survive every crash. They are read at every instance."
	savedWhole     = "The changes that one SaveShares writes exist all, or none of them does."
	oneOwner       = "A share has one owner at a time. A write with an epoch or a version that the share no longer has changes nothing: no state, no parked event."
	oneWriteWins   = "Of several writes at the same instant with one version, one succeeds."
	neverAgain     = "No two owners of a share have the same epoch, and no two states that were shown the same version, also across crashes."
	holdsNothing   = "A group holds back no retention."
	groupLetters   = "Its parked events follow the rules for those of readers."
	resetWhole     = "A reset is whole: no state from before it is written after it."
	deletedWhole   = "What is deleted is gone whole, with its dead letters. A group of the same name that is made later has epochs and versions that no earlier one had."
	limitsRefused  = "What exceeds a limit is refused, and changes nothing."
	acknowledgedIn = "They are read at every instance."
)

var groupCases = []testCase{
	{"groups after a crash", groupsSurvive, groupsAfterCrash, []need{canCrash}},
	{"groups at every instance", acknowledgedIn, groupsEverywhere, nil},
	{"shares whole or not at all", savedWhole, sharesWhole, []need{canCrash}},
	{"stale writes of shares", oneOwner, staleShares, nil},
	{"one of several writes of a share", oneWriteWins, racedShares, nil},
	{"one of several definitions", oneWriteWins, racedDefinitions, nil},
	{"epochs of owners", neverAgain, epochsNeverAgain, []need{canCrash}},
	{"versions of states", neverAgain, versionsNeverAgain, []need{canCrash}},
	{"retention beside a group", holdsNothing, retentionBesideGroup, []need{hasClock, canRetain}},
	{"parked events of a group", groupLetters, groupParked, nil},
	{"age of a group's parked events", groupLetters, groupParkedAge, []need{hasClock, canRetain}},
	{"reset", resetWhole, resets, nil},
	{"reset while shares are written", resetWhole, racedReset, nil},
	{"reset whole or not at all", resetWhole, resetCut, []need{canCrash}},
	{"deleted group", deletedWhole, deletes, []need{canReopen}},
	{"deleted whole or not at all", deletedWhole, deleteCut, []need{canCrash}},
	{"limits of groups", limitsRefused, groupLimits, nil},
}

// someGroup makes a group with a member, an owner, states, parked events and a request.
func (t *test) someGroup(name string) journal.Session {
	version := t.newGroup(name, "start")
	s := t.session(t.store())
	t.fail("join", s.Join(t.ctx, name, "member", []byte("note")))
	a, b := t.take(s, name, 3), t.take(s, name, 200)
	first := next(a, "first of "+name)
	first.Park = []*journalv1.Parked{parked(7, "refused"), parked(9, "refused")}
	t.save(name, []bool{true, true}, first, next(b, "second"))
	t.fail("retry", t.store().RequestRetry(t.ctx, journal.GroupReader(name), 9))
	t.setGroup(name, version, "another definition of "+name, nil)
	return s
}

func groupsAfterCrash(t *test) {
	for n, name := range []string{"a", "b"} {
		t.someGroup(name)
		t.newGroup("empty "+name, "")
		before := t.shot(t.store(), name)
		t.equal("replays", before.Replays, []sinks.Position{9})
		version := t.group("empty " + name).Version
		version = t.setGroup("empty "+name, version, "reset", &journal.GroupReset{State: []byte("reset")})
		t.crash(n, nil)
		t.equal("after a crash", t.shot(t.store(), name), before)
		reset := t.shot(t.store(), "empty "+name)
		t.equal("version after a crash", reset.Version, version)
		t.equal("states after a reset and a crash", reset.States, slices.Repeat([]string{"reset"}, journal.GroupShares))
	}
	names, err := t.store().GroupNames(t.ctx, "", 10)
	t.fail("names", err)
	t.equal("names", names, []string{"a", "b", "empty a", "empty b"})
}

// groupsEverywhere reads at each instance what was just acknowledged at another one.
func groupsEverywhere(t *test) {
	t.someGroup("a")
	t.newGroup("b!", "")
	t.newGroup("b", "")
	version := t.group("a").Version
	for n := range 3 * len(t.h.Instances) {
		definition := fmt.Sprint("definition ", n)
		version = t.setGroup("a", version, definition, nil)
		share := t.share("a", 200)
		c := next(share, definition)
		c.Park = []*journalv1.Parked{parked(20+sinks.Position(n), "refused")}
		t.save("a", []bool{true}, c)
		first := t.shot(t.storeAt(0), "a")
		t.equal("definition", first.Definition, definition)
		t.equal("version of the share", first.Versions[200], share.Version+1)
		for i := range t.h.Instances {
			t.equal("group at another instance", t.shot(t.storeAt(i), "a"), first)
			t.equal("state", first.States[200], definition)
			t.equal("parked", len(first.Letters), n+3)
			names, err := t.storeAt(i).GroupNames(t.ctx, "a", 2)
			t.fail("names", err)
			t.equal("names behind one", names, []string{"b", "b!"})
			names, err = t.storeAt(i).GroupNames(t.ctx, "", 1)
			t.fail("names", err)
			t.equal("the first name", names, []string{"a"})
		}
	}
	_, err := t.store().Group(t.ctx, "no such group")
	t.is("no such group", err, journal.ErrNotFound)
	_, err = t.store().Shares(t.ctx, "no such group", []int{1})
	t.is("shares of no group", err, journal.ErrNotFound)
	_, err = t.store().SaveShares(t.ctx, "no such group", []journal.ShareChange{{Index: 1}})
	t.is("save of no group", err, journal.ErrNotFound)
	t.is("delete of no group", t.store().DeleteGroup(t.ctx, "no such group"), journal.ErrNotFound)
}

func sharesWhole(t *test) {
	t.newGroup("a", "start")
	for n := range maxCrashes {
		before := t.shot(t.store(), "a")
		all, err := t.store().Shares(t.ctx, "a", []int{0, 1, 255})
		t.fail("shares", err)
		var changes []journal.ShareChange
		for _, share := range all {
			changes = append(changes, next(share, fmt.Sprint("state ", n)))
		}
		changes[2].Park = []*journalv1.Parked{parked(sinks.Position(n)+1, "refused")}
		changes = append(changes, journal.ShareChange{Index: 5, Epoch: 1 << 40, State: []byte("stale")})
		s := t.store()
		var saved []bool
		t.crash(n, func() { saved, err = s.SaveShares(t.ctx, "a", changes) })
		after := t.shot(t.store(), "a")
		if err == nil {
			t.equal("saved", saved, []bool{true, true, true, false})
		}
		if after.Versions[0] == before.Versions[0] && err != nil {
			t.equal("after a crash", after, before)
			continue
		}
		for _, share := range all {
			before.States[share.Index] = fmt.Sprint("state ", n)
			before.Versions[share.Index]++
		}
		before.Parked++
		before.Letters = append(before.Letters, after.Letters[max(0, len(after.Letters)-1):]...)
		t.equal("after a crash", after, before)
	}
}

// staleShares writes with an epoch and versions that the share no longer has.
func staleShares(t *test) {
	t.newGroup("a", "start")
	first, second := t.session(t.store()), t.session(t.store())
	old := t.take(first, "a", 4)
	c := next(old, "released")
	c.Release = true
	c.Park = []*journalv1.Parked{parked(7, "refused")}
	t.save("a", []bool{true}, c)
	t.fail("retry", t.store().RequestRetry(t.ctx, journal.GroupReader("a"), 7))
	now := t.take(second, "a", 4)
	t.equal("state", string(now.State), "released")
	before := t.shot(t.store(), "a")
	stale := []journal.ShareChange{next(old, "x"), next(now, "x"), next(now, "x"), next(now, "x"), next(now, "x")}
	stale[1].Epoch = old.Epoch
	stale[2].Version = old.Version
	stale[3].Version++
	stale[4].Epoch++
	for _, c := range stale {
		c.Release = true
		c.Park = []*journalv1.Parked{parked(8, "late")}
		c.Attempted = []*journalv1.Parked{parked(7, "late")}
		t.save("a", []bool{false}, c)
		c.Park, c.Attempted, c.Unpark = nil, nil, []sinks.Position{7}
		t.save("a", []bool{false}, c)
	}
	t.equal("after stale writes", t.shot(t.store(), "a"), before)
	t.equal("owner", t.owners("a", 4), []string{second.ID()})
	other := t.share("a", 5)
	t.save("a", []bool{false, true}, next(old, "x"), next(other, "written beside a stale one"))
	t.equal("state", string(t.share("a", 5).State), "written beside a stale one")
	t.save("a", []bool{true}, next(now, "by its owner"))
	t.equal("share", t.share("a", 4), journal.Share{Index: 4, Epoch: now.Epoch, Version: now.Version + 1, State: []byte("by its owner")})
}

// raced calls a function several times at the same instant at each instance.
func (t *test) raced(call func(s GroupStore, n int) error) {
	const each = 3
	failed := make([]error, each*len(t.h.Instances))
	var wg sync.WaitGroup
	for n := range failed {
		s := t.store()
		wg.Go(func() { failed[n] = call(s, n) })
	}
	wg.Wait()
	t.fail("at the same instant", errors.Join(failed...))
}

func racedShares(t *test) {
	t.newGroup("a", "start")
	for range 10 {
		share := t.share("a", 17)
		var mu sync.Mutex
		var won []string
		t.raced(func(s GroupStore, n int) error {
			state := fmt.Sprint("writer ", n)
			c := next(share, state)
			c.Park = []*journalv1.Parked{parked(sinks.Position(n)+1, state)}
			saved, err := s.SaveShares(t.ctx, "a", []journal.ShareChange{c})
			mu.Lock()
			defer mu.Unlock()
			if err == nil && saved[0] {
				won = append(won, state)
			}
			return err
		})
		t.equal("writes that succeeded", len(won), 1)
		t.equal("state", string(t.share("a", 17).State), won[0])
		letters, err := t.store().Parked(t.ctx, journal.GroupReader("a"), 0, 10)
		t.fail("parked", err)
		t.equal("parked", len(letters), 1)
		t.equal("parked by", letters[0].GetReason(), won[0])
		c := next(t.share("a", 17), "")
		c.Unpark = []sinks.Position{sinks.Position(letters[0].GetPosition())}
		t.save("a", []bool{true}, c)
	}
}

func racedDefinitions(t *test) {
	version := uint64(0)
	for range 10 {
		var mu sync.Mutex
		var won []uint64
		t.raced(func(s GroupStore, n int) error {
			next, err := s.SetGroup(t.ctx, "a", version, fmt.Append(nil, n), nil)
			if errors.Is(err, journal.ErrConflict) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			won = append(won, next)
			return err
		})
		t.equal("definitions that were stored", len(won), 1)
		t.equal("version", t.group("a").Version, won[0])
		version = won[0]
	}
	for _, stale := range []uint64{0, version - 1, version + 1} {
		_, err := t.store().SetGroup(t.ctx, "a", stale, []byte("stale"), &journal.GroupReset{State: []byte("stale")})
		t.is("definition of another version", err, journal.ErrConflict)
	}
	_, err := t.store().SetGroup(t.ctx, "no such group", 1, nil, nil)
	t.is("definition of no group", err, journal.ErrConflict)
	t.equal("version", t.group("a").Version, version)
	t.equal("state", string(t.share("a", 0).State), "")
}

func epochsNeverAgain(t *test) {
	t.newGroup("a", "start")
	last := t.share("a", 9)
	for n := range maxCrashes {
		s := t.session(t.store())
		var taken []journal.Share
		var err error
		t.crash(n, func() { taken, err = s.Take(t.ctx, "a", []int{9}) })
		if err == nil {
			t.equal("taken", len(taken), 1)
			last = t.grew(last, taken[0])
			t.save("a", []bool{true}, next(t.share("a", 9), "written by an owner from before the crash"))
			last.Version++
		}
		again := t.take(t.session(t.store()), "a", 9)
		last = t.grew(last, again)
		t.save("a", []bool{false}, next(journal.Share{Index: 9, Epoch: again.Epoch - 1, Version: again.Version}, "x"))
		t.crash(n, nil)
	}
}

// grew ends the case unless a share has a greater epoch and version than before.
func (t *test) grew(before, after journal.Share) journal.Share {
	if after.Epoch <= before.Epoch || after.Version <= before.Version {
		t.fatalf("share %d has epoch %d and version %d, before it had %d and %d", after.Index, after.Epoch, after.Version, before.Epoch, before.Version)
	}
	return after
}

func versionsNeverAgain(t *test) {
	t.newGroup("a", "start")
	shown := map[uint64]string{}
	show := func() journal.Share {
		share := t.share("a", 10)
		if state, ok := shown[share.Version]; ok && state != string(share.State) {
			t.fatalf("version %d was of state %q, and now of %q", share.Version, state, share.State)
		}
		shown[share.Version] = string(share.State)
		return share
	}
	for n := range maxCrashes {
		share := show()
		s := t.store()
		t.crash(n, func() { _, _ = s.SaveShares(t.ctx, "a", []journal.ShareChange{next(share, fmt.Sprint("state ", n))}) })
		share = show()
		t.save("a", []bool{true}, next(share, fmt.Sprint("another state ", n)))
		show()
		t.setGroup("a", t.group("a").Version, "", &journal.GroupReset{State: fmt.Append(nil, "reset ", n)})
		show()
		t.take(t.session(t.store()), "a", 10)
		show()
	}
}

func retentionBesideGroup(t *test) {
	t.add(plain("a").adding(5))
	t.someGroup("a")
	t.advance(EventAge + slack)
	t.retain()
	t.equal("bounds", t.journal().Bounds(), sinks.Bounds{Earliest: 6, Next: 6})
	t.equal("state", string(t.share("a", 3).State), "first of a")
}

func groupParked(t *test) {
	reader := journal.GroupReader("a")
	t.newGroup("a", "start")
	t.newGroup("b", "start")
	change := func(name string, c journal.ShareChange) {
		share := t.share(name, 30)
		c.Index, c.Epoch, c.Version = share.Index, share.Epoch, share.Version
		t.save(name, []bool{true}, c)
	}
	given := parked(7, "second")
	given.LastAttemptAt = timestamppb.New(Start.Add(1000))
	change("a", journal.ShareChange{Park: []*journalv1.Parked{parked(7, "first"), parked(8, "first"), parked(9, "first")}})
	change("b", journal.ShareChange{Park: []*journalv1.Parked{parked(7, "of b")}})
	for _, p := range []sinks.Position{7, 8, 9} {
		t.fail("retry", t.store().RequestRetry(t.ctx, reader, p))
	}
	t.is("retry of an event that is not parked", t.store().RequestRetry(t.ctx, reader, 10), journal.ErrNotFound)
	t.is("pass", t.store().RequestPass(t.ctx, reader, 7), journal.ErrNotFound)
	t.equal("replays", t.replays(t.store(), "a"), []sinks.Position{7, 8, 9})
	some, err := t.store().Replays(t.ctx, "a", 8, 1)
	t.fail("replays", err)
	t.equal("some of the replays", len(some), 1)
	t.equal("the second replay", some[0].GetPosition(), uint64(8))
	change("a", journal.ShareChange{Park: []*journalv1.Parked{given}})
	t.equal("replays without the one that is parked again", t.replays(t.store(), "a"), []sinks.Position{8, 9})
	change("a", journal.ShareChange{Attempted: []*journalv1.Parked{parked(8, "again"), parked(10, "again")}})
	t.equal("replays without the attempted one", t.replays(t.store(), "a"), []sinks.Position{9})
	t.fail("retry", t.store().RequestRetry(t.ctx, reader, 8))
	t.fail("discard", t.store().DiscardParked(t.ctx, reader, 8))
	t.is("discard again", t.store().DiscardParked(t.ctx, reader, 8), journal.ErrNotFound)
	change("a", journal.ShareChange{Attempted: []*journalv1.Parked{parked(8, "again")}, Unpark: []sinks.Position{9, 12}})
	t.equal("replays at last", len(t.replays(t.store(), "a")), 0)
	all, err := t.store().Parked(t.ctx, reader, 0, 10)
	t.fail("parked", err)
	t.equal("parked", len(all), 1)
	all[0].ParkedAt = nil
	want := parked(7, "first")
	want.Sink, want.Reason, want.AttemptCount, want.LastAttemptAt = reader, "second", 2, given.GetLastAttemptAt()
	want.Attempts = append(want.Attempts, given.Attempts...)
	t.equal("parked twice", all[0], want)
	t.equal("counted", t.group("a").Parked, uint64(1))
	every, err := t.store().Parked(t.ctx, "", 0, 10)
	t.fail("parked", err)
	t.equal("of all readers", len(every), 2)
	t.equal("of another group", every[1].GetSink(), journal.GroupReader("b"))
}

func groupParkedAge(t *test) {
	t.someGroup("a")
	t.advance(ParkedAge - 2*slack)
	share := t.share("a", 3)
	c := next(share, "parked again")
	c.Park = []*journalv1.Parked{parked(7, "again")}
	t.save("a", []bool{true}, c)
	for range 2 {
		t.advance(2 * slack)
		t.retain()
	}
	t.equal("one is old", t.parkedPositions(journal.GroupReader("a")), []sinks.Position{7})
	t.equal("counted", t.group("a").Parked, uint64(1))
	t.equal("replays", len(t.replays(t.store(), "a")), 0)
}

func groupLimits(t *test) {
	t.newGroup("a", "start")
	s := t.session(t.store())
	share := t.take(s, "a", 0)
	before := t.shot(t.store(), "a")
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, name := range []string{"", "a\x00b", "\xff", long(journal.MaxGroupName + 1)} {
		_, err := t.store().SetGroup(t.ctx, name, 0, nil, nil)
		t.is(fmt.Sprintf("group %q", name), err, journal.ErrLimit)
	}
	for _, id := range []string{"", "a\x00b", "\xff", long(journal.MaxMemberID + 1)} {
		t.is(fmt.Sprintf("member %q", id), s.Join(t.ctx, "a", id, nil), journal.ErrLimit)
	}
	t.is("note", s.Join(t.ctx, "a", "m", make([]byte, journal.MaxMemberNote+1)), journal.ErrLimit)
	_, err := t.store().SetGroup(t.ctx, "a", before.Version, make([]byte, journal.MaxDefinition+1), nil)
	t.is("definition", err, journal.ErrLimit)
	_, err = t.store().SetGroup(t.ctx, "a", before.Version, nil, &journal.GroupReset{State: make([]byte, journal.MaxShareState+1)})
	t.is("state of a reset", err, journal.ErrLimit)
	_, err = t.store().SaveShares(t.ctx, "a", []journal.ShareChange{
		next(t.share("a", 1), "beside a large state"), next(share, long(journal.MaxShareState+1)),
	})
	t.is("state", err, journal.ErrLimit)
	for _, changes := range [][]journal.ShareChange{{{Index: -1}}, {{Index: journal.GroupShares}}, {next(share, "x"), next(share, "y")}} {
		if _, err = t.store().SaveShares(t.ctx, "a", changes); err == nil {
			t.fatalf("changes of shares that there are not, or twice: %+v", changes)
		}
	}
	t.equal("after what was refused", t.shot(t.store(), "a"), before)
	t.equal("members", len(t.members("a")), 0)
	names, err := t.store().GroupNames(t.ctx, "", 10)
	t.fail("names", err)
	t.equal("groups", names, []string{"a"})
	longest := long(journal.MaxGroupName)
	large := bytes.Repeat([]byte("y"), journal.MaxShareState)
	t.setGroup(longest, 0, long(journal.MaxDefinition), nil)
	t.fail("join", s.Join(t.ctx, longest, long(journal.MaxMemberID), make([]byte, journal.MaxMemberNote)))
	t.save(longest, []bool{true}, next(t.share(longest, 255), string(large)))
	t.equal("a large state is kept", bytes.Equal(t.share(longest, 255).State, large), true)
	t.equal("a large definition is kept", len(t.group(longest).Definition), journal.MaxDefinition)
}
