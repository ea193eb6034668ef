package groups

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// maxTries bounds how often a change of a definition or a share is tried again after it met another one.
const maxTries = 20

// Join adds a member to a group, which it makes if there is none. The member gets shares a moment later.
//
// Errors: [ErrOtherFilter], [ErrTooManyMembers], [ErrTooManyGroups], [ErrDrained], [ErrLost], [ErrNotFound] when the group was deleted meanwhile, that of
// Config.Compile, that of Request.From, journal.ErrUnavailable, sinks.ErrClosed, ctx's.
func (m *Manager) Join(ctx context.Context, req Request) (*Member, error) {
	r, err := m.running(ctx)
	if err != nil {
		return nil, err
	}
	member, err := r.join(ctx, req, false)
	if err != nil {
		return nil, joinError(err)
	}
	return member, nil
}

// joinError gives an error of the journal the name that callers know.
func joinError(err error) error {
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, journal.ErrLost):
		return ErrLost
	case errors.Is(err, ErrOtherFilter), errors.Is(err, ErrTooManyMembers), errors.Is(err, ErrTooManyGroups), errors.Is(err, ErrLost),
		errors.Is(err, ErrDrained), errors.Is(err, ErrNotFound):
		return err
	}
	return fmt.Errorf("groups: join: %w", err)
}

func (r *run) join(ctx context.Context, req Request, pull bool) (*Member, error) {
	state, def, err := r.manager.ensure(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(state.Members) >= r.manager.cfg.MaxMembers {
		return nil, ErrTooManyMembers
	}
	predicate, err := r.manager.cfg.Compile(def.filter)
	if err != nil {
		return nil, err
	}
	m, err := r.enter(req, def, state.Version, predicate, pull)
	if err != nil {
		return nil, err
	}
	if err := m.begin(ctx); err != nil {
		_ = m.Leave(context.WithoutCancel(ctx)) // A member that stays behind is found by the next look at the group.
		return nil, err
	}
	return m, nil
}

// enter makes a member of a group that is known here, or is from now on.
func (r *run) enter(req Request, def definition, version uint64, predicate Predicate, pull bool) (*Member, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, ErrLost
	case r.draining:
		return nil, ErrDrained
	}
	g := r.groups[req.Group]
	if g != nil && g.replacedBy(def) {
		g.end(ErrNotFound)
		g.stop()
		g = nil
	}
	isNew := g == nil
	if isNew {
		g = newGroup(r, req.Group, def, version)
		r.groups[req.Group] = g
		r.count.Store(int64(len(r.groups)))
	}
	m := newMember(g, rand.Text(), req.Label, predicate)
	m.pull = pull
	g.mu.Lock()
	defer g.mu.Unlock()
	g.redefine(def, version)
	g.members[m.id] = m
	if isNew {
		g.begin(r.ctx)
	}
	return m, nil
}

// replacedBy reports whether a definition is that of another group, which was made after this one was deleted.
func (g *group) replacedBy(def definition) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err != nil || !def.createdAt.Equal(g.def.createdAt)
}

// begin makes the member known to all instances. That of pulls waits until this one has looked at the group with it, and has taken the shares
// that are free: a pull may not wait itself.
func (m *Member) begin(ctx context.Context) error {
	g := m.group
	encoded, err := encodeNote(m.label, note{})
	if err != nil {
		return err
	}
	if err := g.run.session.Join(ctx, g.name, m.id, encoded); err != nil {
		return err
	}
	if m.pull {
		err = m.awaitLook(ctx)
	} else {
		signal(g.poke)
	}
	if err != nil {
		return err
	}
	lowest, err := lowestPosition(ctx, g.store, g.name, allShares())
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m.position = lowest
	m.start = Start{Member: m.id, Filter: g.def.filter, Policy: g.def.policy, Position: lowest, Bounds: g.events.Bounds()}
	return m.err
}

