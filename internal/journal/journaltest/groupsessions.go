package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	oneOwnerAtATime = "A share has one owner at a time."
	lostBeforeTaken = "A session that is lost notices before another session can take its shares. An owner that went on all the same cannot write."
	goneWithSession = "Members and owners are gone with their session: when it closes, when its instance ends, and some seconds after its instance stopped."
	hearsChanges    = "A session hears of what changed, at every instance."
)

var sessionCases = []testCase{
	{"one owner", oneOwnerAtATime, oneOwnerOfEach, nil},
	{"owners at the same instant", oneOwnerAtATime, racedOwners, nil},
	{"lost before its shares are taken", lostBeforeTaken, lostBeforeTheNextOwner, nil},
	{"owner of a stopped instance", lostBeforeTaken, stoppedOwner, []need{several, canFreeze}},
	{"members", goneWithSession, membersLeave, nil},
	{"ended with its instance", goneWithSession, endedInstance, []need{canReopen}},
	{"changes are heard of", hearsChanges, changesAreHeard, nil},
}

var groupFailureCases = []testCase{
	{"failed writes of groups", whenWritesFail, failedGroupWrites, []need{canFail}},
	{"groups that are not durable", "Nothing is shown, and no append returns, before it is durable.", unshownGroups, []need{canStall}},
	{"removed, but not durable", "Nothing is shown, and no append returns, before it is durable.", removedButNotDurable, []need{canStall, canCrash}},
	{"contexts of groups", "When the context of a call ends, the call returns its error, also while it waits.", groupContexts, []need{canStall}},
	{"groups of a closed journal", "Every call that waits, and every later one, gets sinks.ErrClosed.", closedGroups, nil},
}

func ended(s journal.Session) bool {
	select {
	case <-s.Lost():
		return true
	default:
		return false
	}
}

func oneOwnerOfEach(t *test) {
	t.newGroup("a", "start")
	t.newGroup("b", "start")
	first, second := t.session(t.store()), t.session(t.store())
	t.equal("two sessions have one id", first.ID() == second.ID(), false)
	before := []journal.Share{t.share("a", 1), t.share("a", 2), t.share("a", 3)}
	taken, err := first.Take(t.ctx, "a", []int{1, 2})
	t.fail("take", err)
	t.equal("taken", len(taken), 2)
	for n, share := range taken {
		t.equal("taken", share, t.share("a", share.Index))
		t.grew(before[n], share)
		t.equal("state", string(share.State), "start")
	}
	t.equal("epoch of the group", t.group("a").Epochs[1], taken[0].Epoch)
	theirs, err := second.Take(t.ctx, "a", []int{1, 2, 3})
	t.fail("take", err)
	t.equal("free ones", len(theirs), 1)
	t.grew(before[2], theirs[0])
	again, err := first.Take(t.ctx, "a", []int{1, 2, 3})
	t.fail("take", err)
	t.equal("owned ones", len(again), 0)
	t.equal("owners", t.owners("a", 0, 1, 2, 3), []string{"", first.ID(), first.ID(), second.ID()})
	t.equal("owners of another group", t.owners("b", 1, 2, 3), []string{"", "", ""})
	c := next(taken[0], "given back")
	c.Release = true
	t.save("a", []bool{true}, c)
	t.equal("owner of a share that was given back", t.owners("a", 1), []string{""})
	moved := t.take(second, "a", 1)
	t.grew(taken[0], moved)
	t.equal("state", string(moved.State), "given back")
	// Any instance may write for the owner, without taking the share.
	t.save("a", []bool{true}, next(moved, "for the owner"))
	t.equal("owner", t.owners("a", 1), []string{second.ID()})
	t.fail("close", first.Close(t.ctx))
	t.take(second, "a", 2)
	if _, err := second.Take(t.ctx, "a", []int{journal.GroupShares}); err == nil {
		t.fatalf("a share was taken that there is not")
	}
}

