package groups

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Get returns a group. Errors: [ErrNotFound], journal.ErrUnavailable, sinks.ErrClosed, ctx's.
func (m *Manager) Get(ctx context.Context, name string) (*Info, error) {
	stored, err := m.cfg.Groups.Group(ctx, name)
	if err != nil {
		return nil, called("get", err)
	}
	shares, err := m.cfg.Groups.Shares(ctx, name, allShares())
	if err != nil {
		return nil, called("get", err)
	}
	info, err := describe(stored, shares)
	if err != nil {
		return nil, called("get", err)
	}
	if next := m.cfg.Log.Bounds().Next; next > info.Position {
		info.Lag = uint64(next - info.Position)
	}
	return info, nil
}

// List returns up to limit groups behind a name, in order. Errors: those of Get, except for ErrNotFound.
func (m *Manager) List(ctx context.Context, after string, limit int) ([]Info, error) {
	names, err := m.cfg.Groups.GroupNames(ctx, after, limit)
	if err != nil {
		return nil, called("list", err)
	}
	all := make([]Info, 0, len(names))
	for _, name := range names {
		info, err := m.Get(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue // It was deleted meanwhile.
		}
		if err != nil {
			return nil, err
		}
		all = append(all, *info)
	}
	return all, nil
}

func called(operation string, err error) error {
	if errors.Is(err, journal.ErrNotFound) {
		return ErrNotFound
	}
	return fmt.Errorf("groups: %s: %w", operation, err)
}

// describe makes the description of a group from what is stored.
func describe(stored *journal.GroupState, shares []journal.Share) (*Info, error) {
	def, err := decodeDefinition(stored.Definition)
	if err != nil {
		return nil, err
	}
	info := &Info{
		Name: stored.Name, Filter: def.filter, Policy: def.policy, CreatedAt: def.createdAt, Parked: stored.Parked,
	}
	total, err := sumUp(def, shares)
	if err != nil {
		return nil, err
	}
	info.Position, info.Skipped, info.Missed = total.start, total.skipped, total.missed.count()
	for _, owner := range stored.Owners {
		if owner == "" {
			info.FreeShares++
		}
	}
	ids := make([]string, len(stored.Members))
	for i, member := range stored.Members {
		ids[i] = member.ID
	}
	counts := make([]int, len(ids))
	for _, owner := range assign(ids) {
		counts[owner]++
	}
	for i, member := range stored.Members {
		var n journalv1.GroupNote
		if err := proto.Unmarshal(member.Note, &n); err != nil {
			return nil, fmt.Errorf("decode a note: %w", err)
		}
		described := MemberInfo{
			ID: member.ID, Label: n.GetLabel(), Replica: member.Replica, JoinedAt: member.Joined,
			Shares: counts[i], Outstanding: n.GetOutstanding(),
		}
		if n.GetOldestAt() != nil {
			described.OldestAt = n.GetOldestAt().AsTime()
			if info.OldestAt.IsZero() || described.OldestAt.Before(info.OldestAt) {
				info.OldestAt = described.OldestAt
			}
		}
		info.Outstanding += uint64(n.GetOutstanding())
		info.Members = append(info.Members, described)
	}
	return info, nil
}

// sumUp adds the counts of shares to those of a definition, and finds the lowest position as its start.
func sumUp(def definition, shares []journal.Share) (definition, error) {
	def.start = 0
	for _, stored := range shares {
		s, err := decodeState(stored.State)
		if err != nil {
			return def, err
		}
		if def.start == 0 || s.position < def.start {
			def.start = s.position
		}
		def.skipped += s.skipped
		for _, gap := range s.missed {
			def.missed = def.missed.add(gap.from, gap.to)
		}
	}
	return def, nil
}

// Seek moves a group to a position: all before it is done, and all from it on is delivered, also what was acknowledged. All that is outstanding becomes stale. Parked events stay parked.
// Errors: [ErrNotFound], journal.ErrUnavailable, sinks.ErrClosed, ctx's.
func (m *Manager) Seek(ctx context.Context, name string, to sinks.Position) error {
	to = max(to, 1)
	for range maxTries {
		stored, err := m.cfg.Groups.Group(ctx, name)
		if err != nil {
			return called("seek", err)
		}
		def, err := decodeDefinition(stored.Definition)
		if err != nil {
			return called("seek", err)
		}
		shares, err := m.cfg.Groups.Shares(ctx, name, allShares())
		if err != nil {
			return called("seek", err)
		}
		if def, err = sumUp(def, shares); err != nil {
			return called("seek", err)
		}
		def.missed = def.missed.atMost(maxMissed)
		def.start, def.seeks = to, def.seeks+1
		_, err = m.define(ctx, name, stored.Version, def, newState(to))
		if errors.Is(err, journal.ErrConflict) {
			continue
		}
		if err != nil {
			return called("seek", err)
		}
		m.look(name)
		return nil
	}
	return called("seek", journal.ErrConflict)
}

