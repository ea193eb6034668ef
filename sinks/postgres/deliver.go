package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/sinks"
)

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (n int, err error) {
	if len(events) == 0 {
		if s.ctx.Err() != nil {
			return 0, sinks.ErrClosed
		}
		return 0, nil
	}
	err = s.do(ctx, "deliver", func(ctx context.Context) error {
		if err := s.ready(ctx); err != nil {
			return err
		}
		b := newBatch(events)
		s.prepared.take(b)
		n, err = s.deliver(ctx, b)
		return err
	})
	return n, err
}

// deliver writes events in one transaction. If the events are refused, it divides them, until it finds the first event that is refused alone.
func (s *Sink) deliver(ctx context.Context, b *batch) (int, error) {
	err := s.transact(ctx, b)
	var refused *refusal
	switch {
	case err == nil:
		return len(b.records), nil
	case !errors.As(err, &refused):
		return 0, err
	case len(b.records) == 1:
		return 0, sinks.Permanent(fmt.Errorf("postgres: deliver: event at %d: %w", b.records[0].Position, refused))
	}
	first, rest := b.halves()
	n, err := s.deliver(ctx, first)
	if err != nil {
		return n, err
	}
	more, err := s.deliver(ctx, rest)
	return n + more, err
}

// transact writes events, the current state and the position in one transaction. When the events are refused, the session goes on.
func (s *Sink) transact(ctx context.Context, b *batch) error {
	if s.conn == nil { // after a refusal whose transaction could not be ended
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	err := classify(s.write(ctx, b))
	if err == nil {
		return nil
	}
	var refused *refusal
	if !errors.As(err, &refused) {
		return err
	}
	if _, failed := s.conn.Exec(ctx, "rollback"); failed != nil {
		return failed
	}
	return err
}

func (s *Sink) write(ctx context.Context, b *batch) error {
	err := s.writeOnce(ctx, b)
	switch {
	case code(err) == "23505" && !s.repeats:
		s.repeats = true // the copy met a row that is there
	case code(err) == "0A000" && !s.inserts:
		s.inserts = true // row-level security, for example
	default:
		return err
	}
	if _, err := s.conn.Exec(ctx, "rollback"); err != nil {
		return err
	}
	return s.writeOnce(ctx, b)
}

// lockState has the tables of the current state changed by one sink at a time. It is a lock of the transaction.
const lockState = "select pg_advisory_xact_lock(hashtextextended($1, 1))"

func (s *Sink) writeOnce(ctx context.Context, b *batch) error {
	var (
		at      sinkRow
		changed *change
		begin   pgx.Batch
		end     pgx.Batch
		err     error
	)
	s.making = nil
	begin.Queue("begin")
	begin.Queue(s.sql(lookAgain), s.origin.Sink).QueryRow(func(row pgx.Row) error {
		at, err = scanSink(row)
		return err
	})
	if s.state != nil {
		if changed, err = s.state.newChange(b); err != nil {
			return err
		}
		begin.Queue(lockState, "bridge postgres sink "+s.schema)
		changed.find(&begin)
	}
	err = s.conn.SendBatch(ctx, &begin).Close()
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && at.fence != s.fence:
		return sinks.ErrFenced
	case err != nil:
		return err
	}
	if err := s.writeEvents(ctx, &end, b); err != nil {
		return err
	}
	if s.state != nil {
		if err := changed.apply(b); err != nil {
			return err
		}
		write := func(t *table, rows source, n int) error { return s.writeRows(ctx, &end, t, rows, n) }
		add := func(t *table, rows source, n int) error { return s.addRows(ctx, &end, t, rows, n) }
		if err := changed.write(add, write); err != nil {
			return err
		}
	}
	inserted, err := s.commit(ctx, &end, max(at.positionIn(s.origin.Log.ID()), next(b.records)))
	if err != nil {
		return err
	}
	for _, t := range s.making {
		s.staged[t] = true
	}
	if s.repeats && (s.events == nil || inserted == int64(len(b.records))) {
		s.repeats = false
	}
	return nil
}

// writeEvents writes the rows of events.
func (s *Sink) writeEvents(ctx context.Context, end *pgx.Batch, b *batch) error {
	if s.events == nil {
		return nil
	}
	return s.addRows(ctx, end, s.events, &eventRows{batch: b}, len(b.records))
}

// addRows copies many rows into a table, unless it may have some of them.
func (s *Sink) addRows(ctx context.Context, end *pgx.Batch, t *table, rows source, n int) error {
	if n < copyFrom || s.repeats || s.inserts {
		return s.writeRows(ctx, end, t, rows, n)
	}
	return t.copyDirect(ctx, s.conn, rows)
}

// writeRows copies many rows to a temporary table, and adds the statements that insert them to a batch.
func (s *Sink) writeRows(ctx context.Context, end *pgx.Batch, t *table, rows source, n int) error {
	switch {
	case n == 0:
		return nil
	case n < copyFrom || !s.staging:
		return t.queue(end, rows)
	}
	if !s.staged[t] {
		if err := t.stage(ctx, s.conn); err != nil {
			return err
		}
		s.making = append(s.making, t)
	}
	return t.copyStaged(ctx, s.conn, end, rows)
}

var errNoCommit = errors.New("the database did not commit")

// commit runs the last statements of a transaction and its commit in one exchange. It returns how many rows the first statement inserted.
func (s *Sink) commit(ctx context.Context, end *pgx.Batch, to sinks.Position) (inserted int64, err error) {
	end.Queue(s.sql(setPosition), s.positionArgs(to)...)
	end.Queue("commit")
	results := s.conn.SendBatch(ctx, end)
	for i := range end.Len() {
		tag, err := results.Exec()
		if err == nil && i == end.Len()-1 && tag.String() != "COMMIT" {
			err = errNoCommit
		}
		if err != nil {
			_ = results.Close() // the first error is the cause
			return 0, err
		}
		if i == 0 {
			inserted = tag.RowsAffected()
		}
	}
	return inserted, results.Close()
}

// next is the position after the last of some events.
func next(records []sinks.Record) sinks.Position {
	var last sinks.Position
	for _, r := range records {
		last = max(last, r.Position)
	}
	return last + 1
}

// sinkRow is the sink's row in the table sink.
type sinkRow struct {
	fence int64
	sinks.Reached
	// found: the row has a position.
	found bool
}

func scanSink(row pgx.Row) (r sinkRow, err error) {
	var (
		log             *string
		epoch, position *int64
	)
	if err := row.Scan(&r.fence, &log, &epoch, &position); err != nil {
		return r, err
	}
	if log == nil || epoch == nil || position == nil {
		return r, nil
	}
	r.found = true
	r.Reached = sinks.Reached{Log: *log, Mark: sinks.Mark{Epoch: sinks.Epoch(*epoch), Position: sinks.Position(*position)}}
	return r, nil
}

// positionIn is the position in a log, or 0.
func (r sinkRow) positionIn(log string) sinks.Position {
	if !r.found || r.Log != log {
		return 0
	}
	return r.Mark.Position
}

// sql puts the schema in place of bridge.
func (s *Sink) sql(query string) string { return strings.ReplaceAll(query, "bridge.", s.schema+".") }
