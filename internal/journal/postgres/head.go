package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

// head is the row of the table log.
type head struct {
	next, kept sinks.Position
	// lastCommit is the time of the last commit, in Unix nanoseconds.
	lastCommit int64
	// epoch is the number of the last epoch.
	epoch uint32
	// server committed last. now is the server that was asked, and reading its clock, in Unix nanoseconds.
	server, now string
	reading     int64
}

// selectServer is the server's name: its system identifier and its timeline. A promoted standby, and a restored copy, have another one.
const selectServer = `(select system_identifier from pg_control_system())::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)`

// selectHead reads the head.
const selectHead = `select next, kept, last_commit, epoch, server, move, ` + selectServer + `,
	(extract(epoch from clock_timestamp()) * 1000000)::bigint * 1000, ` + selectSafety + `
	from bridge.log`

// lockHead is selectHead for a transaction that writes to the log.
const lockHead = selectHead + ` for no key update`

// scanHead reads the head. It fails for a log that a move has closed, so an instance that runs notices at its next group.
// Errors: journal.ErrMoved, journal.ErrIncomplete, ErrUnsafe, the database's.
func scanHead(row pgx.Row, j *Journal) (h head, err error) {
	var next, kept, number int64
	var note string
	var s safety
	err = row.Scan(&next, &kept, &h.lastCommit, &number, &h.server, &note, &h.now, &h.reading, &s.fsync, &s.fullPages, &s.standbys)
	switch {
	case err != nil:
	case note != "":
		err = refuseMoving(note)
	default:
		err = s.check(&j.cfg)
	}
	h.next, h.kept, h.epoch = sinks.Position(next), sinks.Position(kept), uint32(number)
	if j.cfg.now != nil {
		h.reading = j.cfg.now().UnixNano()
	}
	return h, err
}

// beginEpoch begins an epoch in a transaction that has locked the head, and returns the time for its commit.
func (j *Journal) beginEpoch(ctx context.Context, tx execer, h *head) error {
	e := epoch.Epoch{Number: h.epoch + 1, ID: epoch.NewID(), First: h.next, Floor: h.reading}
	_, err := tx.Exec(ctx, j.sql(`insert into bridge.epoch (number, id, first, floor) values ($1, $2, $3, $4)`),
		int64(e.Number), int64(e.ID), int64(e.First), e.Floor)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, j.sql(`update bridge.log set epoch = $1, last_commit = $2, server = $3`), int64(e.Number), e.Floor, h.now)
	h.epoch, h.lastCommit, h.server = e.Number, e.Floor, h.now
	return err
}

// querier runs queries: a session, a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// execer runs statements: a session or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// errNoHead means that somebody removed the row of the table log.
var errNoHead = errors.New("journal: the table log has no row")

// loadEpochs reads the epochs.
func (j *Journal) loadEpochs(ctx context.Context, q querier) (*epoch.List, error) {
	rows, err := q.Query(ctx, j.sql(`select number, id, first, floor from bridge.epoch order by number`))
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e epoch.Epoch, err error) {
		var number, id, first int64
		err = row.Scan(&number, &id, &first, &e.Floor)
		e.Number, e.ID, e.First = uint32(number), sinks.Epoch(id), sinks.Position(first)
		return e, err
	})
	if err != nil {
		return nil, err
	}
	return epoch.NewList(all), nil
}
