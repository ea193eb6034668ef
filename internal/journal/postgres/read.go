package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/page"
	"github.com/webhook-bridge/bridge/sinks"
)

// readRetry is how long a read waits, at least, when the database gave no answer.
const readRetry = 100 * time.Millisecond

var (
	// errHole is returned for events that are not there, though the head says so.
	errHole = errors.New("the event is missing")
	// errCorrupt is returned for records that are not as they were written.
	errCorrupt = errors.New("the record is malformed")
)

// Read implements [sinks.Log]. It waits for an event also while the database is away.
func (j *Journal) Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	from = max(from, 1)
	for {
		if err := j.ready(ctx); err != nil {
			return records, err
		}
		s := j.tail.shown.Load()
		var err error
		switch {
		case from < s.Earliest:
			return records, sinks.ErrExpired
		case from > s.Next:
			if err = j.catchUp(ctx); err == nil && from > j.Bounds().Next {
				return records, sinks.ErrFuture
			}
		case len(records) == cap(records):
			return records, nil
		case from == s.Next:
			err = j.awaitChange(ctx, s)
		default:
			var got []sinks.Record
			got, err = j.fetch(ctx, from, s.Next, records)
			if len(got) > len(records) {
				return got, nil // an error is met again, behind them
			}
			if err == nil {
				err = j.explainHole(ctx, from)
			}
		}
		if err != nil {
			if err = j.retry(ctx, from, err); err != nil {
				return records, err
			}
		}
	}
}

// awaitChange waits until another state is shown.
func (j *Journal) awaitChange(ctx context.Context, s *state) error {
	select {
	case <-s.changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-j.closing:
		return errClosed
	}
}

// explainHole returns nil if retention removed the event at a position meanwhile, or if the log ends before it: the shown state then says so.
func (j *Journal) explainHole(ctx context.Context, p sinks.Position) error {
	if err := j.catchUp(ctx); err != nil {
		return err
	}
	if b := j.Bounds(); p < b.Earliest || p >= b.Next {
		return nil
	}
	return errHole
}

// retry waits a while before a read is tried again. It returns the error of a read for which that is of no use.
func (j *Journal) retry(ctx context.Context, p sinks.Position, err error) error {
	switch {
	case isDamage(err):
		return j.readError(p, err)
	case j.isClosing():
		return errClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	timer := time.NewTimer(readRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-j.closing:
		return errClosed
	}
}

// selectEvents reads events that are neighbours, as many as the limits of a read allow: $3 events and $4 bytes, but at least one.
const selectEvents = `select position, encoded from (
		select position, encoded, sum(octet_length(encoded)) over (order by position rows unbounded preceding) as total
		from bridge.event where position >= $1 and position < $2 order by position limit $3
	) as e where total <= $4 or position = $1`

// fetch reads events up to a hole, in one round trip. Together with an error it returns the events before it.
func (j *Journal) fetch(ctx context.Context, from, to sinks.Position, records []sinks.Record) ([]sinks.Record, error) {
	ctx, cancel := j.untilClosed(ctx)
	defer cancel()
	room := min(uint64(cap(records)-len(records)), uint64(to-from))
	rows, err := j.pool.Query(ctx, j.sql(selectEvents), int64(from), int64(to), int64(room), int64(page.ReadBytes))
	if err != nil {
		return records, err
	}
	defer rows.Close()
	var m page.Memory
	for want := from; rows.Next(); want++ {
		v := rows.RawValues()
		p, err := parsePosition(v[0])
		switch {
		case err != nil:
			return records, err
		case p != want:
			return records, nil // the caller asks for the rest, and finds nothing
		}
		record, err := sinks.NewRecord(p, m.CopyOf(v[1], uint64(from)+room-uint64(p)))
		if err != nil {
			return records, fmt.Errorf("%w: %w", errCorrupt, err)
		}
		records = append(records, record)
	}
	return records, rows.Err()
}

// parsePosition reads a bigint in binary.
func parsePosition(v []byte) (sinks.Position, error) {
	if len(v) != 8 {
		return 0, errCorrupt
	}
	return sinks.Position(binary.BigEndian.Uint64(v)), nil
}

// untilClosed returns a context that also ends when the journal closes. Only what may be cancelled uses it: never a COMMIT.
func (j *Journal) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(j.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// isDamage reports whether an error says that data are not as they were written.
func isDamage(err error) bool {
	if errors.Is(err, errHole) || errors.Is(err, errCorrupt) || errors.Is(err, proto.Error) {
		return true
	}
	switch code(err) {
	case "XX001", "XX002": // data_corrupted, index_corrupted
		return true
	}
	return false
}

// readError returns the error of a read at a position. Damage is a [sinks.DamagedError], which is logged once for each place.
func (j *Journal) readError(p sinks.Position, err error) error {
	if !isDamage(err) {
		return unavailable(err)
	}
	if j.damagedAt.Swap(uint64(p)) != uint64(p) {
		j.cfg.Logger.Error("journal: an event that was confirmed cannot be read", "position", uint64(p), "error", describe(err))
	}
	return &sinks.DamagedError{Position: p, Err: describe(err)}
}

// locate returns nil if the position of an event is within the bounds, after asking the database if necessary.
func (j *Journal) locate(ctx context.Context, p sinks.Position) error {
	if err := j.ready(ctx); err != nil {
		return err
	}
	if p >= j.Bounds().Next {
		if err := j.catchUp(ctx); err != nil {
			return err
		}
	}
	switch b := j.Bounds(); {
	case p < b.Earliest:
		return sinks.ErrExpired
	case p >= b.Next:
		return sinks.ErrFuture
	}
	return nil
}

// EventAt implements [journal.Reader].
func (j *Journal) EventAt(ctx context.Context, p sinks.Position) (*eventv1.Event, error) {
	if err := j.locate(ctx, p); err != nil {
		return nil, err
	}
	got, err := j.fetch(ctx, p, p+1, make([]sinks.Record, 0, 1))
	if err == nil && len(got) == 0 {
		if err = j.explainHole(ctx, p); err == nil {
			return nil, j.locate(ctx, p)
		}
	}
	if err != nil {
		return nil, j.eventError(ctx, p, err)
	}
	e, err := got[0].Event()
	if err != nil {
		return nil, j.readError(p, err)
	}
	return e, nil
}

// eventError is what a caller gets that asked for one event.
func (j *Journal) eventError(ctx context.Context, p sinks.Position, err error) error {
	if isDamage(err) {
		return j.readError(p, err)
	}
	return j.answer(ctx, err)
}

// CommittedAt implements [journal.Reader].
func (j *Journal) CommittedAt(ctx context.Context, p sinks.Position) (time.Time, error) {
	if err := j.locate(ctx, p); err != nil {
		return time.Time{}, err
	}
	query, cancel := j.untilClosed(ctx)
	defer cancel()
	var at int64
	err := j.pool.QueryRow(query, j.sql(`select at from bridge.event where position = $1`), int64(p)).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		if err = j.explainHole(ctx, p); err == nil {
			return time.Time{}, j.locate(ctx, p)
		}
	}
	if err != nil {
		return time.Time{}, j.eventError(ctx, p, err)
	}
	epochs := j.tail.shown.Load().epochs
	return time.Unix(0, min(at, epochs.LimitAt(epochs.Of(p)))), nil
}

var _ journal.Reader = (*Journal)(nil)
