package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/page"
	"github.com/webhook-bridge/bridge/sinks"
)

// Read implements [sinks.Log]. It waits for an event also while the journal recovers.
func (j *Journal) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	from = max(from, 1)
	for {
		changed := j.changed()
		if j.isClosing() {
			return records, sinks.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return records, err
		}
		b := j.Bounds()
		switch {
		case from < b.Earliest:
			return records, sinks.ErrExpired
		case from > b.Next:
			return records, sinks.ErrFuture
		case len(records) == cap(records):
			return records, nil
		case from < b.Next:
			if h, ok := j.lost.Load().at(from); ok {
				return records, &sinks.LostError{From: from, To: h.to}
			}
			got, err := j.scan(from, b.Next, records)
			if len(got) > len(records) {
				return got, nil // an error is met again, behind them
			}
			if err != nil && !errors.Is(err, journal.ErrUnavailable) {
				return records, j.readError(from, err)
			}
			if err == nil && from >= sinks.Position(j.earliest.Load()) {
				return records, j.readError(from, errHole)
			}
			if err == nil {
				continue
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return records, ctx.Err()
		}
	}
}

// scan reads durable events that are neighbours, up to a hole. It returns none when retention has removed them meanwhile. Together
// with an error it returns the events before it.
func (j *Journal) scan(from, to sinks.Position, records []sinks.Record) (_ []sinks.Record, err error) {
	st, release, err := j.borrowStore()
	if err != nil {
		return records, err
	}
	defer release()
	if st.fs.err() != nil {
		return records, journal.ErrUnavailable
	}
	if h, ok := st.lost.next(from); ok {
		to = min(to, max(h.from, from))
	}
	want := from
	defer recoverDamage(&err)
	var bounds [2 * eventKeyLen]byte
	it, err := st.db.NewIter(&pebble.IterOptions{
		LowerBound: appendEventKey(bounds[:0:eventKeyLen], from),
		UpperBound: appendEventKey(bounds[eventKeyLen:eventKeyLen], to),
	})
	if err != nil {
		return records, fmt.Errorf("journal: read: %w", err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("journal: read: %w", cerr)
		}
		if err != nil && st.fs.err() != nil {
			err = journal.ErrUnavailable // files of an isolated folder may be incomplete
		}
	}()
	// Retention moves earliest before it removes events. So the iterator sees all events if earliest has not passed from.
	if from < sinks.Position(j.earliest.Load()) {
		return records, nil
	}
	var m page.Memory
	bytes := 0
	for ok := it.First(); ok && len(records) < cap(records); ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return records, fmt.Errorf("journal: read: %w", err)
		}
		if bytes += len(v); bytes > page.ReadBytes && bytes > len(v) {
			break
		}
		p, event, err := parseEvent(it.Key(), v)
		if err != nil {
			return records, fmt.Errorf("journal: read: %w", err)
		}
		if p != want {
			return records, fmt.Errorf("journal: read: %w", errHole)
		}
		want++
		left := min(uint64(cap(records)-len(records)), uint64(to-p))
		record, err := sinks.NewRecord(p, m.CopyOf(event, left))
		if err != nil {
			return records, fmt.Errorf("journal: read: %w: %w", errCorrupt, err)
		}
		records = append(records, record)
	}
	return records, it.Error()
}

// EventAt implements [journal.Reader].
func (j *Journal) EventAt(ctx context.Context, p sinks.Position) (*eventv1.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch b := j.Bounds(); {
	case p < b.Earliest:
		return nil, sinks.ErrExpired
	case p >= b.Next:
		return nil, sinks.ErrFuture
	}
	got, err := j.scan(p, p+1, make([]sinks.Record, 0, 1))
	switch {
	case err != nil:
		return nil, j.readError(p, err)
	case len(got) == 0:
		return nil, sinks.ErrExpired // removed meanwhile, or lost
	}
	e, err := got[0].Event()
	if err != nil {
		return nil, j.readError(p, err)
	}
	return e, nil
}

func parseEvent(key, v []byte) (p sinks.Position, event []byte, err error) {
	if p, err = parseEventKey(key); err != nil {
		return 0, nil, err
	}
	if len(v) < eventHeaderLen {
		return 0, nil, fmt.Errorf("position %d: %w", p, errCorrupt)
	}
	return p, v[eventHeaderLen:], nil
}

