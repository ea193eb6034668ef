package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/memgroups"
	"github.com/webhook-bridge/bridge/sinks"
)

var (
	historyGroups = []string{"a", "b"}
	historyShares = []int{0, 1, 2, 255}
)

// groupSide is the engine, or the model: the instances, and what was seen of them. Both sides see the same at the same time, with numbers of their own.
type groupSide struct {
	stores []GroupStore
	// open starts an instance of the model again.
	open     func(i int) GroupStore
	sessions []journal.Session
	// shares and versions of groups were seen, the newest last.
	shares   map[string][]journal.Share
	versions map[string][]uint64
}

func newSide() *groupSide {
	return &groupSide{shares: make(map[string][]journal.Share), versions: make(map[string][]uint64)}
}

func newModel(instances int) *groupSide {
	s := memgroups.New(nil)
	model := newSide()
	model.open = func(int) GroupStore { return s.Open("") }
	for i := range instances {
		model.stores = append(model.stores, model.open(i))
	}
	return model
}

// groupOp is a call. Its numbers say which session, and which share that was seen, so that both sides can make it.
type groupOp struct {
	what string
	do   func(ctx context.Context, s *groupSide) groupResult
	// kill says which instances of the model end.
	kill func(i int) bool
	// observes: the sides are looked at.
	observes bool
	enlists  bool
}

var observation = groupOp{observes: true}

// groupResult is the result of a call, without the side's own numbers.
type groupResult struct {
	Err   error
	Saved []bool
	Taken []string
	// enlisted is a new session.
	enlisted journal.Session
	// failed is an error that says nothing of what happened.
	failed error
}

func (r groupResult) String() string {
	return fmt.Sprintf("{%v %v %q failed: %v}", r.Err, r.Saved, r.Taken, r.failed)
}

// Equal compares what both sides must have.
func (r groupResult) Equal(other groupResult) bool {
	return sameError(r.Err, other.Err) && slices.Equal(r.Saved, other.Saved) && slices.Equal(r.Taken, other.Taken)
}

func resultOf(err error) groupResult {
	if errors.Is(err, journal.ErrUnavailable) || err != nil && sameError(err, errUnknown) {
		return groupResult{failed: err}
	}
	return groupResult{Err: err}
}

var errUnknown = errors.New("an error of no known kind")

// happen makes a call at the model.
func (op *groupOp) happen(t *test, s *groupSide) (r groupResult) {
	switch {
	case op.observes:
		s.observe(t)
	case op.kill != nil:
		for i := range s.stores {
			if op.kill(i) {
				t.fail("close", s.stores[i].Close())
				s.stores[i] = s.open(i)
			}
		}
	default:
		r = op.do(t.ctx, s)
		s.keep(r)
	}
	return r
}

// keep adds a session that was enlisted. A call that failed leaves none.
func (s *groupSide) keep(r groupResult) {
	if r.enlisted != nil {
		s.sessions = append(s.sessions, r.enlisted)
	}
}

// observe sees all shares and versions.
func (s *groupSide) observe(t *test) {
	for _, name := range historyGroups {
		g, err := s.stores[0].Group(t.ctx, name)
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		t.fail("group", err)
		s.versions[name] = append(s.versions[name], g.Version)
		all, err := s.stores[0].Shares(t.ctx, name, historyShares)
		t.fail("shares", err)
		s.shares[name] = append(s.shares[name], all...)
	}
}

// sideView is a side's view of a group.
type sideView struct {
	Definition      string
	Members, Owners []string
	States, Letters []string
	Replays         []sinks.Position
	Parked          uint64
	// numbers are those that the sides have of their own, by name.
	numbers []sideNumber
}

type sideNumber struct {
	name  string
	value uint64
}

