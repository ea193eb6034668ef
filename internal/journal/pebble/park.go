package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

const (
	prefixGap    = 'g' // sink, NUL, first position → bridge.journal.v1.Gap
	prefixParked = 'p' // sink, NUL, position → bridge.journal.v1.Parked
)

const (
	// attemptsKept bounds a parked event's history, and reasonKept each of its texts, in bytes.
	attemptsKept = 10
	reasonKept   = 2 << 10
	// gapsKept bounds a sink's gaps. The oldest go first.
	gapsKept = 1000
)

// errSinkName is the one thing that a sink's name may not be, besides long.
var errSinkName = errors.New("sink's name is empty or holds a NUL")

// sinkKeys returns the bounds of all keys with this prefix of a sink, or of all sinks when the name is empty.
func sinkKeys(prefix byte, sink string) (lower, upper []byte) {
	if sink == "" {
		return span(prefix)
	}
	lower = append(append([]byte{prefix}, sink...), 0)
	return lower, append(append([]byte{prefix}, sink...), 1)
}

func sinkKey(prefix byte, sink string, p Position) ([]byte, error) {
	if sink == "" || strings.ContainsRune(sink, 0) {
		return nil, errSinkName
	}
	lower, _ := sinkKeys(prefix, sink)
	return binary.BigEndian.AppendUint64(lower, uint64(p)), nil
}

// Park keeps an event that its sink refused, until [Journal.Unpark], and returns once that is durable. One that is parked
// already, because its sink was given it again after a crash, keeps its first time and its history; what is given is added
// to both. Attempts beyond the latest ten, and the ends of long texts, are cut off. Calls for one event must not overlap.
// p is not kept and not changed.
//
// Parked events do not count for [Retention] and are not taken by it.
//
// Errors: ErrUnavailable, ErrClosed; the event then counts as not parked, and may be.
func (j *Journal) Park(p *journalv1.Parked) error {
	key, err := sinkKey(prefixParked, p.GetSink(), Position(p.GetPosition()))
	if err != nil {
		return fmt.Errorf("journal: park: %w", err)
	}
	return j.update("park", func(st *store, b *pebble.Batch) error {
		next, _ := proto.Clone(p).(*journalv1.Parked)
		known := new(journalv1.Parked)
		switch err := st.getMessage(key, known); {
		case err == nil:
			next.FirstAttemptAt = known.GetFirstAttemptAt()
			next.AttemptCount += known.GetAttemptCount()
			next.Attempts = append(known.GetAttempts(), next.GetAttempts()...)
		case !errors.Is(err, pebble.ErrNotFound):
			return err
		}
		next.Attempts = next.GetAttempts()[max(0, len(next.GetAttempts())-attemptsKept):]
		for _, a := range next.GetAttempts() {
			a.Error = cut(a.GetError())
		}
		next.Reason = cut(next.GetReason())
		return setMessage(b, key, next)
	})
}

