package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
)

// StartReplay implements [journal.ReaderReplays].
func (j *Journal) StartReplay(ctx context.Context, r *journalv1.Replay) error {
	name := r.GetSink()
	if err := checkReader(name); err != nil {
		return err
	}
	encoded, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	id := r.GetId()
	return j.update(ctx, "start replay", func(ctx context.Context, tx pgx.Tx) error {
		// The lock has the replays of a reader counted one after the other.
		err := tx.QueryRow(ctx, j.sql(`select from bridge.reader where name = $1 and position > 0 for no key update`), name).Scan()
		if errors.Is(err, pgx.ErrNoRows) {
			return errNoReader(name)
		}
		if err != nil {
			return err
		}
		known, err := j.replaysIn(ctx, tx, name)
		if err != nil {
			return err
		}
		removed, err := letters.AddReplay(known)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, j.sql(`delete from bridge.replay where id = any($1)`), removed); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, j.sql(`insert into bridge.replay (id, reader, ended, encoded) values ($1, $2, false, $3)`), id, name, encoded)
		return err
	})
}

// replaysIn returns the replays of a reader, or of all.
func (j *Journal) replaysIn(ctx context.Context, tx pgx.Tx, name string) ([]*journalv1.Replay, error) {
	rows, err := tx.Query(ctx, j.sql(`select encoded from bridge.replay where reader = $1 or $1 = '' order by reader collate "C", id`), name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*journalv1.Replay, error) {
		var encoded []byte
		if err := row.Scan(&encoded); err != nil {
			return nil, err
		}
		return parseReplay(encoded)
	})
}

func parseReplay(encoded []byte) (*journalv1.Replay, error) {
	r := new(journalv1.Replay)
	if err := proto.Unmarshal(encoded, r); err != nil {
		return nil, fmt.Errorf("journal: a replay cannot be read: %w", err)
	}
	return r, nil
}

// ListReplays implements [journal.ReaderReplays].
func (j *Journal) ListReplays(ctx context.Context, name string) (all []*journalv1.Replay, err error) {
	err = j.view(ctx, func(ctx context.Context, tx pgx.Tx) error {
		all, err = j.replaysIn(ctx, tx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// CancelReplay implements [journal.ReaderReplays].
func (j *Journal) CancelReplay(ctx context.Context, name, id string) error {
	return j.update(ctx, "cancel replay", func(ctx context.Context, tx pgx.Tx) error {
		var encoded []byte
		var reading int64
		err := tx.QueryRow(ctx, j.sql(`select encoded, `+readingSQL+` from bridge.replay where id = $2 and reader = $3 and not ended for update`),
			j.reading(), id, name).Scan(&encoded, &reading)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: no replay %q of %q goes on", journal.ErrNotFound, id, name)
		}
		if err != nil {
			return err
		}
		r, err := parseReplay(encoded)
		if err != nil {
			return err
		}
		return j.replaceReplay(ctx, tx, name, letters.CancelReplay(r, time.Unix(0, reading)))
	})
}

// replaceReplay replaces a replay that has not ended.
func (j *Journal) replaceReplay(ctx context.Context, tx pgx.Tx, name string, r *journalv1.Replay) error {
	encoded, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, j.sql(`update bridge.replay set encoded = $3, ended = $4 where id = $1 and reader = $2 and not ended`),
		r.GetId(), name, encoded, letters.HasEnded(r))
	return err
}

// SaveReplay implements [journal.Claim].
func (c *claim) SaveReplay(ctx context.Context, r *journalv1.Replay) error {
	r = proto.CloneOf(r) // the transaction may outlast the call
	return c.write(ctx, "save replay", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := c.fence(ctx, tx); err != nil {
			return err
		}
		return c.j.replaceReplay(ctx, tx, c.name, r)
	})
}