// view returns what a side shows of each group. Any instance may show it.
func (s *groupSide) view(t *test) map[string]sideView {
	all := make(map[string]sideView)
	for n, name := range historyGroups {
		store := s.stores[(len(s.versions[name])+n)%len(s.stores)]
		g, err := store.Group(t.ctx, name)
		if errors.Is(err, journal.ErrNotFound) {
			letters, err := store.Parked(t.ctx, journal.GroupReader(name), 0, 10)
			if err != nil || len(letters) > 0 {
				t.fatalf("%d parked events of a deleted group, %v", len(letters), err)
			}
			continue
		}
		t.fail("group", err)
		v := sideView{Definition: string(g.Definition), Parked: g.Parked, Replays: t.replays(store, name)}
		v.numbers = append(v.numbers, sideNumber{"version of " + name, g.Version})
		for _, m := range g.Members {
			v.Members = append(v.Members, fmt.Sprintf("%s of session %d: %s", m.ID, s.session(m.Session), m.Note))
		}
		shares, err := store.Shares(t.ctx, name, historyShares)
		t.fail("shares", err)
		for _, share := range shares {
			v.States = append(v.States, string(share.State))
			v.Owners = append(v.Owners, fmt.Sprint("session ", s.session(g.Owners[share.Index])))
			what := fmt.Sprintf(" of share %d of %s", share.Index, name)
			v.numbers = append(v.numbers, sideNumber{"epoch" + what, share.Epoch}, sideNumber{"version" + what, share.Version})
		}
		letters, err := store.Parked(t.ctx, journal.GroupReader(name), 0, 10)
		t.fail("parked", err)
		for _, l := range letters {
			v.Letters = append(v.Letters, fmt.Sprint(l.GetPosition(), " ", l.GetReason(), " ", l.GetAttemptCount()))
		}
		all[name] = v
	}
	return all
}

// session returns the number of a session, -1 for none.
func (s *groupSide) session(id string) int {
	return slices.IndexFunc(s.sessions, func(session journal.Session) bool { return session.ID() == id })
}

// numberPairs has the last number of each side, by name.
type numberPairs map[string]uint64

// compareSides returns how what the sides show differs. It adds to the pairs.
func compareSides(pairs numberPairs, model, engine map[string]sideView) string {
	if d := cmp.Diff(model, engine, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".numbers" }, cmp.Ignore())); d != "" {
		return d
	}
	for _, name := range historyGroups {
		for n, m := range model[name].numbers {
			if d := pairs.add(m.name, m.value, engine[name].numbers[n].value); d != "" {
				return d
			}
		}
	}
	return ""
}

// add adds a pair. The same number of the model has the same of the engine, and a greater one a greater one.
func (p numberPairs) add(name string, model, engine uint64) string {
	last, greatest := name+", the model's", name+", the engine's"
	switch {
	case model == p[last] && engine == p[greatest], model > p[last] && engine > p[greatest]:
	default:
		return fmt.Sprintf("%s: the model went from %d to %d, and the engine from %d to %d", name, p[last], model, p[greatest], engine)
	}
	p[last], p[greatest] = model, engine
	return ""
}

// op makes a random call.
func (h *groupHistory) op() groupOp {
	name := historyGroups[h.rng.IntN(20)/15]
	at := h.rng.IntN(len(h.h.Instances))
	p := sinks.Position(1 + h.rng.IntN(3))
	switch n := h.rng.IntN(100); {
	case n < 45:
		return h.save(at, name)
	case n < 55:
		return h.set(at, name)
	case n < 58:
		return groupOp{what: "delete " + name, do: func(ctx context.Context, s *groupSide) groupResult {
			return resultOf(s.stores[at].DeleteGroup(ctx, name))
		}}
	case n < 64:
		return h.enlist(at)
	case n < 69:
		return groupOp{what: fmt.Sprintf("retry %d of %s", p, name), do: func(ctx context.Context, s *groupSide) groupResult {
			return resultOf(s.stores[at].RequestRetry(ctx, journal.GroupReader(name), p))
		}}
	case n < 71:
		return groupOp{what: fmt.Sprintf("discard %d of %s", p, name), do: func(ctx context.Context, s *groupSide) groupResult {
			return resultOf(s.stores[at].DiscardParked(ctx, journal.GroupReader(name), p))
		}}
	}
	return h.sessionOp(name)
}

func (h *groupHistory) enlist(at int) groupOp {
	return groupOp{what: fmt.Sprint("enlist at ", at), enlists: true, do: func(ctx context.Context, s *groupSide) groupResult {
		session, err := s.stores[at].Enlist(ctx)
		r := resultOf(err)
		if err == nil {
			r.enlisted = session
		}
		return r
	}}
}

