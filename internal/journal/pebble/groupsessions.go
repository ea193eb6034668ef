package pebble

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// session is a session of this process, the only one that the folder has. So it lives in memory, as do its members and its shares, and ends
// when it is closed and when the journal closes.
type session struct {
	g       *groups
	id      string
	changed chan struct{}
	// lost is closed, under g.mu, when the session ends. From then on others may take its shares.
	lost chan struct{}
}

// Enlist implements [journal.Groups].
func (j *Journal) Enlist(ctx context.Context) (journal.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g := &j.groups
	s := &session{g: g, id: uuid.NewString(), changed: make(chan struct{}, 1), lost: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, sinks.ErrClosed
	}
	g.sessions[s] = struct{}{}
	return s, nil
}

// end ends a session. The caller holds mu.
func (g *groups) end(s *session) {
	if _, lives := g.sessions[s]; lives {
		delete(g.sessions, s)
		close(s.lost)
	}
}

// notify tells all sessions that something changed.
func (g *groups) notify() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.sessions {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// noteRequest tells the sessions of a request about a parked event, if the reader is a group.
func (g *groups) noteRequest(reader string) {
	if strings.HasPrefix(reader, journal.GroupReader("")) {
		g.notify()
	}
}

func (s *session) ended() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

// ID implements [journal.Session].
func (s *session) ID() string { return s.id }

// Changed implements [journal.Session].
func (s *session) Changed() <-chan struct{} { return s.changed }

// Lost implements [journal.Session].
func (s *session) Lost() <-chan struct{} { return s.lost }

// check returns ErrLost once the session is lost. When that is because the journal closes, it is ErrClosed too.
func (s *session) check() error {
	switch {
	case !s.ended():
		return nil
	case s.g.j.isClosing():
		return fmt.Errorf("%w: %w", journal.ErrLost, sinks.ErrClosed)
	}
	return journal.ErrLost
}

// call has a round call decide with a group, unless the session is lost.
func (s *session) call(ctx context.Context, name string, decide func(*groupRound, *knownGroup) error) error {
	if err := s.check(); err != nil {
		return err
	}
	err := s.g.call(ctx, &groupCall{decide: func(r *groupRound) error {
		if err := s.check(); err != nil {
			return err
		}
		g, err := r.group(name)
		if err != nil {
			return err
		}
		return decide(r, g)
	}})
	if lost := s.check(); err != nil && lost != nil {
		return lost
	}
	return err
}

// Join implements [journal.Session].
func (s *session) Join(ctx context.Context, name, id string, note []byte) error {
	if err := journal.CheckMember(id, note); err != nil {
		return err
	}
	m := &groupMember{session: s, note: bytes.Clone(note)}
	return s.call(ctx, name, func(r *groupRound, g *knownGroup) error {
		g.removeEnded()
		known := g.members[id]
		switch {
		case known == nil && len(g.members) >= journal.MaxMembers:
			return fmt.Errorf("%w: the group has %d members", journal.ErrLimit, journal.MaxMembers)
		case known != nil && known.session == s:
			m.joined = known.joined
		default:
			m.joined = s.g.j.cfg.Now()
		}
		g.members[id] = m
		r.changed = true
		return nil
	})
}

// removeEnded removes the members of sessions that have ended.
func (g *knownGroup) removeEnded() {
	for id, m := range g.members {
		if m.session.ended() {
			delete(g.members, id)
		}
	}
}

// Leave implements [journal.Session].
func (s *session) Leave(ctx context.Context, name, id string) error {
	return s.call(ctx, name, func(r *groupRound, g *knownGroup) error {
		if m := g.members[id]; m != nil && m.session == s {
			delete(g.members, id)
			r.changed = true
		}
		return nil
	})
}

// Take implements [journal.Session].
func (s *session) Take(ctx context.Context, name string, indexes []int) ([]journal.Share, error) {
	if err := journal.CheckShares(indexes); err != nil {
		return nil, err
	}
	indexes = append([]int(nil), indexes...)
	var taken []journal.Share
	err := s.call(ctx, name, func(r *groupRound, g *knownGroup) error {
		seen := make(map[int]bool)
		for _, n := range indexes {
			if owner := g.shares[n].owner; owner != nil && !owner.ended() || seen[n] {
				continue
			}
			seen[n] = true
			share, err := getShare(r.batch, name, n)
			if err != nil {
				return err
			}
			share.Epoch++
			share.Version++
			taken = append(taken, share)
		}
		for _, share := range taken {
			if err := r.own(g, name, share, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// own gives a share to a session.
func (r *groupRound) own(g *knownGroup, name string, share journal.Share, owner *session) error {
	known := &g.shares[share.Index]
	before := *known
	r.undo = append(r.undo, func() { *known = before })
	*known = groupShare{epoch: share.Epoch, version: share.Version, owner: owner}
	r.changed = true
	return r.batch.Set(shareKey(name, share.Index), shareValue(share.Epoch, share.Version, share.State), nil)
}

// Close implements [journal.Session].
func (s *session) Close(context.Context) error {
	s.g.mu.Lock()
	s.g.end(s)
	s.g.mu.Unlock()
	s.g.notify()
	return nil
}
