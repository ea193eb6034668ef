package journaltest

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// GroupStore is the part of a journal that the cases about groups use.
type GroupStore interface {
	journal.Groups
	journal.DeadLetters
	Close() error
}

// GroupHarness is an empty store of groups that is no journal, and the failures that can happen to it, as in a [Harness].
type GroupHarness struct {
	Instances []GroupStore
	Reopen    func(i int) GroupStore
	Crash     func(n int, during func()) []GroupStore
	Stall     func() (held <-chan struct{}, resume func(fail bool))
	Freeze    func(i int) (thaw func())
	Fail      func() (mend func())
}

// onlyGroups stands for a store in a [Harness]. Nothing else of a journal can be used.
type onlyGroups struct {
	journal.Journal
	store GroupStore
}

// storeOf returns the store of groups that a journal is, or nil.
func storeOf(j journal.Journal) GroupStore {
	if only, ok := j.(onlyGroups); ok {
		return only.store
	}
	s, _ := j.(GroupStore)
	return s
}

func (g GroupHarness) harness() Harness {
	all := func(stores []GroupStore) (wrapped []journal.Journal) {
		for _, s := range stores {
			wrapped = append(wrapped, onlyGroups{store: s})
		}
		return wrapped
	}
	h := Harness{Instances: all(g.Instances), Stall: g.Stall, Freeze: g.Freeze, Fail: g.Fail}
	if g.Reopen != nil {
		h.Reopen = func(i int) journal.Journal { return onlyGroups{store: g.Reopen(i)} }
	}
	if g.Crash != nil {
		h.Crash = func(n int, during func()) []journal.Journal { return all(g.Crash(n, during)) }
	}
	return h
}

// allGroupCases returns the cases about groups.
func allGroupCases() []testCase {
	all := slices.Concat(groupCases, sessionCases, groupFailureCases)
	for i := range all {
		all[i].needs = append(all[i].needs, hasGroups)
	}
	return all
}

// RunGroups runs the cases about groups, each against a store of its own, which open makes. [Run] runs them against journals.
func RunGroups(t *testing.T, open func(t *testing.T) GroupHarness) {
	t.Helper()
	for _, c := range allGroupCases() {
		t.Run(c.name, func(t *testing.T) { c.test(t, func(t *testing.T) Harness { return open(t).harness() }) })
	}
}

// FailingGroups is [Failing] for the cases about groups.
func FailingGroups(t *testing.T, open func(t *testing.T) GroupHarness) (names []string) {
	t.Helper()
	return failing(t, allGroupCases(), func(t *testing.T) Harness { return open(t).harness() })
}

// store returns the store of an instance, the next one in turn.
func (t *test) store() GroupStore {
	t.calls++
	return t.storeAt(t.calls % len(t.h.Instances))
}

func (t *test) storeAt(i int) GroupStore { return storeOf(t.h.Instances[i]) }

// session enlists at an instance.
func (t *test) session(s GroupStore) journal.Session {
	session, err := s.Enlist(t.ctx)
	t.fail("enlist", err)
	return session
}

// newGroup makes a group whose shares all have a state.
func (t *test) newGroup(name, state string) (version uint64) {
	return t.setGroup(name, 0, "definition of "+name, &journal.GroupReset{State: []byte(state)})
}

func (t *test) setGroup(name string, version uint64, definition string, reset *journal.GroupReset) uint64 {
	next, err := t.store().SetGroup(t.ctx, name, version, []byte(definition), reset)
	t.fail("set group", err)
	if next <= version {
		t.fatalf("version %d of a group follows version %d", next, version)
	}
	return next
}

func (t *test) group(name string) *journal.GroupState {
	g, err := t.store().Group(t.ctx, name)
	t.fail("group", err)
	if len(g.Owners) != journal.GroupShares || len(g.Epochs) != journal.GroupShares {
		t.fatalf("a group has %d owners and %d epochs", len(g.Owners), len(g.Epochs))
	}
	return g
}

// owners returns the owners of shares.
func (t *test) owners(name string, indexes ...int) (all []string) {
	g := t.group(name)
	for _, n := range indexes {
		all = append(all, g.Owners[n])
	}
	return all
}

func (t *test) members(name string) (ids []string) {
	for _, m := range t.group(name).Members {
		ids = append(ids, m.ID)
	}
	return ids
}

// share returns one share.
func (t *test) share(name string, index int) journal.Share {
	all, err := t.store().Shares(t.ctx, name, []int{index})
	t.fail("shares", err)
	if len(all) != 1 || all[0].Index != index {
		t.fatalf("share %d: %+v", index, all)
	}
	return all[0]
}

// take has a session take one share.
func (t *test) take(s journal.Session, name string, index int) journal.Share {
	taken, err := s.Take(t.ctx, name, []int{index})
	t.fail("take", err)
	if len(taken) != 1 || taken[0].Index != index {
		t.fatalf("taken: %+v, want share %d", taken, index)
	}
	return taken[0]
}

// next is a change of a share.
func next(s journal.Share, state string) journal.ShareChange {
	return journal.ShareChange{Index: s.Index, Epoch: s.Epoch, Version: s.Version, State: []byte(state)}
}

// save writes shares, and ends the case unless want says for each whether it is written.
func (t *test) save(name string, want []bool, changes ...journal.ShareChange) {
	saved, err := t.store().SaveShares(t.ctx, name, changes)
	t.fail("save shares", err)
	t.equal("saved", saved, want)
}

// groupShot is everything durable that a group shows.
type groupShot struct {
	Definition      string
	Version, Parked uint64
	Epochs          []uint64
	Versions        []uint64
	States          []string
	Letters         []*journalv1.Parked
	Replays         []sinks.Position
}

// shot returns what a group shows, or nil if there is none.
func (t *test) shot(s GroupStore, name string) *groupShot {
	g, err := s.Group(t.ctx, name)
	if err != nil {
		t.is("group", err, journal.ErrNotFound)
		return nil
	}
	shot := &groupShot{Definition: string(g.Definition), Version: g.Version, Parked: g.Parked, Epochs: g.Epochs}
	all, err := s.Shares(t.ctx, name, everyShare())
	t.fail("shares", err)
	for n, share := range all {
		if share.Index != n || share.Epoch != g.Epochs[n] {
			t.fatalf("share %d has index %d and epoch %d, not %d", n, share.Index, share.Epoch, g.Epochs[n])
		}
		shot.Versions, shot.States = append(shot.Versions, share.Version), append(shot.States, string(share.State))
	}
	letters, err := s.Parked(t.ctx, journal.GroupReader(name), 0, 1000)
	t.fail("parked", err)
	for _, l := range letters {
		shot.Letters = append(shot.Letters, proto.CloneOf(l))
	}
	t.equal("parked", g.Parked, uint64(len(letters)))
	shot.Replays = t.replays(s, name)
	return shot
}

func (t *test) replays(s GroupStore, name string) (positions []sinks.Position) {
	all, err := s.Replays(t.ctx, name, 0, 1000)
	t.fail("replays", err)
	for _, p := range all {
		positions = append(positions, sinks.Position(p.GetPosition()))
	}
	return positions
}

func everyShare() (all []int) {
	for n := range journal.GroupShares {
		all = append(all, n)
	}
	return all
}
