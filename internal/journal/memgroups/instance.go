package memgroups

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

var (
	_ journal.Groups      = (*Instance)(nil)
	_ journal.DeadLetters = (*Instance)(nil)
)

// Instance is one instance over a store.
type Instance struct {
	s     *Store
	name  string
	ended chan struct{}
	// frozen is closed when the instance goes on. It is nil while it runs. s.mu guards it, and closing ended.
	frozen chan struct{}
}

// Open adds an instance with a name.
func (s *Store) Open(name string) *Instance {
	return &Instance{s: s, name: name, ended: make(chan struct{})}
}

// Close ends the instance with its sessions, as the end of its process does.
func (i *Instance) Close() error {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	if !i.closed() {
		close(i.ended)
	}
	i.lose()
	return nil
}

// Lose ends the instance's sessions, as if it had not renewed them in time.
func (i *Instance) Lose() {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	i.lose()
}

func (i *Instance) lose() {
	for each := range i.s.sessions {
		if each.i == i {
			i.s.end(each)
		}
	}
}

// Freeze stops the instance until thaw is called: its calls wait. Its sessions live until [Instance.Lose] is called.
func (i *Instance) Freeze() (thaw func()) {
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	frozen := make(chan struct{})
	i.frozen = frozen
	return func() {
		i.s.mu.Lock()
		defer i.s.mu.Unlock()
		i.frozen = nil
		close(frozen)
	}
}

func (i *Instance) closed() bool {
	select {
	case <-i.ended:
		return true
	default:
		return false
	}
}

// read calls f when the instance is not frozen, with the store locked.
func (i *Instance) read(ctx context.Context, f func() error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		i.s.mu.Lock()
		frozen := i.frozen
		if frozen == nil || i.closed() {
			defer i.s.mu.Unlock()
			if i.closed() {
				return sinks.ErrClosed
			}
			return f()
		}
		i.s.mu.Unlock()
		select {
		case <-frozen:
		case <-i.ended:
		case <-ctx.Done():
		}
	}
}

// write is like read, for a call that writes.
func (i *Instance) write(ctx context.Context, f func() error) error {
	if err := i.read(ctx, func() error { return nil }); err != nil {
		return err
	}
	if err := i.s.pass(ctx); err != nil {
		return err
	}
	return i.read(ctx, func() error {
		if err := i.s.count(); err != nil {
			return err
		}
		return f()
	})
}

// group returns a group. The caller holds s.mu.
func (i *Instance) group(name string) (*group, error) {
	if g := i.s.groups[name]; g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("%w: group %q", journal.ErrNotFound, name)
}

// GroupNames implements [journal.Groups].
func (i *Instance) GroupNames(ctx context.Context, after string, limit int) (names []string, err error) {
	err = i.read(ctx, func() error {
		for _, name := range slices.Sorted(maps.Keys(i.s.groups)) {
			if name > after && len(names) < limit {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

// Group implements [journal.Groups].
func (i *Instance) Group(ctx context.Context, name string) (state *journal.GroupState, err error) {
	err = i.read(ctx, func() error {
		g, err := i.group(name)
		if err != nil {
			return err
		}
		state = &journal.GroupState{
			Name: name, Definition: bytes.Clone(g.definition), Version: g.version,
			Owners: make([]string, len(g.shares)), Epochs: make([]uint64, len(g.shares)),
			Parked: uint64(len(i.s.letters[journal.GroupReader(name)])),
		}
		for n, s := range g.shares {
			state.Epochs[n] = s.epoch
			if s.owner != nil {
				state.Owners[n] = s.owner.id
			}
		}
		for _, id := range slices.Sorted(maps.Keys(g.members)) {
			m := g.members[id]
			state.Members = append(state.Members, journal.GroupMember{
				ID: id, Session: m.session.id, Replica: m.session.i.name, Joined: m.joined, Note: bytes.Clone(m.note),
			})
		}
		return nil
	})
	return state, err
}

// SetGroup implements [journal.Groups].
func (i *Instance) SetGroup(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (next uint64, err error) {
	if err := journal.CheckGroup(name, definition, reset); err != nil {
		return 0, err
	}
	err = i.write(ctx, func() error {
		g := i.s.groups[name]
		switch {
		case g == nil && version != 0, g != nil && g.version != version:
			return journal.ErrConflict
		case g == nil && len(i.s.groups) >= journal.MaxGroups:
			return fmt.Errorf("%w: there are %d groups", journal.ErrLimit, journal.MaxGroups)
		case g == nil:
			g = i.s.newGroup(name)
			if reset == nil {
				reset = &journal.GroupReset{}
			}
		}
		g.definition = bytes.Clone(definition)
		g.version++
		if reset != nil {
			g.reset(reset.State)
		}
		next = g.version
		i.s.notify()
		return nil
	})
	return next, err
}

func (s *Store) newGroup(name string) *group {
	g := &group{version: s.spent, members: make(map[string]*member)}
	for n := range g.shares {
		g.shares[n].epoch, g.shares[n].version = s.spent, s.spent
	}
	s.groups[name] = g
	return g
}

func (g *group) reset(state []byte) {
	for n := range g.shares {
		s := &g.shares[n]
		*s = share{epoch: s.epoch + 1, version: s.version + 1, state: bytes.Clone(state)}
	}
}

// DeleteGroup implements [journal.Groups].
func (i *Instance) DeleteGroup(ctx context.Context, name string) error {
	return i.write(ctx, func() error {
		g, err := i.group(name)
		if err != nil {
			return err
		}
		i.s.spent = max(i.s.spent, g.version)
		for _, s := range g.shares {
			i.s.spent = max(i.s.spent, s.epoch, s.version)
		}
		delete(i.s.groups, name)
		delete(i.s.letters, journal.GroupReader(name))
		i.s.notify()
		return nil
	})
}

// Shares implements [journal.Groups].
func (i *Instance) Shares(ctx context.Context, name string, indexes []int) (all []journal.Share, err error) {
	if err := journal.CheckShares(indexes); err != nil {
		return nil, err
	}
	err = i.read(ctx, func() error {
		g, err := i.group(name)
		if err != nil {
			return err
		}
		for _, n := range indexes {
			all = append(all, g.share(n))
		}
		return nil
	})
	return all, err
}

// share returns a copy of a share.
func (g *group) share(n int) journal.Share {
	s := g.shares[n]
	return journal.Share{Index: n, Epoch: s.epoch, Version: s.version, State: bytes.Clone(s.state)}
}

// SaveShares implements [journal.Groups].
func (i *Instance) SaveShares(ctx context.Context, name string, changes []journal.ShareChange) (saved []bool, err error) {
	if err := journal.CheckChanges(changes); err != nil {
		return nil, err
	}
	err = i.write(ctx, func() error {
		g, err := i.group(name)
		if err != nil {
			return err
		}
		released := false
		for _, c := range changes {
			s := &g.shares[c.Index]
			written := s.epoch == c.Epoch && s.version == c.Version
			saved = append(saved, written)
			if !written {
				continue
			}
			s.version++
			s.state = bytes.Clone(c.State)
			if c.Release {
				s.owner, released = nil, true
			}
			i.s.changeLetters(journal.GroupReader(name), c)
		}
		if released {
			i.s.notify()
		}
		return nil
	})
	return saved, err
}
