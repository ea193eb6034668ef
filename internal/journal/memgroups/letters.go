package memgroups

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// changeLetters carries out a change's part about parked events. The caller holds mu.
func (s *Store) changeLetters(reader string, c journal.ShareChange) {
	if s.letters[reader] == nil {
		s.letters[reader] = make(map[sinks.Position]*letter)
	}
	all := s.letters[reader]
	for _, p := range c.Park {
		s.park(reader, p)
	}
	for _, p := range c.Attempted {
		if all[sinks.Position(p.GetPosition())] != nil {
			s.park(reader, p)
		}
	}
	for _, p := range c.Unpark {
		delete(all, p)
	}
}

func (s *Store) park(reader string, p *journalv1.Parked) {
	all, at := s.letters[reader], sinks.Position(p.GetPosition())
	var known *journalv1.Parked
	if all[at] != nil {
		known = all[at].parked
	}
	all[at] = &letter{parked: letters.Park(reader, p, known, s.now())}
}

// Parked implements [journal.DeadLetters].
func (i *Instance) Parked(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	return i.parked(ctx, name, from, limit, func(*letter) bool { return true })
}

// Replays implements [journal.Groups].
func (i *Instance) Replays(ctx context.Context, group string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	return i.parked(ctx, journal.GroupReader(group), from, limit, func(l *letter) bool { return l.retry })
}

func (i *Instance) parked(ctx context.Context, name string, from sinks.Position, limit int, match func(*letter) bool) (all []*journalv1.Parked, err error) {
	err = i.read(ctx, func() error {
		for _, reader := range slices.Sorted(maps.Keys(i.s.letters)) {
			if name != "" && name != reader {
				continue
			}
			for _, p := range slices.Sorted(maps.Keys(i.s.letters[reader])) {
				if l := i.s.letters[reader][p]; p >= from && match(l) && len(all) < limit {
					all = append(all, proto.CloneOf(l.parked))
				}
			}
		}
		return nil
	})
	return all, err
}

// withLetter calls f with a parked event.
func (i *Instance) withLetter(ctx context.Context, name string, p sinks.Position, f func(*letter)) error {
	return i.write(ctx, func() error {
		l := i.s.letters[name][p]
		if l == nil {
			return fmt.Errorf("%w: no event of %q is parked at %d", journal.ErrNotFound, name, p)
		}
		f(l)
		i.s.notify()
		return nil
	})
}

// RequestRetry implements [journal.DeadLetters].
func (i *Instance) RequestRetry(ctx context.Context, name string, p sinks.Position) error {
	return i.withLetter(ctx, name, p, func(l *letter) { l.retry = true })
}

// DiscardParked implements [journal.DeadLetters].
func (i *Instance) DiscardParked(ctx context.Context, name string, p sinks.Position) error {
	return i.withLetter(ctx, name, p, func(*letter) { delete(i.s.letters[name], p) })
}

// RequestPass implements [journal.DeadLetters]. There are no readers.
func (i *Instance) RequestPass(ctx context.Context, name string, _ sinks.Position) error {
	return i.read(ctx, func() error { return fmt.Errorf("%w: reader %q", journal.ErrNotFound, name) })
}

// Gaps implements [journal.DeadLetters]. There are none.
func (i *Instance) Gaps(ctx context.Context, _ string) ([]*journalv1.Gap, error) {
	return nil, i.read(ctx, func() error { return nil })
}
