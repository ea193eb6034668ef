package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// groupSession is a lease in the table session. It ends when it is closed, when the lease was not renewed in time, and when the journal
// closes.
type groupSession struct {
	j  *Journal
	id uuid.UUID
	// changed gets a value when something about groups may have changed.
	changed chan struct{}
	// lost is closed, under groupSessions.mu, when the session can no longer be relied on.
	lost chan struct{}

	// The rest is guarded by groupSessions.mu.

	// until is when the session is lost unless the lease is renewed, and timer runs then.
	until time.Time
	timer *time.Timer
}

var _ journal.Session = (*groupSession)(nil)

// Enlist implements [journal.Groups].
func (j *Journal) Enlist(ctx context.Context) (journal.Session, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	sent := make(chan time.Time, 1)
	err = j.update(ctx, "enlist", func(ctx context.Context, tx pgx.Tx) error {
		began := time.Now()
		_, err := tx.Exec(ctx, j.sql(`insert into bridge.session (id, replica, replica_name, until)
			values ($1, $2, $3, clock_timestamp() + $4::interval)`), id, j.replica, j.cfg.Replica, interval(j.cfg.lease))
		sent <- began
		return err
	})
	if err != nil {
		return nil, err // if there is a row, its time runs out
	}
	s := &groupSession{j: j, id: id, changed: make(chan struct{}, 1), lost: make(chan struct{})}
	if !j.sessions.add(s, (<-sent).Add(j.cfg.reliable())) {
		return nil, errClosed
	}
	return s, nil
}

// ID implements [journal.Session].
func (s *groupSession) ID() string { return s.id.String() }

// Changed implements [journal.Session].
func (s *groupSession) Changed() <-chan struct{} { return s.changed }

// Lost implements [journal.Session].
func (s *groupSession) Lost() <-chan struct{} { return s.lost }

// check returns ErrLost once the session is lost. When that is because the journal closes, it is ErrClosed too.
func (s *groupSession) check() error {
	select {
	case <-s.lost:
	default:
		return nil
	}
	if s.j.isClosing() {
		return fmt.Errorf("%w: %w", journal.ErrLost, sinks.ErrClosed)
	}
	return journal.ErrLost
}

// fence locks the session's row, so that it does not end before the transaction does. A renewal does not wait for that. Errors: ErrLost.
func (s *groupSession) fence(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, s.j.sql(`select from bridge.session where id = $1 for key share`), s.id).Scan()
	if errors.Is(err, pgx.ErrNoRows) {
		return journal.ErrLost
	}
	return err
}

// write runs a transaction of the session.
func (s *groupSession) write(ctx context.Context, what string, change func(ctx context.Context, tx pgx.Tx) (changed bool, err error)) error {
	if err := s.check(); err != nil {
		return err
	}
	err := s.j.updateGroup(ctx, what, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		if err := s.fence(ctx, tx); err != nil {
			return false, err
		}
		return change(ctx, tx)
	})
	if errors.Is(err, journal.ErrLost) {
		s.j.sessions.lose(s)
	}
	if ctx.Err() == nil && s.check() != nil {
		return s.check()
	}
	return err
}

// Join implements [journal.Session]. A member that joined by another session moves to this one.
func (s *groupSession) Join(ctx context.Context, group, member string, note []byte) error {
	if err := journal.CheckMember(member, note); err != nil {
		return err
	}
	if !hasName(group) {
		return errNoGroup(group)
	}
	note = append([]byte{}, note...) // the transaction may outlast the call
	return s.write(ctx, "join", func(ctx context.Context, tx pgx.Tx) (bool, error) {
		tag, err := tx.Exec(ctx, s.j.sql(`update bridge.member set note = $4 where group_name = $1 and id = $2 and session = $3`),
			group, member, s.id, note)
		if err != nil || tag.RowsAffected() > 0 {
			return false, err
		}
		return true, s.join(ctx, tx, group, member, note)
	})
}

// join adds a member that is not the session's.
func (s *groupSession) join(ctx context.Context, tx pgx.Tx, group, member string, note []byte) error {
	var count int
	err := tx.QueryRow(ctx, s.j.sql(`select count(*) from bridge.member where group_name = $1 and id <> $2`), group, member).Scan(&count)
	if err != nil {
		return err
	}
	if count >= journal.MaxMembers {
		return fmt.Errorf("%w: the group has %d members", journal.ErrLimit, count)
	}
	// The group's row is locked, so that the group is not deleted meanwhile.
	tag, err := tx.Exec(ctx, s.j.sql(`with known as (select name from bridge.groups where name = $2 for key share)
		insert into bridge.member as m (group_name, id, session, joined, note) select name, $3, $4, `+readingSQL+`, $5 from known
		on conflict (group_name, id) do update set session = excluded.session, joined = excluded.joined, note = excluded.note`),
		s.j.reading(), group, member, s.id, note)
	if err == nil && tag.RowsAffected() == 0 {
		err = errNoGroup(group)
	}
	return err
}