// sessionOp makes a random call of a session, most often of one of the newest.
func (h *groupHistory) sessionOp(name string) groupOp {
	of := max(0, len(h.engine.sessions)-1-h.rng.IntN(4))
	h.serial++
	member, note := []string{"m", "n"}[h.rng.IntN(2)], fmt.Sprint("note ", h.serial)
	what := func(format string, args ...any) string {
		return fmt.Sprintf("session %d: ", of) + fmt.Sprintf(format, args...)
	}
	switch n := h.rng.IntN(20); {
	case n < 10:
		indexes := h.someShares()
		return groupOp{what: what("take %v of %s", indexes, name), do: func(ctx context.Context, s *groupSide) groupResult {
			taken, err := s.sessions[of].Take(ctx, name, indexes)
			r := resultOf(err)
			for _, share := range taken {
				r.Taken = append(r.Taken, fmt.Sprint(share.Index, " ", string(share.State)))
			}
			return r
		}}
	case n < 15:
		return groupOp{what: what("%s joins %s: %s", member, name, note), do: func(ctx context.Context, s *groupSide) groupResult {
			return resultOf(s.sessions[of].Join(ctx, name, member, []byte(note)))
		}}
	case n < 17:
		return groupOp{what: what("%s leaves %s", member, name), do: func(ctx context.Context, s *groupSide) groupResult {
			return resultOf(s.sessions[of].Leave(ctx, name, member))
		}}
	}
	return groupOp{what: what("close"), do: func(ctx context.Context, s *groupSide) groupResult {
		return resultOf(s.sessions[of].Close(ctx))
	}}
}

func (h *groupHistory) someShares() (indexes []int) {
	for _, n := range historyShares {
		if h.rng.IntN(2) == 0 {
			indexes = append(indexes, n)
		}
	}
	return indexes
}

// set makes a group, or replaces its definition, most often that of now.
func (h *groupHistory) set(at int, name string) groupOp {
	h.serial++
	definition := fmt.Sprint("definition ", h.serial)
	var reset *journal.GroupReset
	if h.rng.IntN(2) == 0 {
		reset = &journal.GroupReset{State: fmt.Append(nil, "reset ", h.serial)}
	}
	seen := len(h.engine.versions[name]) - 1
	if h.rng.IntN(4) == 0 {
		seen -= h.rng.IntN(5)
	}
	if h.rng.IntN(3) == 0 {
		seen = -1
	}
	what := fmt.Sprintf("set %s, of sight %d, to %q, reset %v", name, seen, definition, reset)
	return groupOp{what: what, do: func(ctx context.Context, s *groupSide) groupResult {
		version := uint64(0)
		if seen >= 0 {
			version = s.versions[name][seen]
		}
		_, err := s.stores[at].SetGroup(ctx, name, version, []byte(definition), reset)
		return resultOf(err)
	}}
}

// sighting is a change of a share as it was seen at some time.
type sighting struct {
	seen   int
	change journal.ShareChange
}

// save writes shares, most often as they are now.
func (h *groupHistory) save(at int, name string) groupOp {
	var all []sighting
	what := []string{fmt.Sprintf("save %s at %d:", name, at)}
	used := make(map[int]bool)
	newest := len(h.engine.shares[name])
	for range h.rng.IntN(3) + 1 {
		if newest == 0 {
			break
		}
		seen := max(0, newest-1-h.rng.IntN(2*len(historyShares)))
		if h.rng.IntN(5) == 0 {
			seen = max(0, newest-1-h.rng.IntN(40))
		}
		if index := h.engine.shares[name][seen].Index; !used[index] {
			used[index] = true
			h.serial++
			c := h.change()
			all = append(all, sighting{seen, c})
			what = append(what, fmt.Sprintf("share %d of sight %d, release %v, park %d, attempted %d, unpark %v, %s;",
				index, seen, c.Release, len(c.Park), len(c.Attempted), c.Unpark, c.State))
		}
	}
	return groupOp{what: strings.Join(what, " "), do: func(ctx context.Context, s *groupSide) groupResult {
		var changes []journal.ShareChange
		for _, one := range all {
			share, c := s.shares[name][one.seen], one.change
			c.Index, c.Epoch, c.Version = share.Index, share.Epoch, share.Version
			changes = append(changes, c)
		}
		saved, err := s.stores[at].SaveShares(ctx, name, changes)
		r := resultOf(err)
		r.Saved = saved
		return r
	}}
}

func (h *groupHistory) change() journal.ShareChange {
	c := journal.ShareChange{State: fmt.Append(nil, "state ", h.serial), Release: h.rng.IntN(5) == 0}
	letter := func() *journalv1.Parked {
		return parked(sinks.Position(1+h.rng.IntN(3)), fmt.Sprint("refused ", h.serial))
	}
	switch h.rng.IntN(8) {
	case 0:
		c.Park = []*journalv1.Parked{letter(), letter()}
	case 1:
		c.Park = []*journalv1.Parked{letter()}
		c.Attempted = []*journalv1.Parked{letter()}
	case 2:
		c.Attempted = []*journalv1.Parked{letter()}
		c.Unpark = []sinks.Position{sinks.Position(1 + h.rng.IntN(3))}
	}
	return c
}
