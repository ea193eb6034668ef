package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// number is a position as a parameter of SQL.
func number(p sinks.Position) int64 { return int64(min(p, math.MaxInt64)) }

// park writes a parked event by the rules of [letters.Park]. A request to retry or to pass the event is then done. An event that is
// not parked yet is parked only if add is set.
func (j *Journal) park(ctx context.Context, tx pgx.Tx, name string, p *journalv1.Parked, add bool, now time.Time) error {
	at := number(sinks.Position(p.GetPosition()))
	// The event first, and then the requests about it, as operators' calls lock them.
	known, err := j.parkedAt(ctx, tx, name, at)
	if err != nil {
		return err
	}
	if err := j.dropRequests(ctx, tx, name, at); err != nil || known == nil && !add {
		return err
	}
	encoded, err := proto.Marshal(letters.Park(name, p, known, now))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, j.sql(`insert into bridge.parked (reader, position, at, encoded) values ($1, $2, $3, $4)
		on conflict (reader, position) do update set at = excluded.at, encoded = excluded.encoded`), name, at, now.UnixNano(), encoded)
	return err
}

// parkedAt returns a parked event and locks its record, so that no operator discards it before the end of the transaction. It
// returns nil if there is none.
func (j *Journal) parkedAt(ctx context.Context, tx pgx.Tx, name string, p int64) (*journalv1.Parked, error) {
	var encoded []byte
	err := tx.QueryRow(ctx, j.sql(`select encoded from bridge.parked where reader = $1 and position = $2 for update`), name, p).Scan(&encoded)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseParked(encoded)
}

func parseParked(encoded []byte) (*journalv1.Parked, error) {
	p := new(journalv1.Parked)
	if err := proto.Unmarshal(encoded, p); err != nil {
		return nil, fmt.Errorf("%w: a parked event: %w", sinks.ErrDamaged, err)
	}
	return p, nil
}

// unpark removes a parked event and the requests about it. It reports whether the event was parked.
func (j *Journal) unpark(ctx context.Context, tx pgx.Tx, name string, p sinks.Position) (was bool, err error) {
	tag, err := tx.Exec(ctx, j.sql(`delete from bridge.parked where reader = $1 and position = $2`), name, number(p))
	if err != nil {
		return false, err
	}
	return tag.RowsAffected() > 0, j.dropRequests(ctx, tx, name, number(p))
}

// dropRequests removes the requests about an event.
func (j *Journal) dropRequests(ctx context.Context, tx pgx.Tx, name string, p int64) error {
	_, err := tx.Exec(ctx, j.sql(`delete from bridge.request where reader = $1 and position = $2`), name, p)
	return err
}

// Parked implements [journal.DeadLetters].
func (j *Journal) Parked(ctx context.Context, name string, from sinks.Position, limit int) (all []*journalv1.Parked, err error) {
	query, args := `select encoded from bridge.parked order by reader collate "C", position limit $1`, []any{limit}
	if name != "" {
		query = `select encoded from bridge.parked where reader = $2 and position >= $3 order by position limit $1`
		args = append(args, name, number(from))
	}
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, j.sql(query), args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*journalv1.Parked, error) {
			var encoded []byte
			if err := row.Scan(&encoded); err != nil {
				return nil, err
			}
			return parseParked(encoded)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// errNotParked is ErrNotFound for a parked event.
func errNotParked(name string, p sinks.Position) error {
	return fmt.Errorf("%w: no event of %q is parked at %d", journal.ErrNotFound, name, p)
}

// RequestRetry implements [journal.DeadLetters].
func (j *Journal) RequestRetry(ctx context.Context, name string, p sinks.Position) error {
	if err := checkReader(name); err != nil {
		return err
	}
	return j.updateThen(ctx, "request", func(ctx context.Context, tx pgx.Tx) error {
		known, err := j.parkedAt(ctx, tx, name, number(p))
		if err != nil {
			return err
		}
		if known == nil {
			return errNotParked(name, p)
		}
		return j.addRequest(ctx, tx, name, p, requestRetry)
	}, func(err error) {
		if err == nil && strings.HasPrefix(name, journal.GroupReader("")) {
			j.announceGroups()
		}
	})
}

// RequestPass implements [journal.DeadLetters].
func (j *Journal) RequestPass(ctx context.Context, name string, p sinks.Position) error {
	if err := checkReader(name); err != nil {
		return err
	}
	return j.update(ctx, "request", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, j.sql(`select from bridge.reader where name = $1 and position > 0 for share`), name).Scan()
		if errors.Is(err, pgx.ErrNoRows) {
			return errNoReader(name)
		}
		if err != nil {
			return err
		}
		return j.addRequest(ctx, tx, name, p, requestPass)
	})
}

// DiscardParked implements [journal.DeadLetters].
func (j *Journal) DiscardParked(ctx context.Context, name string, p sinks.Position) error {
	if err := checkReader(name); err != nil {
		return err
	}
	return j.update(ctx, "discard", func(ctx context.Context, tx pgx.Tx) error {
		was, err := j.unpark(ctx, tx, name, p)
		if err == nil && !was {
			err = errNotParked(name, p)
		}
		return err
	})
}
