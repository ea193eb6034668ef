package journaltest

import (
	"fmt"
	"slices"
	"sync"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// reset gives all shares of a group a state.
func (t *test) reset(name, state string) {
	g := t.group(name)
	t.setGroup(name, g.Version, string(g.Definition), &journal.GroupReset{State: []byte(state)})
}

func resets(t *test) {
	s := t.someGroup("a")
	before := t.shot(t.store(), "a")
	owned := t.share("a", 3)
	t.reset("a", "reset")
	after := t.shot(t.store(), "a")
	t.equal("states", after.States, slices.Repeat([]string{"reset"}, journal.GroupShares))
	for n := range after.Epochs {
		t.grew(journal.Share{Index: n, Epoch: before.Epochs[n], Version: before.Versions[n]},
			journal.Share{Index: n, Epoch: after.Epochs[n], Version: after.Versions[n]})
	}
	t.equal("parked", after.Letters, before.Letters)
	t.equal("replays", after.Replays, before.Replays)
	t.equal("members", t.members("a"), []string{"member"})
	t.equal("owners", t.owners("a", 3, 200), []string{"", ""})
	t.save("a", []bool{false}, next(owned, "late"))
	t.equal("state", string(t.share("a", 3).State), "reset")
	t.take(s, "a", 3) // by the same session again
	version := t.group("a").Version
	t.setGroup("a", version, "no reset", nil)
	t.equal("owner after a change without a reset", t.owners("a", 3), []string{s.ID()})
}

// racedReset resets a group while shares are written, each write on top of the one before.
func racedReset(t *test) {
	t.newGroup("a", "start")
	for round := range 5 {
		s := t.session(t.store())
		var writers sync.WaitGroup
		begun := make(chan struct{}, 4)
		failed := make(chan error, 4)
		for n := range 4 {
			share, store := t.take(s, "a", n), t.store()
			writers.Go(func() {
				for k := 0; ; k++ {
					saved, err := store.SaveShares(t.ctx, "a", []journal.ShareChange{next(share, fmt.Sprint("write ", k))})
					if err != nil || !saved[0] {
						failed <- err
						return
					}
					if k == 0 {
						begun <- struct{}{}
					}
					share.Version++
				}
			})
		}
		for range 4 {
			<-begun
		}
		state := fmt.Sprint("reset ", round)
		t.reset("a", state)
		writers.Wait()
		for range 4 {
			t.fail("save shares", <-failed)
		}
		for n := range 4 {
			t.equal("state after a reset", string(t.share("a", n).State), state)
		}
		t.fail("close", s.Close(t.ctx))
	}
}

func resetCut(t *test) {
	t.newGroup("a", "reset -1")
	for n := range maxCrashes {
		before := t.shot(t.store(), "a")
		s, state := t.store(), fmt.Sprint("reset ", n)
		var err error
		t.crash(n, func() {
			_, err = s.SetGroup(t.ctx, "a", before.Version, []byte(state), &journal.GroupReset{State: []byte(state)})
		})
		after := t.shot(t.store(), "a")
		if err != nil && after.Version == before.Version {
			t.equal("after a crash", after, before)
			t.reset("a", state)
			continue
		}
		t.equal("states", after.States, slices.Repeat([]string{state}, journal.GroupShares))
		t.equal("definition", after.Definition, state)
		if after.Version <= before.Version || after.Epochs[255] <= before.Epochs[255] {
			t.fatalf("after a reset and a crash: version %d and epoch %d, before %d and %d", after.Version, after.Epochs[255], before.Version, before.Epochs[255])
		}
	}
}

func deletes(t *test) {
	reader := journal.GroupReader("a")
	t.newGroup("ab", "another")
	greatest := uint64(0)
	for round := range 3 {
		s := t.someGroup("a")
		t.raise("a", 3+round)
		before, owned := t.shot(t.store(), "a"), t.share("a", 3)
		if before.Version <= greatest || before.Versions[255] <= greatest || before.Epochs[255] <= greatest {
			t.fatalf("a group has versions and epochs of an earlier one of its name: up to %d, and %+v", greatest, before)
		}
		greatest = max(before.Version, slices.Max(before.Versions), slices.Max(before.Epochs))
		t.fail("delete", t.store().DeleteGroup(t.ctx, "a"))
		if round == 1 {
			t.reopen()
			s = t.session(t.store())
		}
		for i := range t.h.Instances {
			t.gone(t.storeAt(i), "a")
		}
		t.is("delete again", t.store().DeleteGroup(t.ctx, "a"), journal.ErrNotFound)
		t.is("join", s.Join(t.ctx, "a", "m", nil), journal.ErrNotFound)
		t.is("retry", t.store().RequestRetry(t.ctx, reader, 9), journal.ErrNotFound)
		_, err := s.Take(t.ctx, "a", []int{3})
		t.is("take", err, journal.ErrNotFound)
		t.newGroup("a", "made again")
		t.save("a", []bool{false}, next(owned, "late"))
		again := t.group("a")
		t.equal("members of the group that was made again", len(again.Members), 0)
		t.equal("owner", again.Owners[3], "")
		t.equal("parked", again.Parked, uint64(0))
		t.equal("replays", len(t.replays(t.store(), "a")), 0)
		greatest = max(greatest, again.Version)
		t.fail("delete", t.store().DeleteGroup(t.ctx, "a"))
	}
	t.equal("another group", string(t.share("ab", 3).State), "another")
}

// raise makes one of a group's three kinds of numbers greater than the others.
func (t *test) raise(name string, kind int) {
	for range 5 {
		switch kind % 3 {
		case 0:
			t.setGroup(name, t.group(name).Version, "", nil)
		case 1:
			t.save(name, []bool{true}, next(t.share(name, 100), ""))
		case 2:
			t.reset(name, "")
		}
	}
}

// gone ends the case if a store shows anything of a group.
func (t *test) gone(s GroupStore, name string) {
	if shot := t.shot(s, name); shot != nil {
		t.fatalf("a deleted group is there: %+v", shot)
	}
	_, err := s.Shares(t.ctx, name, []int{3})
	t.is("shares", err, journal.ErrNotFound)
	all, err := s.Parked(t.ctx, journal.GroupReader(name), 0, 10)
	t.fail("parked", err)
	t.equal("parked events of a deleted group", len(all), 0)
	t.equal("replays of a deleted group", len(t.replays(s, name)), 0)
	names, err := s.GroupNames(t.ctx, "", 10)
	t.fail("names", err)
	t.equal("a deleted group is listed", slices.Contains(names, name), false)
}

func deleteCut(t *test) {
	for n := range maxCrashes {
		name := fmt.Sprint("group ", n)
		t.newGroup(name, "start")
		c := next(t.share(name, 7), "state")
		c.Park = []*journalv1.Parked{parked(7, "refused")}
		t.save(name, []bool{true}, c)
		t.fail("retry", t.store().RequestRetry(t.ctx, journal.GroupReader(name), sinks.Position(7)))
		before, s := t.shot(t.store(), name), t.store()
		var err error
		t.crash(n, func() { err = s.DeleteGroup(t.ctx, name) })
		if after := t.shot(t.store(), name); after != nil {
			if err == nil {
				t.fatalf("a deleted group is there after a crash")
			}
			t.equal("after a crash", after, before)
			continue
		}
		t.gone(t.store(), name)
	}
}
