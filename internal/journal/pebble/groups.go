package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// GroupNames implements [journal.Groups].
func (j *Journal) GroupNames(ctx context.Context, after string, limit int) ([]string, error) {
	var names []string
	lower, upper := append(groupKey(after), 0), []byte{prefixGroup + 1}
	err := j.view(ctx, func(st *store) error {
		return st.eachKey(lower, upper, func(k, _ []byte) (bool, error) {
			if len(names) >= limit {
				return false, nil
			}
			names = append(names, string(k[1:]))
			return true, nil
		})
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Group implements [journal.Groups].
func (j *Journal) Group(ctx context.Context, name string) (*journal.GroupState, error) {
	state := &journal.GroupState{Name: name}
	err := j.groups.call(ctx, &groupCall{
		decide: func(r *groupRound) error {
			_, err := r.group(name)
			return err
		},
		show: func(st *store) error { return j.groups.show(st, state) },
	})
	if err != nil {
		return nil, err
	}
	state.Parked, err = j.countParked(ctx, j.readers.get(journal.GroupReader(name)))
	if err != nil {
		return nil, err
	}
	return state, nil
}

// show fills in a state as it is when a round has ended. Errors: ErrNotFound if the round has deleted the group.
func (gs *groups) show(st *store, state *journal.GroupState) error {
	v, err := st.get(groupKey(state.Name))
	g := gs.known[state.Name]
	if errors.Is(err, pebble.ErrNotFound) || g == nil {
		return fmt.Errorf("%w: group %q", journal.ErrNotFound, state.Name)
	}
	if err != nil {
		return err
	}
	if state.Version, state.Definition, err = parseGroup(v); err != nil {
		return err
	}
	for _, s := range g.shares {
		owner := ""
		if s.owner != nil && !s.owner.ended() {
			owner = s.owner.id
		}
		state.Owners, state.Epochs = append(state.Owners, owner), append(state.Epochs, s.epoch)
	}
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		if m := g.members[id]; !m.session.ended() {
			state.Members = append(state.Members, journal.GroupMember{
				ID: id, Session: m.session.id, Replica: m.session.g.j.cfg.Name, Joined: m.joined, Note: bytes.Clone(m.note),
			})
		}
	}
	return nil
}

// SetGroup implements [journal.Groups].
func (j *Journal) SetGroup(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
	if err := journal.CheckGroup(name, definition, reset); err != nil {
		return 0, err
	}
	definition = bytes.Clone(definition)
	if reset != nil {
		reset = &journal.GroupReset{State: bytes.Clone(reset.State)}
	}
	var next uint64
	err := j.groups.call(ctx, &groupCall{decide: func(r *groupRound) error {
		g, err := r.group(name)
		switch {
		case errors.Is(err, journal.ErrNotFound) && version == 0:
			if g, err = r.newGroup(name); err != nil {
				return err
			}
			if reset == nil {
				reset = &journal.GroupReset{}
			}
		case errors.Is(err, journal.ErrNotFound):
			return journal.ErrConflict
		case err != nil:
			return err
		case g.version != version:
			return journal.ErrConflict
		}
		g.version++
		next = g.version
		r.changed = true
		return errors.Join(r.batch.Set(groupKey(name), groupValue(next, definition), nil), r.reset(g, name, reset))
	}})
	if err != nil {
		return 0, err
	}
	return next, nil
}

// newGroup adds a group that has no definition and no states.
func (r *groupRound) newGroup(name string) (*knownGroup, error) {
	if r.g.count >= journal.MaxGroups {
		return nil, fmt.Errorf("%w: there are %d groups", journal.ErrLimit, journal.MaxGroups)
	}
	g := &knownGroup{version: r.g.spent, members: make(map[string]*groupMember)}
	for n := range g.shares {
		g.shares[n].epoch, g.shares[n].version = r.g.spent, r.g.spent
	}
	r.g.known[name] = g
	r.g.count++
	return g, nil
}

// reset gives all shares a state, and takes them from their owners.
func (r *groupRound) reset(g *knownGroup, name string, reset *journal.GroupReset) error {
	if reset == nil {
		return nil
	}
	before := g.shares
	r.undo = append(r.undo, func() { g.shares = before })
	for n := range g.shares {
		s := &g.shares[n]
		*s = groupShare{epoch: s.epoch + 1, version: s.version + 1}
		if err := r.batch.Set(shareKey(name, n), shareValue(s.epoch, s.version, reset.State), nil); err != nil {
			return err
		}
	}
	return nil
}

// DeleteGroup implements [journal.Groups]. It also deletes a group that is damaged.
func (j *Journal) DeleteGroup(ctx context.Context, name string) error {
	// Of a group that does not exist nothing is kept, not even the reader of its parked events.
	if err := j.view(ctx, func(st *store) error { return checkGroup(st.db, name) }); err != nil {
		return err
	}
	return j.groups.call(ctx, &groupCall{letters: name, decide: func(r *groupRound) error {
		g, err := r.group(name)
		used := r.g.spent + unreadableSpends
		switch {
		case err == nil:
			used = g.greatest()
		case !isDamage(err):
			return err
		}
		shares, sharesEnd := readerKeys(prefixShare, name)
		reader := r.readers[name]
		parked, parkedEnd := readerKeys(prefixParked, reader.name)
		requests, requestsEnd := readerKeys(prefixRequest, reader.name)
		r.ended[reader] = append(r.ended[reader], j.readers.requestsOf(reader, func(request) bool { return true })...)
		if known := r.g.known[name]; known != nil {
			r.undo = append(r.undo, func() { r.g.known[name] = known })
		}
		delete(r.g.known, name)
		r.g.count--
		r.changed = true
		return errors.Join(
			r.spend(used),
			r.batch.Delete(groupKey(name), nil),
			r.batch.DeleteRange(shares, sharesEnd, nil),
			r.batch.DeleteRange(parked, parkedEnd, nil),
			r.batch.DeleteRange(requests, requestsEnd, nil),
		)
	}})
}

// Shares implements [journal.Groups].
func (j *Journal) Shares(ctx context.Context, name string, indexes []int) ([]journal.Share, error) {
	if err := journal.CheckShares(indexes); err != nil {
		return nil, err
	}
	var all []journal.Share
	err := j.view(ctx, func(st *store) (err error) {
		snapshot := st.db.NewSnapshot()
		defer func() { err = errors.Join(err, snapshot.Close()) }()
		err = checkGroup(snapshot, name)
		for _, n := range indexes {
			if err != nil {
				return err
			}
			var s journal.Share
			s, err = getShare(snapshot, name, n)
			all = append(all, s)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// checkGroup returns ErrNotFound if there is no group of the name. The record of the empty name is no group.
func checkGroup(db pebble.Reader, name string) error {
	if name == "" {
		return fmt.Errorf("%w: group %q", journal.ErrNotFound, name)
	}
	_, closer, err := db.Get(groupKey(name))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return fmt.Errorf("%w: group %q", journal.ErrNotFound, name)
	case err != nil:
		return err
	}
	return closer.Close()
}

// SaveShares implements [journal.Groups].
func (j *Journal) SaveShares(ctx context.Context, name string, changes []journal.ShareChange) ([]bool, error) {
	if err := journal.CheckChanges(changes); err != nil {
		return nil, err
	}
	c := &groupCall{}
	changes = slices.Clone(changes)
	for n := range changes {
		if own(&changes[n]) {
			c.letters = name
		}
	}
	saved := make([]bool, len(changes))
	c.decide = func(r *groupRound) error {
		g, err := r.group(name)
		if err != nil {
			return err
		}
		for n := range changes {
			if saved[n], err = r.save(g, name, &changes[n]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := j.groups.call(ctx, c); err != nil {
		return nil, err
	}
	return saved, nil
}

// own makes a change independent of its caller, and reports whether it is about parked events.
func own(c *journal.ShareChange) (letters bool) {
	c.State = bytes.Clone(c.State)
	c.Park, c.Attempted, c.Unpark = cloneParked(c.Park), cloneParked(c.Attempted), slices.Clone(c.Unpark)
	return len(c.Park)+len(c.Attempted)+len(c.Unpark) > 0
}

func cloneParked(all []*journalv1.Parked) (clones []*journalv1.Parked) {
	for _, p := range all {
		clones = append(clones, proto.CloneOf(p))
	}
	return clones
}

// save writes a share, unless the change is of another epoch or version.
func (r *groupRound) save(g *knownGroup, name string, c *journal.ShareChange) (saved bool, err error) {
	s := &g.shares[c.Index]
	if s.epoch != c.Epoch || s.version != c.Version {
		return false, nil
	}
	if err := r.saveLetters(name, c); err != nil {
		return false, err
	}
	s.version++
	if before := *s; c.Release && s.owner != nil {
		r.undo = append(r.undo, func() { *s = before })
		s.owner, r.changed = nil, true
	}
	return true, r.batch.Set(shareKey(name, c.Index), shareValue(s.epoch, s.version, c.State), nil)
}

// saveLetters carries out what a change says about parked events.
func (r *groupRound) saveLetters(name string, c *journal.ShareChange) error {
	reader := r.readers[name]
	for n, p := range slices.Concat(c.Park, c.Attempted) {
		err := r.j.addParked(r.batch, r.batch, reader.name, p, n < len(c.Park))
		if err = errors.Join(err, r.endRequests(reader, sinks.Position(p.GetPosition()))); err != nil {
			return err
		}
	}
	for _, p := range c.Unpark {
		if err := errors.Join(r.batch.Delete(readerKey(prefixParked, reader.name, p), nil), r.endRequests(reader, p)); err != nil {
			return err
		}
	}
	return nil
}

// endRequests removes the requests about an event.
func (r *groupRound) endRequests(reader *reader, p sinks.Position) error {
	done := r.j.readers.requestsAt(reader, p)
	r.ended[reader] = append(r.ended[reader], done...)
	return deleteRequests(r.batch, reader.name, done)
}

// Replays implements [journal.Groups].
func (j *Journal) Replays(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	reader := j.readers.find(journal.GroupReader(name))
	requests := j.readers.requestsOf(reader, func(q request) bool { return q.kind == requestRetry && q.position >= from })
	var all []*journalv1.Parked
	err := j.view(ctx, func(st *store) error {
		for _, q := range requests {
			if len(all) >= limit {
				return nil
			}
			p := new(journalv1.Parked)
			switch err := st.getMessage(readerKey(prefixParked, reader.name, q.position), p); {
			case errors.Is(err, pebble.ErrNotFound):
			case err != nil:
				return err
			default:
				all = append(all, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