// Leave implements [journal.Session]. A member that is not the session's is no error.
func (s *groupSession) Leave(ctx context.Context, group, member string) error {
	if err := journal.CheckMember(member, nil); err != nil {
		return err
	}
	if !hasName(group) {
		return errNoGroup(group)
	}
	return s.write(ctx, "leave", func(ctx context.Context, tx pgx.Tx) (bool, error) {
		tag, err := tx.Exec(ctx, s.j.sql(`delete from bridge.member where group_name = $1 and id = $2 and session = $3`), group, member, s.id)
		if err != nil || tag.RowsAffected() > 0 {
			return true, err
		}
		return false, s.j.checkGroup(ctx, tx, group)
	})
}

// endExpired ends the other sessions whose time has run out. It leaves out sessions that are being renewed: their time may not have run out.
const endExpired = `delete from bridge.session where id in (
	select id from bridge.session where until < clock_timestamp() and id <> $1 for update skip locked)`

// lockFree locks those of some shares that have no owner, or one that has ended.
const lockFree = `select index from bridge.share where group_name = $1 and index = any($2)
	and (owner is null or not exists (select from bridge.session o where o.id = owner))
	order by index for no key update of share`

// takeFree takes the shares that are locked. It looks again whether they have owners: a session may have begun, and taken one of them, after
// the statement before had begun.
const takeFree = `update bridge.share s set owner = $3, epoch = epoch + 1, version = version + 1
	where group_name = $1 and index = any($2) and (owner is null or not exists (select from bridge.session o where o.id = s.owner))
	returning index, epoch, version, state`

// Take implements [journal.Session].
func (s *groupSession) Take(ctx context.Context, group string, indexes []int) ([]journal.Share, error) {
	if err := journal.CheckShares(indexes); err != nil {
		return nil, err
	}
	if !hasName(group) {
		return nil, errNoGroup(group)
	}
	wanted := indexNumbers(indexes)
	result := make(chan []journal.Share, 1)
	err := s.write(ctx, "take shares", func(ctx context.Context, tx pgx.Tx) (bool, error) {
		taken, err := s.take(ctx, tx, group, wanted)
		result <- taken
		return len(taken) > 0, err
	})
	if err != nil {
		return nil, err
	}
	return <-result, nil
}

func (s *groupSession) take(ctx context.Context, tx pgx.Tx, group string, wanted []int32) ([]journal.Share, error) {
	if _, err := tx.Exec(ctx, s.j.sql(endExpired), s.id); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, s.j.sql(lockFree), group, wanted)
	if err != nil {
		return nil, err
	}
	free, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return nil, err
	}
	if len(free) == 0 {
		return nil, s.j.checkGroup(ctx, tx, group)
	}
	rows, err = tx.Query(ctx, s.j.sql(takeFree), group, free, s.id)
	if err != nil {
		return nil, err
	}
	taken, err := pgx.CollectRows(rows, scanShare)
	slices.SortFunc(taken, func(a, b journal.Share) int { return a.Index - b.Index })
	return taken, err
}

// deleteMembers removes the members of sessions that have ended. It leaves out members that are locked, so that it does not wait in a circle
// with the deletion of their group: they count as gone, and a later sweep removes them.
const deleteMembers = `delete from bridge.member where (group_name, id) in (
	select group_name, id from bridge.member where session = any($1) for update skip locked)`

// Close implements [journal.Session]. The shares keep the session's id, which is that of no session any more.
func (s *groupSession) Close(ctx context.Context) error {
	if !s.j.sessions.lose(s) && s.j.isClosing() {
		return nil // closing ends all sessions
	}
	err := s.j.updateGroup(ctx, "end session", func(ctx context.Context, tx pgx.Tx) (bool, error) {
		if _, err := tx.Exec(ctx, s.j.sql(`delete from bridge.session where id = $1`), s.id); err != nil {
			return false, err
		}
		_, err := tx.Exec(ctx, s.j.sql(deleteMembers), []uuid.UUID{s.id})
		return true, err
	})
	if errors.Is(err, sinks.ErrClosed) {
		return nil
	}
	return err
}