// cut bounds a text that came from elsewhere.
func cut(s string) string {
	if len(s) > reasonKept {
		s = s[:reasonKept] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Unpark forgets a parked event. One that is not parked is no error. Errors: ErrUnavailable, ErrClosed.
func (j *Journal) Unpark(sink string, p Position) error {
	key, err := sinkKey(prefixParked, sink, p)
	if err != nil {
		return fmt.Errorf("journal: unpark: %w", err)
	}
	return j.update("unpark", func(_ *store, b *pebble.Batch) error { return b.Delete(key, nil) })
}

// Parked returns up to limit parked events of a sink, in order of their positions, from the given one on. An empty name
// stands for all sinks, in order of their names; from must be 0 then. Errors: ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) Parked(ctx context.Context, sink string, from Position, limit int) ([]*journalv1.Parked, error) {
	lower, upper := sinkKeys(prefixParked, sink)
	if sink != "" {
		lower = binary.BigEndian.AppendUint64(lower, uint64(from))
	}
	var all []*journalv1.Parked
	err := j.view(ctx, func(st *store) error {
		return st.each(lower, upper, func(v []byte) (more bool, err error) {
			if len(all) >= limit {
				return false, nil
			}
			p := new(journalv1.Parked)
			all = append(all, p)
			return true, proto.Unmarshal(v, p)
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// RecordGap records that a sink was not given the events from one position up to, not including, another, and returns how
// many of them were not recorded before, once that is durable. Gaps that meet or overlap become one; of more than a
// thousand the oldest are forgotten. Calls for one sink must not overlap. Errors: ErrUnavailable, ErrClosed.
func (j *Journal) RecordGap(sink string, from, to Position) (fresh uint64, err error) {
	if from >= to {
		return 0, fmt.Errorf("journal: record gap: no events from %d to %d", from, to)
	}
	if _, err := sinkKey(prefixGap, sink, from); err != nil {
		return 0, fmt.Errorf("journal: record gap: %w", err)
	}
	err = j.update("record gap", func(st *store, b *pebble.Batch) error {
		known, err := st.gaps(sink)
		if err != nil {
			return err
		}
		now := timestamppb.New(j.cfg.Now())
		gap := &journalv1.Gap{Sink: sink, From: uint64(from), To: uint64(to), FirstAt: now, LastAt: now}
		var gone []*journalv1.Gap
		gone, fresh = absorb(gap, known)
		if len(known)-len(gone) >= gapsKept {
			gone = append(gone, known[0])
		}
		return replaceGaps(b, gone, gap)
	})
	return fresh, err
}

// Gaps returns the recorded gaps of a sink, or of all when the name is empty, in order. Errors: ErrUnavailable, ErrClosed,
// ctx's.
func (j *Journal) Gaps(ctx context.Context, sink string) (all []*journalv1.Gap, err error) {
	err = j.view(ctx, func(st *store) (err error) {
		all, err = st.gaps(sink)
		return err
	})
	return all, err
}

// absorb widens gap by those of known that it meets, and returns these, and how many positions none of them held.
func absorb(gap *journalv1.Gap, known []*journalv1.Gap) (met []*journalv1.Gap, fresh uint64) {
	var held uint64
	for _, k := range known {
		if k.GetTo() < gap.GetFrom() || k.GetFrom() > gap.GetTo() {
			continue
		}
		met = append(met, k)
		held += k.GetTo() - k.GetFrom()
		if k.GetFirstAt().AsTime().Before(gap.GetFirstAt().AsTime()) {
			gap.FirstAt = k.GetFirstAt()
		}
		gap.From, gap.To = min(gap.GetFrom(), k.GetFrom()), max(gap.GetTo(), k.GetTo())
	}
	return met, gap.GetTo() - gap.GetFrom() - held
}

func replaceGaps(b *pebble.Batch, gone []*journalv1.Gap, gap *journalv1.Gap) error {
	for _, g := range gone {
		key, err := sinkKey(prefixGap, g.GetSink(), Position(g.GetFrom()))
		if err != nil {
			return err
		}
		if err := b.Delete(key, nil); err != nil {
			return err
		}
	}
	key, err := sinkKey(prefixGap, gap.GetSink(), Position(gap.GetFrom()))
	if err != nil {
		return err
	}
	return setMessage(b, key, gap)
}

// CommittedAt returns when the event at p was committed. Errors: ErrExpired, ErrFuture, ErrUnavailable, ErrClosed.
func (j *Journal) CommittedAt(ctx context.Context, p Position) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	switch b := j.Bounds(); {
	case p < b.Earliest:
		return time.Time{}, ErrExpired
	case p >= b.Next:
		return time.Time{}, ErrFuture
	}
	st, release, err := j.use()
	if err != nil {
		return time.Time{}, err
	}
	defer release()
	at, err := st.commitTime(p)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return at, ErrExpired // given up while we looked
	case err != nil:
		return at, fmt.Errorf("journal: commit time: %w", err)
	}
	return at, nil
}

// update writes what change puts into a batch, and returns once it is durable.
func (j *Journal) update(operation string, change func(*store, *pebble.Batch) error) error {
	st, release, err := j.use()
	if err != nil {
		return err
	}
	defer release()
	b := st.db.NewBatch()
	if err := change(st, b); err != nil {
		return fmt.Errorf("journal: %s: %w", operation, errors.Join(err, b.Close()))
	}
	if err := st.write(b); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, operation, err)
	}
	return nil
}

func (s *store) gaps(sink string) (all []*journalv1.Gap, err error) {
	lower, upper := sinkKeys(prefixGap, sink)
	err = s.each(lower, upper, func(v []byte) (bool, error) {
		g := new(journalv1.Gap)
		all = append(all, g)
		return true, proto.Unmarshal(v, g)
	})
	return all, err
}

// each calls f for all keys between the bounds, in order, as long as it returns true. The value is only lent.
func (s *store) each(lower, upper []byte, f func(v []byte) (more bool, err error)) (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		more, err := f(v)
		if err != nil || !more {
			return err
		}
	}
	return it.Error()
}

func (s *store) getMessage(key []byte, m proto.Message) error {
	v, closer, err := s.db.Get(key)
	if err != nil {
		return err
	}
	return errors.Join(proto.Unmarshal(v, m), closer.Close())
}

func setMessage(b *pebble.Batch, key []byte, m proto.Message) error {
	v, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return b.Set(key, v, nil)
}
