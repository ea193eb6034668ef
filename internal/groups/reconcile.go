package groups

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// reconcile looks at the stored group and brings the shares to the members that should have them.
func (g *group) reconcile(ctx context.Context) error {
	g.mu.Lock()
	losses := g.losses
	g.mu.Unlock()
	stored, err := g.store.Group(ctx, g.name)
	if errors.Is(err, journal.ErrNotFound) {
		g.end(ErrNotFound)
		return nil
	}
	if err != nil {
		return err
	}
	def, err := decodeDefinition(stored.Definition)
	if err != nil {
		return err
	}
	if g.replacedBy(def) {
		g.end(ErrNotFound)
		return nil
	}
	free, adopt, ghosts := g.compare(stored, def, losses)
	for _, id := range ghosts {
		if err := g.run.session.Leave(ctx, g.name, id); err != nil {
			return err
		}
	}
	if err := g.take(ctx, free, adopt, stored.Epochs); err != nil {
		return err
	}
	return g.tendLetters(ctx, stored)
}

// compare compares the stored group with what is known. It returns the shares to take, those that the session owns without knowing them, and its
// members that have left.
func (g *group) compare(stored *journal.GroupState, def definition, losses uint64) (free, adopt []int, ghosts []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.redefine(def, stored.Version)
	fresh := losses == g.losses
	session := g.run.session.ID()
	all := make([]string, 0, len(stored.Members))
	for _, member := range stored.Members {
		if member.Session == session && g.members[member.ID] == nil {
			ghosts = append(ghosts, member.ID)
			continue
		}
		all = append(all, member.ID)
	}
	g.assign(all)
	for i, owner := range stored.Owners {
		s := g.shares[i]
		if s != nil && (stored.Epochs[i] > s.epoch || stored.Epochs[i] == s.epoch && owner != session) {
			g.lose(s)
			s = nil
		}
		switch {
		case s != nil:
		case owner == session && fresh:
			adopt = append(adopt, i)
		case owner == "" && g.wantedMember(i) != nil:
			free = append(free, i)
		}
	}
	return free, adopt, ghosts
}

// redefine notes a definition, unless a later one is known. The lock is held.
func (g *group) redefine(def definition, version uint64) {
	if version <= g.version {
		return
	}
	if def.policy.StrictOrder != g.def.policy.StrictOrder {
		g.letterScan.complete = false
		for _, s := range g.shares {
			if s != nil {
				s.lettersKnown = false
			}
		}
	}
	if def.seeks != g.def.seeks {
		g.elsewhere, g.elsewhereAt = 0, time.Time{}
		for _, m := range g.members {
			m.position = def.start
		}
	}
	g.def, g.version = def, version
	for _, m := range g.members {
		m.wake() // What it may have outstanding, or whether it may go on, may have changed.
	}
}

// assign computes who should have each share, and stops deliveries of those that should be elsewhere. The lock is held.
func (g *group) assign(all []string) {
	sort.Strings(all)
	if !slices.Equal(all, g.all) || len(g.owners) == 0 {
		g.all, g.owners = all, assign(all)
	}
	for i, s := range g.shares {
		if s == nil || s.releasing {
			continue
		}
		wanted := g.wantedMember(i)
		if s.wanted == wanted && s.member == wanted && wanted != nil {
			continue
		}
		s.wanted = wanted
		if s.member == wanted && wanted != nil {
			g.offer(s) // It was about to go, and stays.
			continue
		}
		g.moveIfIdle(s)
	}
}

// wantedMember returns the member here that should have a share, or nil.
func (g *group) wantedMember(index int) *Member {
	if len(g.owners) == 0 {
		return nil
	}
	m := g.members[g.all[g.owners[index]]]
	if m == nil || m.err != nil {
		return nil
	}
	return m
}

// offer tells a share's member of what is ready.
func (g *group) offer(s *share) {
	m := s.member
	m.ready = slices.DeleteFunc(m.ready, func(it *item) bool { return it.share == s || it.gone })
	for _, it := range s.items {
		if it.phase == ready {
			m.ready = append(m.ready, it)
		}
	}
	slices.SortStableFunc(m.ready, func(a, b *item) int { return cmp.Compare(a.position, b.position) })
	m.wake()
}