// awaitLook waits for the end of a look at the group that knows the member.
func (m *Member) awaitLook(ctx context.Context) error {
	g := m.group
	g.mu.Lock()
	looked := g.looked
	g.mu.Unlock()
	signal(g.poke)
	for known := false; !known; {
		select {
		case <-looked:
		case <-ctx.Done():
			return ctx.Err()
		}
		g.mu.Lock()
		known, looked = slices.Contains(g.all, m.id), g.looked
		err := m.err
		g.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// ensure returns a group, which it makes if there is none, with the policy that is asked for.
func (m *Manager) ensure(ctx context.Context, req Request) (*journal.GroupState, definition, error) {
	for range maxTries {
		state, err := m.cfg.Groups.Group(ctx, req.Group)
		if errors.Is(err, journal.ErrNotFound) {
			if err = m.make(ctx, req); err != nil && !errors.Is(err, journal.ErrConflict) {
				return nil, definition{}, err
			}
			continue
		}
		if err != nil {
			return nil, definition{}, err
		}
		def, err := decodeDefinition(state.Definition)
		if err != nil {
			return nil, definition{}, err
		}
		if req.Filter != nil && !bytes.Equal(req.Filter, def.filter) {
			return nil, definition{}, ErrOtherFilter
		}
		if req.Policy == nil || req.Policy.WithDefaults() == def.policy {
			return state, def, nil
		}
		def.policy = req.Policy.WithDefaults()
		state.Version, err = m.define(ctx, req.Group, state.Version, def, nil)
		if err == nil {
			return state, def, nil
		}
		if !errors.Is(err, journal.ErrConflict) {
			return nil, definition{}, err
		}
	}
	return nil, definition{}, journal.ErrConflict
}

// make makes a group.
func (m *Manager) make(ctx context.Context, req Request) error {
	names, err := m.cfg.Groups.GroupNames(ctx, "", m.cfg.MaxGroups)
	if err != nil {
		return err
	}
	if len(names) >= m.cfg.MaxGroups {
		return ErrTooManyGroups
	}
	from := max(m.cfg.Log.Bounds().Earliest, 1)
	if req.From != nil {
		if from, err = req.From(ctx); err != nil {
			return err
		}
	}
	var policy Policy
	if req.Policy != nil {
		policy = *req.Policy
	}
	def := definition{filter: req.Filter, policy: policy.WithDefaults(), createdAt: m.cfg.Now().UTC(), start: max(from, 1)}
	_, err = m.define(ctx, req.Group, 0, def, newState(from))
	if errors.Is(err, journal.ErrLimit) {
		return ErrTooManyGroups
	}
	return err
}

// define stores a definition, and resets the shares if a state is given.
func (m *Manager) define(ctx context.Context, name string, version uint64, def definition, reset *state) (uint64, error) {
	encoded, err := def.encode()
	if err != nil {
		return 0, err
	}
	var shares *journal.GroupReset
	if reset != nil {
		shares = &journal.GroupReset{}
		if shares.State, err = reset.encode(); err != nil {
			return 0, err
		}
	}
	return m.cfg.Groups.SetGroup(ctx, name, version, encoded, shares)
}

// Leave takes the member out of its group. What is outstanding fails. Errors: journal.ErrUnavailable, sinks.ErrClosed, ctx's; the member has left all
// the same.
func (m *Member) Leave(ctx context.Context) error {
	g := m.group
	g.mu.Lock()
	left := g.members[m.id] == nil
	g.leave(m)
	g.mu.Unlock()
	if left {
		return nil
	}
	signal(g.poke)
	err := g.run.session.Leave(ctx, g.name, m.id)
	if err != nil && !errors.Is(err, journal.ErrNotFound) && !errors.Is(err, journal.ErrLost) {
		return fmt.Errorf("groups: leave: %w", err)
	}
	return nil
}

// leave removes a member, fails what is outstanding, and lets its shares go elsewhere. The lock is held.
func (g *group) leave(m *Member) {
	if g.members[m.id] == nil {
		return
	}
	g.giveBack(m)
	g.assign(slices.DeleteFunc(slices.Clone(g.all), func(id string) bool { return id == m.id }))
}

// giveBack removes a member and fails what is outstanding. The lock is held.
func (g *group) giveBack(m *Member) {
	m.end(ErrLeft)
	delete(g.members, m.id)
	for m.sent.Len() > 0 {
		it, _ := m.sent.Front().Value.(*item)
		g.fail(it, "the member left", nil, nil, "")
	}
}