// racedOwners has sessions of all instances take all shares at the same instant.
func racedOwners(t *test) {
	t.newGroup("a", "start")
	var sessions []journal.Session
	for range 2 * len(t.h.Instances) {
		sessions = append(sessions, t.session(t.store()))
	}
	var mu sync.Mutex
	owners := map[int]string{}
	failed := make([]error, len(sessions))
	var wg sync.WaitGroup
	for n, s := range sessions {
		wg.Go(func() {
			for first := range 8 {
				var some []int
				for k := first; k < journal.GroupShares; k += 8 {
					some = append(some, k)
				}
				taken, err := s.Take(t.ctx, "a", some)
				failed[n] = errors.Join(failed[n], err)
				mu.Lock()
				for _, share := range taken {
					if owners[share.Index] != "" {
						failed[n] = fmt.Errorf("share %d has two owners", share.Index)
					}
					owners[share.Index] = s.ID()
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.fail("take", errors.Join(failed...))
	for n, owner := range t.group("a").Owners {
		t.equal("owner", owner, owners[n])
	}
	t.equal("shares with an owner", len(owners), journal.GroupShares)
}

func lostBeforeTheNextOwner(t *test) {
	t.newGroup("a", "start")
	for range 10 {
		s, following := t.session(t.store()), t.session(t.store())
		owned := t.take(s, "a", 8)
		lost := make(chan error, 1)
		go func() {
			for {
				taken, err := following.Take(t.ctx, "a", []int{8})
				if err == nil && len(taken) == 0 {
					continue
				}
				if err == nil && !ended(s) {
					err = errors.New("another session has the share, and the session is not lost")
				}
				lost <- err
				return
			}
		}()
		t.fail("close", s.Close(t.ctx))
		t.fail("take", <-lost)
		t.save("a", []bool{false}, next(owned, "late"))
		t.lostSession(s)
		t.fail("close again", s.Close(t.ctx))
		t.equal("owner", t.owners("a", 8), []string{following.ID()})
		t.fail("close", following.Close(t.ctx))
	}
}

// lostSession ends the case unless the methods of a session say that it is lost.
func (t *test) lostSession(s journal.Session) {
	if !ended(s) {
		t.fatalf("the session is not lost")
	}
	for what, call := range map[string]func() error{
		"join":  func() error { return s.Join(t.ctx, "a", "late", nil) },
		"leave": func() error { return s.Leave(t.ctx, "a", "late") },
		"take":  func() error { _, err := s.Take(t.ctx, "a", []int{8}); return err },
	} {
		t.is(what+" by a session that is lost", call(), journal.ErrLost)
	}
}

// stoppedOwner has the owner's instance stop, another one take the share, and the first one go on.
func stoppedOwner(t *test) {
	t.newGroup("a", "start")
	zombie, following := t.session(t.storeAt(0)), t.session(t.storeAt(1))
	owned := t.take(zombie, "a", 8)
	t.fail("join", zombie.Join(t.ctx, "a", "stopped", nil))
	t.fail("join", following.Join(t.ctx, "a", "lives", nil))
	other := t.storeAt(0)
	thaw := t.h.Freeze(0)
	type result struct {
		saved []bool
		err   error
	}
	saving := make(chan result, 1)
	go func() { // reaches the storage when the instance goes on
		c := next(owned, "late")
		c.Park = []*journalv1.Parked{parked(7, "late")}
		saved, err := other.SaveShares(t.ctx, "a", []journal.ShareChange{c})
		saving <- result{saved, err}
	}()
	var taken []journal.Share
	t.within(shownWithin, "another session takes the share of a stopped instance", func() bool {
		var err error
		taken, err = following.Take(t.ctx, "a", []int{8})
		t.fail("take", err)
		return len(taken) == 1
	})
	if !ended(zombie) {
		t.fatalf("another session has the share, and the session of the stopped instance is not lost")
	}
	t.grew(owned, taken[0])
	g, err := t.storeAt(1).Group(t.ctx, "a")
	t.fail("group", err)
	if len(g.Members) != 1 || g.Members[0].ID != "lives" {
		t.fatalf("members while an instance is stopped: %+v", g.Members)
	}
	thaw()
	if r := <-saving; r.err == nil && r.saved[0] || r.err != nil && !errors.Is(r.err, journal.ErrUnavailable) {
		t.fatalf("a write that was under way when its instance stopped: %v, %v", r.saved, r.err)
	}
	t.persist("write of the owner from before", func() error {
		saved, err := other.SaveShares(t.ctx, "a", []journal.ShareChange{next(owned, "late")})
		if err == nil && saved[0] {
			return errors.New("it was written")
		}
		return err
	})
	t.lostSession(zombie)
	t.save("a", []bool{true}, next(taken[0], "by the owner"))
	t.equal("owner", t.owners("a", 8), []string{following.ID()})
	t.equal("parked", t.group("a").Parked, uint64(0))
	t.fail("join of a new session", t.session(t.storeAt(0)).Join(t.ctx, "a", "stopped", nil))
}

func membersLeave(t *test) {
	t.newGroup("a", "start")
	t.newGroup("b", "start")
	first, second := t.session(t.store()), t.session(t.store())
	t.fail("join", first.Join(t.ctx, "a", "1", []byte("one")))
	t.fail("join", second.Join(t.ctx, "a", "0", nil))
	t.fail("join", first.Join(t.ctx, "b", "1", nil))
	t.is("join of no group", first.Join(t.ctx, "no such group", "1", nil), journal.ErrNotFound)
	joined := t.group("a").Members
	t.equal("members", len(joined), 2)
	t.equal("member", []string{joined[1].ID, joined[1].Session, string(joined[1].Note)}, []string{"1", first.ID(), "one"})
	t.equal("member of another session", []string{joined[0].ID, joined[0].Session}, []string{"0", second.ID()})
	t.fail("join again", first.Join(t.ctx, "a", "1", []byte("another")))
	again := t.group("a").Members[1]
	t.equal("note", string(again.Note), "another")
	t.equal("joined at first", again.Joined.Equal(joined[1].Joined), true)
	t.fail("leave of another session's member", second.Leave(t.ctx, "a", "1"))
	t.equal("members", t.members("a"), []string{"0", "1"})
	t.fail("join of another session's member", second.Join(t.ctx, "a", "1", nil))
	t.equal("session of the member", t.group("a").Members[1].Session, second.ID())
	t.fail("leave", second.Leave(t.ctx, "a", "0"))
	t.fail("leave again", second.Leave(t.ctx, "a", "0"))
	t.equal("members", t.members("a"), []string{"1"})
	t.fail("join", first.Join(t.ctx, "a", "2", nil))
	t.take(first, "a", 1)
	t.take(second, "a", 2)
	t.fail("close", first.Close(t.ctx))
	t.equal("members", t.members("a"), []string{"1"})
	t.equal("members of another group", len(t.members("b")), 0)
	t.equal("owners", t.owners("a", 1, 2), []string{"", second.ID()})
	t.lostSession(first)
	if r, ok := t.h.Instances[0].(journal.Replicas); ok && !isOnlyGroups(t.h.Instances[0]) {
		t.replicaOfMember(r)
	}
}

func isOnlyGroups(j journal.Journal) bool {
	_, ok := j.(onlyGroups)
	return ok
}

// replicaOfMember checks that a member has the name of its instance.
func (t *test) replicaOfMember(r journal.Replicas) {
	all, err := r.Replicas(t.ctx)
	t.fail("replicas", err)
	self := all[slices.IndexFunc(all, func(r journal.Replica) bool { return r.Self })]
	s := t.session(t.storeAt(0))
	t.fail("join", s.Join(t.ctx, "b", "at the first instance", nil))
	t.equal("replica", t.group("b").Members[0].Replica, self.Name)
}

func endedInstance(t *test) {
	t.newGroup("a", "start")
	s := t.session(t.storeAt(0))
	owned := t.take(s, "a", 1)
	t.fail("join", s.Join(t.ctx, "a", "member", nil))
	for i := range t.h.Instances[1:] {
		t.fail("join", t.session(t.storeAt(i+1)).Join(t.ctx, "a", fmt.Sprint("other ", i), nil))
	}
	t.h.Instances[0] = t.h.Reopen(0)
	t.within(heldUpWithin, "members and owners go with their instance", func() bool {
		return len(t.members("a")) == len(t.h.Instances)-1 && t.owners("a", 1)[0] == ""
	})
	again := t.take(t.session(t.store()), "a", 1)
	t.grew(owned, again)
	t.save("a", []bool{false}, next(owned, "late"))
}

func changesAreHeard(t *test) {
	t.newGroup("a", "start")
	s := t.session(t.store())
	member := t.session(t.store())
	share := journal.Share{}
	changes := []struct {
		what string
		do   func() error
	}{
		{"definition", func() error { t.setGroup("a", t.group("a").Version, "another", nil); return nil }},
		{"reset", func() error { t.reset("a", ""); return nil }},
		{"member", func() error { return member.Join(t.ctx, "a", "member", nil) }},
		{"member that left", func() error { return member.Leave(t.ctx, "a", "member") }},
		{"owner", func() error { share = t.take(s, "a", 1); return nil }},
		{"share that was given back", func() error {
			c := next(share, "")
			c.Release, c.Park = true, []*journalv1.Parked{parked(7, "refused")}
			t.save("a", []bool{true}, c)
			return nil
		}},
		{"request", func() error { return t.store().RequestRetry(t.ctx, journal.GroupReader("a"), 7) }},
		{"session that closed", func() error { return member.Close(t.ctx) }},
		{"deletion", func() error { return t.store().DeleteGroup(t.ctx, "a") }},
		{"new group", func() error { t.newGroup("a", "start"); return nil }},
	}
	for _, c := range changes {
		if c.what == "session that closed" {
			t.fail("join", member.Join(t.ctx, "a", "member", nil))
		}
		var heard []<-chan struct{}
		for i := range t.h.Instances {
			listener := t.session(t.storeAt(i))
			defer func() { t.fail("close", listener.Close(context.WithoutCancel(t.ctx))) }()
			heard = append(heard, listener.Changed())
		}
		for _, ch := range heard {
			settle(ch)
		}
		t.fail(c.what, c.do())
		for i, ch := range heard {
			select {
			case <-ch:
			case <-time.After(heldUpWithin):
				t.fatalf("instance %d did not hear of a change: %s", i, c.what)
			}
		}
	}
}

// settle takes what a channel has.
func settle(ch <-chan struct{}) {
	for {
		select {
		case <-ch:
		default:
			return
		}
	}
}

func failedGroupWrites(t *test) {
	s := t.someGroup("a")
	before, share := t.shot(t.store(), "a"), t.share("a", 3)
	mend := t.h.Fail()
	_, err := t.store().SaveShares(t.ctx, "a", []journal.ShareChange{next(share, "failing")})
	t.is("save shares", err, journal.ErrUnavailable)
	_, err = t.store().SetGroup(t.ctx, "b", 0, nil, nil)
	t.is("set group", err, journal.ErrUnavailable)
	if _, err = s.Take(t.ctx, "a", []int{77}); !errors.Is(err, journal.ErrUnavailable) && !errors.Is(err, journal.ErrLost) {
		t.fatalf("take: %v", err)
	}
	mend()
	t.persist("a session", func() error { _, err := t.store().Enlist(t.ctx); return err })
	var after *groupShot
	t.persist("group", func() error {
		_, err := t.store().Group(t.ctx, "a")
		return err
	})
	t.persistAcross("shares", func() error {
		for i := range t.h.Instances {
			if _, err := t.storeAt(i).Shares(t.ctx, "a", []int{3}); err != nil {
				return err
			}
		}
		return nil
	})
	after = t.shot(t.store(), "a")
	if after.Versions[3] != before.Versions[3] { // what failed may have happened
		t.equal("state", after.States[3], "failing")
		before.Versions[3], before.States[3] = after.Versions[3], "failing"
	}
	if after.Epochs[77] != before.Epochs[77] {
		before.Epochs[77], before.Versions[77] = after.Epochs[77], after.Versions[77]
	}
	t.equal("after failed writes", after, before)
	share = t.share("a", 3)
	t.persist("save shares", func() error {
		saved, err := t.store().SaveShares(t.ctx, "a", []journal.ShareChange{next(share, "mended")})
		if err == nil && !saved[0] && string(t.share("a", 3).State) != "mended" {
			return errors.New("it was not written")
		}
		return err
	})
	t.within(shownWithin, "shares can be taken", func() bool {
		taken, err := t.session(t.store()).Take(t.ctx, "a", []int{77})
		return err == nil && len(taken) == 1
	})
}

// removedButNotDurable asks for a parked event while the write that removes it is under way, and fails. Who hears that the event is not parked
// finds it gone for good.
func removedButNotDurable(t *test) {
	t.someGroup("a")
	c := next(t.share("a", 3), "failing")
	c.Unpark = []sinks.Position{7}
	s := t.store()
	held, resume := t.stall()
	saving, asking := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.SaveShares(t.ctx, "a", []journal.ShareChange{c})
		saving <- err
	}()
	<-held
	go func() { asking <- s.RequestRetry(t.ctx, journal.GroupReader("a"), 7) }()
	var saved, answer error
	t.crash(0, func() {
		resume(true)
		saved, answer = <-saving, <-asking
	})
	left, err := t.store().Parked(t.ctx, journal.GroupReader("a"), 7, 1)
	t.fail("parked", err)
	if errors.Is(answer, journal.ErrNotFound) && left[0].GetPosition() == 7 {
		t.fatalf("an event is parked of which was said that it is not: %v; its removal: %v", answer, saved)
	}
}

func unshownGroups(t *test) {
	t.someGroup("a")
	before, share := t.shot(t.store(), "a"), t.share("a", 3)
	held, resume := t.stall()
	saving := make(chan error, 1)
	s := t.store()
	go func() {
		_, err := s.SaveShares(t.ctx, "a", []journal.ShareChange{next(share, "late")})
		saving <- err
	}()
	<-held
	for i := range t.h.Instances {
		t.unseen("shares", func(ctx context.Context) (any, error) {
			all, err := t.storeAt(i).Shares(ctx, "a", []int{3})
			if err != nil {
				return nil, err
			}
			return string(all[0].State), nil
		}, before.States[3])
		t.unseen("names", func(ctx context.Context) (any, error) {
			names, err := t.storeAt(i).GroupNames(ctx, "", 10)
			return len(names), err
		}, 1)
	}
	select {
	case err := <-saving:
		t.fatalf("a write returned before it was durable: %v", err)
	default:
	}
	resume(false)
	t.fail("save shares", <-saving)
	t.equal("state", string(t.share("a", 3).State), "late")
}

func groupContexts(t *test) {
	session := t.someGroup("a")
	share, version := t.share("a", 3), t.group("a").Version
	s := t.store()
	held, resume := t.stall()
	t.waits("save shares", func(ctx context.Context) error {
		_, err := s.SaveShares(ctx, "a", []journal.ShareChange{next(share, "late")})
		return err
	})
	<-held
	t.waits("set group", func(ctx context.Context) error {
		_, err := s.SetGroup(ctx, "a", version, nil, nil)
		return err
	})
	t.waits("take", func(ctx context.Context) error { _, err := session.Take(ctx, "a", []int{9}); return err })
	t.waits("delete", func(ctx context.Context) error { return s.DeleteGroup(ctx, "a") })
	resume(false)
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	_, err := s.Group(ctx, "a")
	t.is("group", err, context.Canceled)
	_, err = s.Enlist(ctx)
	t.is("enlist", err, context.Canceled)
}

func closedGroups(t *test) {
	session := t.someGroup("a")
	for i := range t.h.Instances {
		s := t.storeAt(i)
		mine := t.session(s)
		t.fail("close", s.Close())
		t.lostSession(mine)
		for what, call := range map[string]func() error{
			"enlist": func() error { _, err := s.Enlist(t.ctx); return err },
			"names":  func() error { _, err := s.GroupNames(t.ctx, "", 1); return err },
			"group":  func() error { _, err := s.Group(t.ctx, "a"); return err },
			"set":    func() error { _, err := s.SetGroup(t.ctx, "b", 0, nil, nil); return err },
			"delete": func() error { return s.DeleteGroup(t.ctx, "a") },
			"shares": func() error { _, err := s.Shares(t.ctx, "a", []int{3}); return err },
			"save":   func() error { _, err := s.SaveShares(t.ctx, "a", []journal.ShareChange{{Index: 3}}); return err },
			"replay": func() error { _, err := s.Replays(t.ctx, "a", sinks.Position(0), 1); return err },
			"join":   func() error { return mine.Join(t.ctx, "a", "m", nil) },
		} {
			t.is(what+" after close", call(), sinks.ErrClosed)
		}
		t.fail("close of a session", mine.Close(t.ctx))
	}
	t.lostSession(session)
}