// Seek implements [sinks.Log]. Positions are in order of commit, so the event found may be followed by ones that were
// received a little earlier. No event that was received at t or later lies before it.
//
// Errors: ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) Seek(ctx context.Context, t time.Time) (sinks.Position, error) {
	b, e := j.Bounds(), j.epochs.Load()
	for i := e.Of(b.Earliest); i < e.Len(); i++ {
		p := sinks.Bounds{Earliest: max(e.At(i).First, b.Earliest), Next: e.End(i, b.Next)}
		if p.Earliest >= p.Next {
			continue
		}
		found, err := j.seekReceived(ctx, p, t)
		if err != nil {
			return 0, err
		}
		if found < p.Next {
			return found, nil
		}
	}
	return b.Next, nil
}

// seekReceived is Seek within an epoch. It returns b.Next if no event there was received at t or later.
func (j *Journal) seekReceived(ctx context.Context, b sinks.Bounds, t time.Time) (sinks.Position, error) {
	// No event is committed before it is received: the first one committed at t or later is the earliest to look at.
	p, err := j.searchShownTime(b, t)
	if err != nil {
		return 0, err
	}
	records := make([]sinks.Record, 0, 256)
	for p = j.lost.Load().pass(p); p < b.Next; p = j.lost.Load().pass(p) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		records, err = j.scan(p, b.Next, records[:0])
		if err != nil && len(records) == 0 {
			return 0, j.readError(p, err)
		}
		if len(records) == 0 { // removed meanwhile
			return sinks.Position(j.earliest.Load()), nil
		}
		for _, r := range records {
			if !r.Header.ReceivedAt.Before(t) {
				return r.Position, nil
			}
		}
		p = records[len(records)-1].Position + 1
	}
	return b.Next, nil
}

// searchShownTime returns the first position in b, which lies in one epoch, whose event was committed at t or later, as the clock of
// that epoch showed it.
func (j *Journal) searchShownTime(b sinks.Bounds, t time.Time) (sinks.Position, error) {
	st, release, err := j.borrowStore()
	if err != nil {
		return 0, err
	}
	defer release()
	return search(b, t, st.shownTime, st.lost)
}

// committedSince returns the first position in b whose event counts as committed at t or later.
func (s *store) committedSince(b sinks.Bounds, t time.Time) (sinks.Position, error) {
	return search(b, t, s.commitTime, s.lost)
}

// search looks for the first position whose time is t or later. A position that was lost has the time of the next event.
func search(
	b sinks.Bounds, t time.Time, timeOf func(sinks.Position) (time.Time, error), lost *losses,
) (sinks.Position, error) {
	var failed error
	n := sort.Search(int(b.Next-b.Earliest), func(i int) bool {
		p := lost.pass(b.Earliest + sinks.Position(i))
		if p >= b.Next {
			return true
		}
		at, err := timeOf(p)
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			failed = err
		}
		return !at.Before(t)
	})
	if failed != nil {
		return 0, fmt.Errorf("journal: seek: %w", failed)
	}
	return b.Earliest + sinks.Position(n), nil
}

// commitTime is when the event counts as committed, if the clock was put back since. It never decreases with the position.
func (s *store) commitTime(p sinks.Position) (time.Time, error) {
	at, err := s.shownTime(p)
	if err != nil {
		return at, err
	}
	e := s.epochs.Load()
	return time.Unix(0, min(at.UnixNano(), e.LimitAt(e.Of(p)))), nil
}

// shownTime is when the event was committed, as the clock of its epoch showed it.
func (s *store) shownTime(p sinks.Position) (_ time.Time, err error) {
	defer recoverDamage(&err)
	v, closer, err := s.db.Get(eventKey(p))
	if err != nil {
		return time.Time{}, err
	}
	if len(v) < eventHeaderLen {
		return time.Time{}, errors.Join(errCorrupt, closer.Close())
	}
	at := time.Unix(0, int64(binary.BigEndian.Uint64(v)))
	return at, closer.Close()
}

// CommittedAt implements [journal.Reader].
func (j *Journal) CommittedAt(ctx context.Context, p sinks.Position) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	switch b := j.Bounds(); {
	case p < b.Earliest:
		return time.Time{}, sinks.ErrExpired
	case p >= b.Next:
		return time.Time{}, sinks.ErrFuture
	}
	st, release, err := j.borrowStore()
	if err != nil {
		return time.Time{}, err
	}
	defer release()
	at, err := st.commitTime(p)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return at, sinks.ErrExpired // removed meanwhile
	case err != nil:
		return at, j.readError(p, err)
	}
	return at, nil
}
