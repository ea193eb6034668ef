package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Readers implements [journal.Operations]. It counts the parked events.
func (j *Journal) Readers(ctx context.Context) (all []journal.ReaderState, err error) {
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, j.sql(`select name, position, paused, registered > clock_timestamp(),
				owner is not null and until > clock_timestamp(), note,
				coalesce((select l.name from bridge.replica l where l.id = r.owner and r.until > clock_timestamp()), ''),
				(select count(*) from bridge.parked p where p.reader = r.name),
				(select coalesce(sum(behind - first), 0)::bigint from bridge.gap g where g.reader = r.name)
			from bridge.reader r where position > 0 order by name collate "C"`))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r journal.ReaderState, err error) {
			var position, parked, missed int64
			err = row.Scan(&r.Name, &position, &r.Paused, &r.Registered, &r.Claimed, &r.Note, &r.Owner, &parked, &missed)
			r.Position, r.Parked, r.Missed = sinks.Position(position), uint64(parked), uint64(missed)
			r.Note = noteOf(r.Note)
			return r, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Pause implements [journal.Operations].
func (j *Journal) Pause(ctx context.Context, name string) error {
	return j.revoke(ctx, "pause", name, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, j.sql(`update bridge.reader set paused = true where name = $1`), name)
		return err
	})
}

// Resume implements [journal.Operations].
func (j *Journal) Resume(ctx context.Context, name string) error {
	err := j.update(ctx, "resume", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, j.sql(`update bridge.reader set paused = false, touched = `+readingSQL+` where name = $2 and position > 0`),
			j.reading(), name)
		if err == nil && tag.RowsAffected() == 0 {
			err = errNoReader(name)
		}
		return err
	})
	if err != nil {
		return err
	}
	j.readers.look()
	j.announceReaders()
	return nil
}

// MoveTo implements [journal.Operations]. Requests to pass an event are dropped: they were about the place that the reader
// leaves. It holds the head, as retention does, so that the reader gets the events that it was promised.
func (j *Journal) MoveTo(ctx context.Context, name string, p sinks.Position) error {
	return j.revoke(ctx, "move", name, func(ctx context.Context, tx pgx.Tx) error {
		kept, next, err := j.limits(ctx, tx, `for share`)
		switch {
		case err != nil:
			return err
		case p < kept:
			return sinks.ErrExpired
		case p > next:
			return sinks.ErrFuture
		}
		if _, err := tx.Exec(ctx, j.sql(`update bridge.reader set position = $2, moved = $2 where name = $1`), name, int64(p)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, j.sql(`delete from bridge.request where reader = $1 and kind = 'p'`), name)
		return err
	})
}

// Forget implements [journal.Operations]. The reader's parked events and gaps stay, its replays go. So does its row, which has the lease's number.
func (j *Journal) Forget(ctx context.Context, name string) error {
	return j.revoke(ctx, "forget", name, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, j.sql(`update bridge.reader set position = 0, moved = 0, paused = false, registered = '-infinity' where name = $1`), name)
		if err != nil {
			return err
		}
		for _, table := range []string{"request", "replay"} {
			if _, err := tx.Exec(ctx, j.sql(`delete from bridge.`+table+` where reader = $1`), name); err != nil {
				return err
			}
		}
		return nil
	})
}

// revoke changes a reader, durably, and takes its claim away. It returns once the claim is lost at its holder: the holder says so, or
// its lease has run out.
func (j *Journal) revoke(ctx context.Context, what, name string, change func(ctx context.Context, tx pgx.Tx) error) error {
	if err := checkReader(name); err != nil {
		return err
	}
	type result struct {
		number int64
		mine   bool
	}
	revoked := make(chan result, 1)
	err := j.update(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		var r result
		var owner *uuid.UUID
		err := tx.QueryRow(ctx, j.sql(`update bridge.reader set claim = claim + 1, touched = `+readingSQL+`
			where name = $2 and position > 0 returning claim, owner`), j.reading(), name).Scan(&r.number, &owner)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNoReader(name)
		}
		if err != nil {
			return err
		}
		r.mine = owner != nil && *owner == j.replica
		revoked <- r
		return change(ctx, tx)
	})
	if err != nil {
		return err
	}
	r := <-revoked
	if r.mine {
		j.readers.loseBefore(name, r.number)
	}
	j.readers.look()
	j.announceReaders()
	return j.answer(ctx, j.awaitLoss(ctx, name, r.number))
}

// loseBefore ends the claim that this instance has to a name, if its number is below one.
func (rs *readers) loseBefore(name string, number int64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if c := rs.held[name]; c != nil && c.number < number {
		rs.loseLocked(c)
	}
}

const (
	firstLook = 5 * time.Millisecond
	lastLook  = 200 * time.Millisecond
)

// awaitLoss waits until nobody relies on a lease that was taken away. Its holder cannot renew it, so a lease is the longest wait.
func (j *Journal) awaitLoss(ctx context.Context, name string, number int64) error {
	end := time.Now().Add(j.cfg.lease)
	for pause := firstLook; time.Now().Before(end); pause = min(2*pause, lastLook) {
		var lost bool
		err := j.pool.QueryRow(ctx, j.sql(`select owner is null or claim > $2 or until < clock_timestamp()
			from bridge.reader where name = $1`), name, number).Scan(&lost)
		switch {
		case lost, errors.Is(err, pgx.ErrNoRows):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		case <-j.closing:
			return errClosed
		}
	}
	return nil
}
