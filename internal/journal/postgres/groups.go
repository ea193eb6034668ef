package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

var _ journal.Groups = (*Journal)(nil)

// Locks are taken in this order: the log's head (to make the first group), a session, a group, shares by their
// indexes, the row of groups without a name, parked events.

// errNoGroup is ErrNotFound for a group.
func errNoGroup(name string) error { return fmt.Errorf("%w: group %q", journal.ErrNotFound, name) }

// hasName reports whether a group can have a name.
func hasName(name string) bool { return journal.CheckGroup(name, nil, nil) == nil }

// updateGroup is update for a transaction that says whether it changed what other instances should hear of. A call that changed nothing must not
// wake them: they would repeat theirs.
func (j *Journal) updateGroup(ctx context.Context, what string, write func(ctx context.Context, tx pgx.Tx) (changed bool, err error)) error {
	var changed bool
	return j.runThen(ctx, what, func(ctx context.Context) error {
		err := j.transact(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			changed, err = write(ctx, tx)
			return err
		})
		if code(err) == lockTimeout {
			j.endStoppedGroups(ctx)
		}
		return err
	}, func(err error) {
		if err == nil && changed {
			j.announceGroups()
		}
	})
}

// GroupNames implements [journal.Groups].
func (j *Journal) GroupNames(ctx context.Context, after string, limit int) (names []string, err error) {
	err = j.look(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, j.sql(`select name from bridge.groups where name > $1 order by name limit $2`), after, max(limit, 0))
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return names, err
}

// readGroup reads a group in one statement.
const readGroup = `select g.version, g.definition, (select count(*) from bridge.parked where reader = $2), s.owners, s.epochs,
		m.ids, m.sessions, m.replicas, m.joined, m.notes
	from bridge.groups g cross join lateral (
		select array_agg(coalesce(o.id::text, '') order by s.index) owners, array_agg(s.epoch order by s.index) epochs
		from bridge.share s left join bridge.session o on o.id = s.owner and o.until > clock_timestamp() where s.group_name = g.name
	) s cross join lateral (
		select array_agg(m.id order by m.id) ids, array_agg(m.session order by m.id) sessions, array_agg(o.replica_name order by m.id) replicas,
			array_agg(m.joined order by m.id) joined, array_agg(m.note order by m.id) notes
		from bridge.member m join bridge.session o on o.id = m.session and o.until > clock_timestamp() where m.group_name = g.name
	) m where g.name = $1`

// Group implements [journal.Groups].
func (j *Journal) Group(ctx context.Context, name string) (*journal.GroupState, error) {
	if !hasName(name) {
		return nil, errNoGroup(name)
	}
	g := &journal.GroupState{Name: name}
	err := j.look(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		err := scanGroup(conn.QueryRow(ctx, j.sql(readGroup), name, journal.GroupReader(name)), g)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNoGroup(name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return g, nil
}

// scanGroup reads the row of readGroup.
func scanGroup(row pgx.Row, g *journal.GroupState) error {
	var ids, replicas []string
	var sessions []uuid.UUID
	var joined []int64
	var notes [][]byte
	err := row.Scan(&g.Version, &g.Definition, &g.Parked, &g.Owners, &g.Epochs, &ids, &sessions, &replicas, &joined, &notes)
	for i, id := range ids {
		g.Members = append(g.Members, journal.GroupMember{
			ID: id, Session: sessions[i].String(), Replica: replicas[i], Joined: time.Unix(0, joined[i]).UTC(), Note: noteOf(notes[i]),
		})
	}
	return err
}

// Shares implements [journal.Groups].
func (j *Journal) Shares(ctx context.Context, group string, indexes []int) (all []journal.Share, err error) {
	if err := journal.CheckShares(indexes); err != nil {
		return nil, err
	}
	if !hasName(group) {
		return nil, errNoGroup(group)
	}
	err = j.look(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, j.sql(`select index, epoch, version, state from bridge.share where group_name = $1 and index = any($2)
			order by index`), group, indexNumbers(indexes))
		if err != nil {
			return err
		}
		if all, err = pgx.CollectRows(rows, scanShare); err != nil || len(all) > 0 {
			return err
		}
		return j.checkGroup(ctx, conn, group)
	})
	return all, err
}

func scanShare(row pgx.CollectableRow) (s journal.Share, err error) {
	err = row.Scan(&s.Index, &s.Epoch, &s.Version, &s.State)
	return s, err
}

// indexNumbers are the indexes as a parameter of SQL.
func indexNumbers(indexes []int) []int32 {
	all := make([]int32, len(indexes))
	for i, index := range indexes {
		all[i] = int32(index)
	}
	return all
}

// checkGroup returns ErrNotFound if there is no group of the name.
func (j *Journal) checkGroup(ctx context.Context, q querier, name string) error {
	err := q.QueryRow(ctx, j.sql(`select from bridge.groups where name = $1`), name).Scan()
	if errors.Is(err, pgx.ErrNoRows) {
		return errNoGroup(name)
	}
	return err
}

// SetGroup implements [journal.Groups].
func (j *Journal) SetGroup(ctx context.Context, name string, version uint64, definition []byte, reset *journal.GroupReset) (uint64, error) {
	if err := journal.CheckGroup(name, definition, reset); err != nil {
		return 0, err
	}
	definition = append([]byte{}, definition...) // the transaction may outlast the call
	var state []byte
	if reset != nil {
		state = append([]byte{}, reset.State...)
	}
	next := make(chan int64, 1)
	err := j.updateGroup(ctx, "set group", func(ctx context.Context, tx pgx.Tx) (bool, error) {
		var made int64
		var err error
		if version == 0 {
			made, err = j.makeGroup(ctx, tx, name, definition, append([]byte{}, state...))
		} else {
			made, err = j.replaceGroup(ctx, tx, name, version, definition, state)
		}
		next <- made
		return true, err
	})
	if err != nil {
		return 0, err
	}
	return uint64(<-next), nil
}

