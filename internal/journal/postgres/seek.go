package postgres

import (
	"context"
	"math"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// seekBatch is how many events Seek reads at once.
	seekBatch = 256
	// clockSkew is how far the clock of an instance, which says when a webhook was received, may be ahead of the server's, which says when its
	// events were committed.
	clockSkew = 5 * time.Second
)

// searchTime finds the first position from $1 up to $2 whose event was committed at $3 or later, by halving. An event that is missing
// was removed by retention, as were all before it.
const searchTime = `with recursive part(first, behind) as (
		select $1::bigint, $2::bigint
		union all
		select case when later then first else middle + 1 end, case when later then middle else behind end
		from (select first, behind, middle, coalesce((select at >= $3 from bridge.event where position = middle), false) as later
			from (select first, behind, (first + behind) / 2 as middle from part where first < behind) as halves) as looked
	) select first from part where first >= behind`

// Seek implements [sinks.Log]. Positions are in order of commit, so the event found may be followed by ones that were
// received a little earlier. No event that was received at t or later lies before it.
//
// Errors: ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) Seek(ctx context.Context, t time.Time) (sinks.Position, error) {
	if err := j.ready(ctx); err != nil {
		return 0, err
	}
	s := j.tail.shown.Load()
	for i := s.epochs.Of(s.Earliest); i < s.epochs.Len(); i++ {
		b := sinks.Bounds{Earliest: max(s.epochs.At(i).First, s.Earliest), Next: s.epochs.End(i, s.Next)}
		if b.Earliest >= b.Next {
			continue
		}
		found, err := j.seekReceived(ctx, b, t)
		if err != nil {
			return 0, err
		}
		if found < b.Next {
			return found, nil
		}
	}
	return s.Next, nil
}

// seekReceived is Seek within an epoch. It returns b.Next if no event there was received at t or later.
func (j *Journal) seekReceived(ctx context.Context, b sinks.Bounds, t time.Time) (sinks.Position, error) {
	// No event is committed before it is received: the first one committed at t or later, by the clock of an instance, is the earliest to look
	// at.
	p, err := j.searchCommitted(ctx, b, t.Add(-clockSkew))
	if err != nil {
		return 0, j.answer(ctx, err)
	}
	records := make([]sinks.Record, 0, seekBatch)
	for p < b.Next {
		records, err = j.fetch(ctx, p, b.Next, records[:0])
		switch {
		case len(records) > 0: // an error is met again, behind them
		case err == nil:
			if err = j.explainHole(ctx, p); err == nil {
				return j.Bounds().Earliest, nil // removed meanwhile
			}
			fallthrough
		default:
			return 0, j.eventError(ctx, p, err)
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

// searchCommitted returns the first position in b, which lies in one epoch, whose event was committed at t or later, as the clock of that
// epoch showed it.
func (j *Journal) searchCommitted(ctx context.Context, b sinks.Bounds, t time.Time) (sinks.Position, error) {
	ctx, cancel := j.untilClosed(ctx)
	defer cancel()
	var p int64
	err := j.pool.QueryRow(ctx, j.sql(searchTime), int64(b.Earliest), int64(b.Next), nanoseconds(t)).Scan(&p)
	return sinks.Position(p), err
}

// nanoseconds are the Unix nanoseconds of a time, or the nearest that there are.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}
