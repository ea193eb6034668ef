package memgroups

import (
	"bytes"
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

type session struct {
	i       *Instance
	id      string
	changed chan struct{}
	// lost is closed with the store locked.
	lost chan struct{}
}

// Enlist implements [journal.Groups].
func (i *Instance) Enlist(ctx context.Context) (journal.Session, error) {
	var enlisted *session
	err := i.write(ctx, func() error {
		i.s.serial++
		enlisted = &session{i: i, id: fmt.Sprintf("session-%d", i.s.serial), changed: make(chan struct{}, 1), lost: make(chan struct{})}
		i.s.sessions[enlisted] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return enlisted, nil
}

// ID implements [journal.Session].
func (s *session) ID() string { return s.id }

// Changed implements [journal.Session].
func (s *session) Changed() <-chan struct{} { return s.changed }

// Lost implements [journal.Session].
func (s *session) Lost() <-chan struct{} { return s.lost }

// write calls f with a group, unless the session is lost.
func (s *session) write(ctx context.Context, name string, f func(*group) error) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.i.write(ctx, func() error {
		if err := s.check(); err != nil {
			return err
		}
		g, err := s.i.group(name)
		if err != nil {
			return err
		}
		return f(g)
	})
}

// check returns ErrLost once the session is lost. If its instance has ended, that is ErrClosed too.
func (s *session) check() error {
	select {
	case <-s.lost:
	default:
		return nil
	}
	if s.i.closed() {
		return fmt.Errorf("%w: %w", journal.ErrLost, sinks.ErrClosed)
	}
	return journal.ErrLost
}

// Join implements [journal.Session].
func (s *session) Join(ctx context.Context, name, id string, note []byte) error {
	if err := journal.CheckMember(id, note); err != nil {
		return err
	}
	return s.write(ctx, name, func(g *group) error {
		m := g.members[id]
		if m == nil && len(g.members) >= journal.MaxMembers {
			return fmt.Errorf("%w: the group has %d members", journal.ErrLimit, journal.MaxMembers)
		}
		if m == nil || m.session != s {
			m = &member{session: s, joined: s.i.s.now()}
			g.members[id] = m
		}
		m.note = bytes.Clone(note)
		s.i.s.notify()
		return nil
	})
}

// Leave implements [journal.Session].
func (s *session) Leave(ctx context.Context, name, id string) error {
	return s.write(ctx, name, func(g *group) error {
		if m := g.members[id]; m != nil && m.session == s {
			delete(g.members, id)
			s.i.s.notify()
		}
		return nil
	})
}

// Take implements [journal.Session].
func (s *session) Take(ctx context.Context, name string, indexes []int) (taken []journal.Share, err error) {
	if err := journal.CheckShares(indexes); err != nil {
		return nil, err
	}
	err = s.write(ctx, name, func(g *group) error {
		for _, n := range indexes {
			if g.shares[n].owner != nil {
				continue
			}
			g.shares[n].owner = s
			g.shares[n].epoch++
			g.shares[n].version++
			taken = append(taken, g.share(n))
		}
		if len(taken) > 0 {
			s.i.s.notify()
		}
		return nil
	})
	return taken, err
}

// Close implements [journal.Session].
func (s *session) Close(context.Context) error {
	s.i.s.mu.Lock()
	defer s.i.s.mu.Unlock()
	s.i.s.end(s)
	return nil
}