// take makes the session the owner of free shares, and takes over those that it owns without knowing them.
func (g *group) take(ctx context.Context, free, adopt []int, epochs []uint64) error {
	g.mu.Lock()
	losses := g.losses
	g.mu.Unlock()
	var shares []journal.Share
	if len(adopt) > 0 {
		known, err := g.store.Shares(ctx, g.name, adopt)
		if err != nil {
			return err
		}
		// Another epoch has another owner.
		shares = slices.DeleteFunc(known, func(s journal.Share) bool { return s.Epoch != epochs[s.Index] })
	}
	if len(free) > 0 {
		taken, err := g.run.session.Take(ctx, g.name, free)
		if err != nil {
			return err
		}
		shares = append(shares, taken...)
	}
	if len(shares) == 0 {
		return nil
	}
	parked, err := g.parkedOf(ctx, shares)
	if err != nil {
		return err // The next look finds that they are owned, and takes them over.
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if losses != g.losses {
		signal(g.poke)
		return nil // They may be among the lost ones. The next look tells.
	}
	for _, stored := range shares {
		base, err := decodeState(stored.State)
		if err != nil {
			return err
		}
		if g.err != nil || g.shares[stored.Index] != nil {
			continue
		}
		s := newShare(stored.Index, stored.Epoch, stored.Version, base)
		for _, p := range parked[stored.Index] {
			s.addParked(p.subject, p.position)
		}
		s.lettersKnown = parked != nil
		g.shares[stored.Index] = s
		s.wanted = g.wantedMember(stored.Index)
		g.moveIfIdle(s)
	}
	return nil
}

// lookElsewhere refreshes the lowest position of the shares of other instances.
func (g *group) lookElsewhere(ctx context.Context) {
	g.mu.Lock()
	var others []int
	for i, s := range g.shares {
		if s == nil {
			others = append(others, i)
		}
	}
	now, losses := g.now(), g.losses
	due := now.Sub(g.elsewhereAt) >= g.run.spread(g.run.manager.cfg.IdleSave)
	g.mu.Unlock()
	if len(others) == 0 || !due {
		return
	}
	lowest, err := lowestPosition(ctx, g.store, g.name, others)
	if err != nil {
		return // The next look tries again.
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if losses == g.losses {
		g.elsewhere, g.elsewhereAt = lowest, now
	}
}

// allShares are the indexes of all shares.
func allShares() []int {
	indexes := make([]int, journal.GroupShares)
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

// lowestPosition returns the lowest stored position of shares.
func lowestPosition(ctx context.Context, store journal.Groups, group string, indexes []int) (sinks.Position, error) {
	shares, err := store.Shares(ctx, group, indexes)
	if err != nil {
		return 0, err
	}
	var lowest sinks.Position
	for _, stored := range shares {
		s, err := decodeState(stored.State)
		if err != nil {
			return 0, err
		}
		if lowest == 0 || s.position < lowest {
			lowest = s.position
		}
	}
	return lowest, nil
}

// Status returns where the member stands.
func (m *Member) Status() Status {
	g := m.group
	bounds := g.events.Bounds()
	g.mu.Lock()
	defer g.mu.Unlock()
	n := m.note()
	st := Status{Outstanding: n.outstanding}
	if !n.oldest.IsZero() {
		st.Oldest = max(g.now().Sub(n.oldest), 0)
	}
	at, some := m.scanned()
	st.Waiting = slices.ContainsFunc(m.ready, func(it *item) bool { return it.phase == ready && it.share.member == m }) || some && at < bounds.Next
	m.position = max(m.position, g.position()) // 0 when it is not known.
	st.Position = m.position
	if bounds.Next > st.Position {
		st.Lag = uint64(bounds.Next - st.Position)
	}
	return st
}

// position returns the first position that the group has not dealt with, as far as it is known here.
func (g *group) position() sinks.Position {
	var lowest sinks.Position
	elsewhere := false
	for _, s := range g.shares {
		if s == nil {
			elsewhere = true
		} else if p := s.position(); lowest == 0 || p < lowest {
			lowest = p
		}
	}
	if elsewhere && (lowest == 0 || g.elsewhere < lowest) {
		return g.elsewhere
	}
	return lowest
}