// look has a group that is known here looked at now.
func (m *Manager) look(name string) {
	if r := m.local(); r != nil {
		if g := r.group(name); g != nil {
			signal(g.poke)
		}
	}
}

// Delete removes a group with all that it has. Its members' Next ends with [ErrNotFound]. Errors: those of Seek.
func (m *Manager) Delete(ctx context.Context, name string) error {
	if err := m.cfg.Groups.DeleteGroup(ctx, name); err != nil {
		return called("delete", err)
	}
	m.look(name)
	return nil
}

// ListParked returns up to limit dead letters of a group from a position on, in order. Errors: those of Seek.
func (m *Manager) ListParked(ctx context.Context, name string, from sinks.Position, limit int) ([]ParkedEvent, error) {
	if err := m.exists(ctx, name); err != nil {
		return nil, called("list parked", err)
	}
	parked, err := m.cfg.Letters.Parked(ctx, journal.GroupReader(name), from, limit)
	if err != nil {
		return nil, called("list parked", err)
	}
	requested, err := m.cfg.Groups.Replays(ctx, name, from, limit)
	if err != nil {
		return nil, called("list parked", err)
	}
	replaying := make(map[uint64]bool, len(requested))
	for _, p := range requested {
		replaying[p.GetPosition()] = true
	}
	events := make([]ParkedEvent, len(parked))
	for i, p := range parked {
		events[i] = ParkedEvent{Parked: p, Replaying: replaying[p.GetPosition()]}
	}
	return events, nil
}

func (m *Manager) exists(ctx context.Context, name string) error {
	_, err := m.cfg.Groups.Group(ctx, name)
	return err
}

// Replay asks to deliver parked events again, or all that are parked now, and returns how many. Errors: those of Seek, and a [*NotParkedError] for a position that is not
// parked; those before it are asked for all the same.
func (m *Manager) Replay(ctx context.Context, name string, positions []sinks.Position) (int, error) {
	if err := m.exists(ctx, name); err != nil {
		return 0, called("replay", err)
	}
	defer m.look(name)
	reader := journal.GroupReader(name)
	n := 0
	for _, p := range positions {
		if err := m.cfg.Letters.RequestRetry(ctx, reader, p); err != nil {
			return n, notParked("replay", p, err)
		}
		n++
	}
	if len(positions) > 0 {
		return n, nil
	}
	err := eachParked(ctx, m.cfg.Letters, name, 0, func(p *journalv1.Parked) (bool, error) {
		err := m.cfg.Letters.RequestRetry(ctx, reader, sinks.Position(p.GetPosition()))
		if err == nil {
			n++
		} else if errors.Is(err, journal.ErrNotFound) {
			err = nil // It was dealt with meanwhile.
		}
		return true, err
	})
	if err != nil {
		return n, called("replay", err)
	}
	return n, nil
}

func notParked(operation string, p sinks.Position, err error) error {
	if errors.Is(err, journal.ErrNotFound) {
		return &NotParkedError{p}
	}
	return called(operation, err)
}

// Discard removes dead letters for good, and returns how many. Under strict order, what is parked behind them is replayed. Errors: those of Replay.
func (m *Manager) Discard(ctx context.Context, name string, positions []sinks.Position) (int, error) {
	stored, err := m.cfg.Groups.Group(ctx, name)
	if err != nil {
		return 0, called("discard", err)
	}
	def, err := decodeDefinition(stored.Definition)
	if err != nil {
		return 0, called("discard", err)
	}
	defer m.look(name)
	for n, p := range positions {
		if err := m.discard(ctx, name, p, def.policy.StrictOrder); err != nil {
			return n, notParked("discard", p, err)
		}
	}
	return len(positions), nil
}

// discard asks for what is parked behind an event before that one is gone, so that a crash in between forgets nothing.
func (m *Manager) discard(ctx context.Context, name string, p sinks.Position, strict bool) error {
	if strict {
		parked, err := readParked(ctx, m.cfg.Letters, name, p)
		if err != nil {
			return err
		}
		if subject, ordered, err := subjectOfParked(parked); err == nil && ordered && parked != nil {
			if err := requestNext(ctx, m.cfg.Letters, name, subject, p); err != nil {
				return err
			}
		}
	}
	return m.cfg.Letters.DiscardParked(ctx, journal.GroupReader(name), p)
}
