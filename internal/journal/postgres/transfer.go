package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/sinks"
)

// Transfer is a database as the source or as the target of a move.
type Transfer struct {
	j *Journal
	// held is the session that holds the head, so that no instance can begin, or nil.
	held *pgx.Conn
	tx   pgx.Tx
	// target is whether records are written to it.
	target bool
	// note is that of the log, or nil.
	note *move.Note
	// log describes the log as of the last look, and epochs are its.
	log    move.Log
	epochs *epoch.List
	// limit is how many records of a kind fit into a page.
	limit map[move.Kind]int
	// partitions are known to be there.
	partitions map[string]bool
}

var (
	_ move.Origin = (*Transfer)(nil)
	_ move.Target = (*Transfer)(nil)
)

// refuseMoving is the error for a log that has a note of a move.
func refuseMoving(text string) error {
	n, err := move.ParseNote(text)
	if err != nil {
		return err
	}
	return n.Refusal()
}

// OpenOrigin opens a database to read its log. With exclusive, no instance may run, and none can begin until Close. Errors: move.ErrInUse,
// ErrNewerFormat, ErrUnsafe, ErrTooOld, the database's.
func OpenOrigin(ctx context.Context, cfg Config, exclusive bool) (*Transfer, error) {
	t, err := openTransfer(ctx, cfg, func(t *Transfer) error {
		version, err := t.version(ctx)
		switch {
		case err != nil:
			return err
		case version == 0:
			return fmt.Errorf("the database has no log in schema %s", t.j.cfg.Schema)
		}
		if err := t.j.migrate(ctx); err != nil { // of a log that an older version made
			return err
		}
		if exclusive {
			if err := t.hold(ctx); err != nil {
				return err
			}
		}
		t.note, err = t.readNote(ctx, t.j.pool)
		if err == nil && t.note != nil && t.note.State != move.Moved {
			err = t.note.Refusal()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("journal: move from the database: %w", err)
	}
	return t, nil
}

// OpenTarget opens an empty database, or one that holds a part of a copy, and makes the tables. Errors: move.ErrOccupied, ErrNewerFormat,
// ErrUnsafe, ErrTooOld, the database's.
func OpenTarget(ctx context.Context, cfg Config) (*Transfer, error) {
	t, err := openTransfer(ctx, cfg, func(t *Transfer) error {
		t.target = true
		if err := t.j.migrate(ctx); err != nil {
			return err
		}
		var err error
		if t.note, err = t.readNote(ctx, t.j.pool); err != nil {
			return err
		}
		return t.refuseOccupied(ctx, t.j.pool)
	})
	if err != nil {
		return nil, fmt.Errorf("journal: move to the database: %w", err)
	}
	return t, nil
}

func openTransfer(ctx context.Context, cfg Config, open func(*Transfer) error) (*Transfer, error) {
	t := &Transfer{j: newJournal(cfg), limit: map[move.Kind]int{}, partitions: map[string]bool{}}
	t.j.cfg.Replica = strings.TrimSpace("move " + cfg.Replica)
	pool, err := poolConfig(&t.j.cfg)
	if err != nil {
		return nil, err
	}
	if t.j.pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return nil, describe(err)
	}
	if err := open(t); err != nil {
		return nil, errors.Join(describe(err), t.Close())
	}
	return t, nil
}

// version is the format of the tables, 0 if there are none.
func (t *Transfer) version(ctx context.Context) (version int, err error) {
	err = pgx.BeginFunc(ctx, t.j.pool, func(tx pgx.Tx) error {
		version, err = t.j.formatIn(ctx, tx)
		return err
	})
	if err == nil && version > format {
		err = newerFormat(version)
	}
	return version, err
}

func (t *Transfer) readNote(ctx context.Context, q querier) (*move.Note, error) {
	var text string
	if err := q.QueryRow(ctx, t.j.sql(`select move from bridge.log`)).Scan(&text); err != nil {
		return nil, err
	}
	return move.ParseNote(text)
}

// refuseOccupied refuses a target that holds anything but a part of a copy.
func (t *Transfer) refuseOccupied(ctx context.Context, q querier) error {
	var id string
	var next int64
	var number int
	if err := q.QueryRow(ctx, t.j.sql(`select id, next, epoch from bridge.log`)).Scan(&id, &next, &number); err != nil {
		return err
	}
	switch {
	case t.note == nil && (next > 1 || number > 0):
		return fmt.Errorf("%w: it holds the log %s", move.ErrOccupied, id)
	case t.note != nil && t.note.State == move.Moved:
		return fmt.Errorf("%w: it held the log %s, which moved to %s", move.ErrOccupied, id, t.note.Place)
	}
	return nil
}

// runningSeconds is how long ago an instance was seen last that counts as running.
const runningSeconds = 20

// hold locks the head and the readers in a transaction of its own, and checks that no instance runs.
func (t *Transfer) hold(ctx context.Context) (err error) {
	cfg := t.j.pool.Config().ConnConfig.Copy()
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	if t.held, err = pgx.ConnectConfig(ctx, cfg); err != nil {
		return err
	}
	if t.tx, err = t.held.Begin(ctx); err != nil {
		return err
	}
	if _, err := t.tx.Exec(ctx, t.j.sql(`select 1 from bridge.log for no key update`)); err != nil {
		return fmt.Errorf("%w: %w", move.ErrInUse, describe(err))
	}
	rows, err := t.tx.Query(ctx, t.j.sql(`select name from bridge.replica
		where not ended and seen > clock_timestamp() - make_interval(secs => $1) order by name`), runningSeconds)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	switch {
	case err != nil:
		return err
	case len(names) > 0:
		return fmt.Errorf("%w: %s; an instance that did not stop cleanly counts for %d seconds", move.ErrInUse, strings.Join(names, ", "), runningSeconds)
	}
	_, err = t.tx.Exec(ctx, t.j.sql(`lock table bridge.reader, bridge.parked, bridge.gap, bridge.request, bridge.replay, bridge.groups, bridge.share in share mode`))
	return err
}

// Log implements [move.Source]. What it describes is confirmed: it waits for the standbys.
func (t *Transfer) Log(ctx context.Context) (move.Log, error) {
	var l move.Log
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, t.j.pool, options, func(tx pgx.Tx) error { return t.readLog(ctx, tx, &l) })
	if err != nil {
		return l, fmt.Errorf("journal: %w", describe(err))
	}
	err = t.j.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `select pg_logical_emit_message(true, 'bridge', 'move')`)
		return err
	})
	if err != nil {
		return l, fmt.Errorf("journal: wait for the standbys: %w", describe(err))
	}
	t.log, t.epochs = l, nil
	if len(l.Epochs) > 0 {
		t.epochs = epoch.NewList(l.Epochs)
	}
	t.j.tail.shown.Store(newState(head{next: l.Bounds.Next, kept: l.Bounds.Earliest}, t.epochs)) // partitions are made from there on
	return l, nil
}