// makeGroup makes a group, with epochs and versions that no group had which was deleted.
func (j *Journal) makeGroup(ctx context.Context, tx pgx.Tx, name string, definition, state []byte) (version int64, err error) {
	if _, err := tx.Exec(ctx, j.sql(`update bridge.log set format = $1 where format < $1`), groupsFormat); err != nil {
		return 0, err
	}
	var count int
	if err := tx.QueryRow(ctx, j.sql(`select count(*) from bridge.groups where name <> ''`)).Scan(&count); err != nil {
		return 0, err
	}
	if count >= journal.MaxGroups {
		return 0, fmt.Errorf("%w: there are %d groups", journal.ErrLimit, count)
	}
	tag, err := tx.Exec(ctx, j.sql(`insert into bridge.groups (name, version, definition) values ($1, 0, $2) on conflict do nothing`), name, definition)
	if err != nil {
		return 0, err
	}
	if tag.RowsAffected() == 0 {
		return 0, fmt.Errorf("%w: there is a group %q", journal.ErrConflict, name)
	}
	// A deletion of the same name has ended, since the insertion waited for it.
	err = tx.QueryRow(ctx, j.sql(`update bridge.groups set version = coalesce((select version from bridge.groups where name = ''), 0) + 1 where name = $1 returning version`),
		name).Scan(&version)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, j.sql(`insert into bridge.share (group_name, index, epoch, version, state)
		select $1, i, $2, $2, $3 from generate_series(0, $4 - 1) i`), name, version, state, journal.GroupShares)
	return version, err
}

// replaceGroup replaces a group's definition, and with a state resets its shares.
func (j *Journal) replaceGroup(ctx context.Context, tx pgx.Tx, name string, version uint64, definition, state []byte) (next int64, err error) {
	err = tx.QueryRow(ctx, j.sql(`update bridge.groups set version = version + 1, definition = $3 where name = $1 and version = $2
		returning version`), name, number(sinks.Position(version)), definition).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("%w: no group %q of version %d", journal.ErrConflict, name, version)
	}
	if err != nil || state == nil {
		return next, err
	}
	if err := j.lockShares(ctx, tx, name); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, j.sql(`update bridge.share set owner = null, epoch = epoch + 1, version = version + 1, state = $2 where group_name = $1`),
		name, state)
	return next, err
}

// lockShares locks all shares of a group, in the order in which all do.
func (j *Journal) lockShares(ctx context.Context, tx pgx.Tx, name string) error {
	_, err := tx.Exec(ctx, j.sql(`select from bridge.share where group_name = $1 order by index for update`), name)
	return err
}

// deleteGroup are the statements that delete a group whose row and whose shares are locked.
var deleteGroup = []string{
	`insert into bridge.groups as g (name, version, definition)
		select '', greatest(version, (select max(greatest(epoch, version)) from bridge.share where group_name = $1)), '' from bridge.groups where name = $1
		on conflict (name) do update set version = greatest(g.version, excluded.version)`,
	`delete from bridge.groups where name = $1`,
	`delete from bridge.share where group_name = $1`,
	`delete from bridge.member where group_name = $1`,
}

// deleteLetters are the statements that delete the dead letters of a reader that is gone.
var deleteLetters = []string{
	`delete from bridge.parked where reader = $1`,
	`delete from bridge.request where reader = $1`,
	`delete from bridge.gap where reader = $1`,
}

// DeleteGroup implements [journal.Groups].
func (j *Journal) DeleteGroup(ctx context.Context, name string) error {
	if !hasName(name) {
		return errNoGroup(name)
	}
	return j.updateGroup(ctx, "delete group", func(ctx context.Context, tx pgx.Tx) (bool, error) {
		return true, j.deleteGroup(ctx, tx, name)
	})
}

func (j *Journal) deleteGroup(ctx context.Context, tx pgx.Tx, name string) error {
	err := tx.QueryRow(ctx, j.sql(`select from bridge.groups where name = $1 for update`), name).Scan()
	if errors.Is(err, pgx.ErrNoRows) {
		return errNoGroup(name)
	}
	if err != nil {
		return err
	}
	if err := j.lockShares(ctx, tx, name); err != nil {
		return err
	}
	for _, statement := range deleteGroup {
		if _, err := tx.Exec(ctx, j.sql(statement), name); err != nil {
			return err
		}
	}
	for _, statement := range deleteLetters {
		if _, err := tx.Exec(ctx, j.sql(statement), journal.GroupReader(name)); err != nil {
			return err
		}
	}
	return nil
}

// Replays implements [journal.Groups]. It waits for a confirmation only when there are requests.
func (j *Journal) Replays(ctx context.Context, group string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	if err := j.ready(ctx); err != nil {
		return nil, err
	}
	if !hasName(group) {
		return nil, nil
	}
	query, cancel := j.untilClosed(ctx)
	defer cancel()
	rows, err := j.pool.Query(query, j.sql(`select p.encoded from bridge.request q join bridge.parked p on p.reader = q.reader and p.position = q.position
		where q.reader = $1 and q.kind = 'r' and q.position >= $2 order by q.position limit $3`), journal.GroupReader(group), number(from), max(limit, 0))
	if err != nil {
		return nil, j.answer(ctx, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*journalv1.Parked, error) {
		var encoded []byte
		if err := row.Scan(&encoded); err != nil {
			return nil, err
		}
		return parseParked(encoded)
	})
	if err == nil && len(all) > 0 {
		err = j.confirm(ctx)
	}
	if err != nil {
		return nil, j.answer(ctx, err)
	}
	return all, nil
}
