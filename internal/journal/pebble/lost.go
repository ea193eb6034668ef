package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// lost is a loss that an operator accepted. Its positions hold no events and get none: readers are told.
type lost struct {
	// commit is the commit that recorded the loss.
	commit uint64
	// from and to bound positions without events; to is excluded. They are equal if no event is known to be lost.
	from, to sinks.Position
	// commits is how many are known to be lost.
	commits uint64
	at      time.Time
}

func (l lost) key(i int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64([]byte{prefixLost}, l.commit), uint32(i))
}

func (l lost) value() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(l.from))
	b = binary.BigEndian.AppendUint64(b, uint64(l.to))
	b = binary.BigEndian.AppendUint64(b, l.commits)
	return binary.BigEndian.AppendUint64(b, uint64(l.at.UnixNano()))
}

func parseLost(k, v []byte) (lost, error) {
	if len(k) != 1+8+4 || len(v) != 4*8 {
		return lost{}, errCorrupt
	}
	return lost{
		commit:  binary.BigEndian.Uint64(k[1:]),
		from:    sinks.Position(binary.BigEndian.Uint64(v)),
		to:      sinks.Position(binary.BigEndian.Uint64(v[8:])),
		commits: binary.BigEndian.Uint64(v[16:]),
		at:      time.Unix(0, int64(binary.BigEndian.Uint64(v[24:]))),
	}, nil
}

// losses are the accepted losses of a journal. They are not changed while it is open.
type losses struct {
	all []lost
	// holes are the losses with positions, in order.
	holes []lost
}

func newLosses(all []lost) *losses {
	l := &losses{all: all}
	for _, one := range all {
		if one.from < one.to {
			l.holes = append(l.holes, one)
		}
	}
	slices.SortFunc(l.holes, func(a, b lost) int { return int(int64(a.from) - int64(b.from)) })
	return l
}

// next returns the first hole that ends behind a position: the one that holds it, or the next one.
func (l *losses) next(p sinks.Position) (lost, bool) {
	i := sort.Search(len(l.holes), func(i int) bool { return l.holes[i].to > p })
	if i == len(l.holes) {
		return lost{}, false
	}
	return l.holes[i], true
}

// at returns the hole that holds a position.
func (l *losses) at(p sinks.Position) (lost, bool) {
	h, ok := l.next(p)
	return h, ok && h.from <= p
}

// pass returns the first position from p on that is in no hole.
func (l *losses) pass(p sinks.Position) sinks.Position {
	for {
		h, ok := l.at(p)
		if !ok {
			return p
		}
		p = h.to
	}
}

// events counts the lost positions, commits the lost commits.
func (l *losses) count() (events, commits uint64) {
	for _, one := range l.all {
		events, commits = events+uint64(one.to-one.from), commits+one.commits
	}
	return events, commits
}

func (s *store) loadLosses() (*losses, error) {
	var all []lost
	lower, upper := span(prefixLost)
	err := s.eachKey(lower, upper, func(k, v []byte) (bool, error) {
		l, err := parseLost(k, v)
		all = append(all, l)
		return true, err
	})
	return newLosses(all), err
}

// lossesOf finds the positions that a loss took, for its records. The commits that are missing between others took the
// positions without events there; the ones at the end took the positions up to the watermark's.
func (s *store) lossesOf(e *lossError, commit uint64, now time.Time) (all []lost, err error) {
	for _, m := range e.found.missing {
		some, err := s.emptyPositions(m.after, m.before)
		if err != nil {
			return nil, err
		}
		some = append(some, lost{from: m.after, to: m.after})
		some[0].commits = m.to - m.from
		all = append(all, some...)
	}
	if e.short() || len(all) == 0 {
		all = append(all, lost{
			from: e.found.next, to: max(e.found.next, e.mark.next), commits: less(e.mark.commit, e.found.commit),
		})
	}
	for i := range all {
		all[i].commit, all[i].at = commit, now
	}
	return all, nil
}

// emptyPositions returns the ranges of positions from one up to, not including, another that have no events, and that
// retention has not removed.
func (s *store) emptyPositions(from, to sinks.Position) (all []lost, err error) {
	want := max(from, s.retained.earliest)
	known, err := s.loadLosses()
	if err != nil {
		return nil, err
	}
	add := func(until sinks.Position) {
		for want < until {
			if h, ok := known.next(want); ok && h.from <= want {
				want = h.to
				continue
			} else if ok && h.from < until {
				all = append(all, lost{from: want, to: h.from})
				want = h.to
				continue
			}
			all = append(all, lost{from: want, to: until})
			want = until
		}
	}
	err = s.eachKey(eventKey(want), eventKey(to), func(k, _ []byte) (bool, error) {
		p, err := parseEventKey(k)
		add(p)
		want = p + 1
		return true, err
	})
	add(to)
	return all, err
}

// acceptLoss records a loss, durably. The numbers of the lost commits and the lost positions are not used again.
func (j *Journal) acceptLoss(s *store, e *lossError) error {
	s.number.Store(max(e.found.commit, e.mark.commit))
	s.next = max(s.next, e.mark.next)
	s.numbering.position = s.next
	commit := s.number.Load() + 1
	all, err := s.lossesOf(e, commit, j.cfg.Now())
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	err = b.Set(keyFirstCommit, commitKey(commit)[1:], nil)
	for i, l := range all {
		err = errors.Join(err, b.Set(l.key(i), l.value(), nil))
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := s.write(b); err != nil {
		return fmt.Errorf("accept the loss: %w", err)
	}
	s.firstCommit = commit
	events, commits := newLosses(all).count()
	j.cfg.Logger.Error("journal: a loss of data was accepted", "events", events, "commits", commits, "next", uint64(s.next))
	return nil
}