func (t *Transfer) readLog(ctx context.Context, tx pgx.Tx, l *move.Log) error {
	var next, kept int64
	err := tx.QueryRow(ctx, t.j.sql(`select id, next, kept, last_commit, epoch, webhooks_from, quarantined_from from bridge.log`)).
		Scan(&l.ID, &next, &kept, &l.Stamp.At, &l.Stamp.Epoch, &l.WebhooksFrom, &l.QuarantinedFrom)
	if err != nil {
		return err
	}
	if t.target { // what is there counts
		if err := tx.QueryRow(ctx, t.j.sql(`select coalesce(max(position) + 1, $1) from bridge.event`), kept).Scan(&next); err != nil {
			return err
		}
	}
	l.Stamp.Next = sinks.Position(next)
	l.Bounds = sinks.Bounds{Earliest: sinks.Position(kept), Next: sinks.Position(next)}
	var there bool
	if err := tx.QueryRow(ctx, t.j.sql(`select exists (select from bridge.epoch)`)).Scan(&there); err != nil || !there {
		return err
	}
	list, err := t.j.loadEpochs(ctx, tx)
	if err != nil {
		return err
	}
	for i := range list.Len() {
		l.Epochs = append(l.Epochs, list.At(i))
	}
	return nil
}

// Note implements [move.Origin] and [move.Target].
func (t *Transfer) Note(context.Context) (*move.Note, error) { return t.note, nil }

// MarkMoved implements [move.Origin]. It ends the transaction that holds the head.
func (t *Transfer) MarkMoved(ctx context.Context, n move.Note) error {
	if t.tx == nil {
		return errors.New("journal: the source was not opened for itself alone")
	}
	ctx = context.WithoutCancel(ctx) // a COMMIT is never cancelled
	takeWarning(t.held)
	if _, err := t.tx.Exec(ctx, t.j.sql(`update bridge.log set move = $1`), n.Encode()); err != nil {
		return describe(err)
	}
	err := t.tx.Commit(ctx)
	t.tx = nil
	if message, warned := takeWarning(t.held); err == nil && warned {
		err = fmt.Errorf("%w: %s", errUnconfirmed, message)
	}
	if err != nil {
		return describe(err)
	}
	t.note = &n
	return nil
}

// Unmark makes a log usable again that moved away.
func (t *Transfer) Unmark(ctx context.Context) error {
	if t.note == nil || t.note.State != move.Moved {
		return errors.New("journal: the log in the database is not marked as moved")
	}
	return t.setNote(ctx, "")
}

func (t *Transfer) setNote(ctx context.Context, text string) error {
	err := t.j.transact(context.WithoutCancel(ctx), func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, t.j.sql(`update bridge.log set move = $1`), text)
		return err
	})
	return describe(err)
}

// Close ends the sessions.
func (t *Transfer) Close() error {
	if t.held != nil {
		_ = t.held.Close(context.Background()) // which ends its transaction
	}
	t.j.pool.Close()
	return nil
}
