package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// groupSessions are the sessions that this instance has. They are renewed apart from the claims: the renewal of these waits for rows that other
// transactions have locked, and that of a session waits for none.
type groupSessions struct {
	mu sync.Mutex
	// held are the sessions that are not lost.
	held   map[uuid.UUID]*groupSession
	closed bool
}

func (gs *groupSessions) init() { gs.held = map[uuid.UUID]*groupSession{} }

// groupsChanged is the announcement of an instance that changed something about groups.
const groupsChanged = "groups"

// announceGroups has all sessions look at their groups, here and at other instances.
func (j *Journal) announceGroups() {
	j.sessions.signal()
	signal(j.notifications.groups)
}

// add begins to rely on a session. It returns false if the journal closes.
func (gs *groupSessions) add(s *groupSession, until time.Time) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.closed {
		return false // closing ends all sessions
	}
	s.until = until
	s.timer = time.AfterFunc(time.Until(until), s.expire)
	gs.held[s.id] = s
	signal(s.changed)
	return true
}

// signal tells all sessions that something may have changed.
func (gs *groupSessions) signal() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, s := range gs.held {
		signal(s.changed)
	}
}

// lose ends a session. It returns false if it has ended.
func (gs *groupSessions) lose(s *groupSession) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.loseLocked(s)
}

func (gs *groupSessions) loseLocked(s *groupSession) bool {
	if gs.held[s.id] != s {
		return false
	}
	delete(gs.held, s.id)
	s.timer.Stop()
	close(s.lost)
	return true
}

// expire ends a session whose lease was not renewed in time.
func (s *groupSession) expire() {
	gs := &s.j.sessions
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.held[s.id] != s {
		return
	}
	if left := time.Until(s.until); left > 0 {
		s.timer.Reset(left)
		return
	}
	gs.loseLocked(s)
	s.j.cfg.Logger.Warn("journal: the database did not renew a session of groups in time; other instances may take its shares")
}

// close ends all sessions, and begins no more.
func (gs *groupSessions) close() {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.closed = true
	for _, s := range gs.held {
		gs.loseLocked(s)
	}
}

// ids returns the sessions that are not lost.
func (gs *groupSessions) ids() (all []uuid.UUID) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for id := range gs.held {
		all = append(all, id)
	}
	return all
}

// renewed prolongs the sessions whose leases were renewed, and ends the others that were to be.
func (gs *groupSessions) renewed(all, renewed []uuid.UUID, until time.Time) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, id := range all {
		s := gs.held[id]
		switch {
		case s == nil:
		case !slices.Contains(renewed, id):
			gs.loseLocked(s)
		case until.After(s.until):
			s.until = until
			s.timer.Reset(time.Until(until))
		}
	}
}

// endSessions ends all sessions of an instance.
const endSessions = `delete from bridge.session where replica = $1`

// runSessions renews the sessions of this instance, and has them look at their groups every second: no announcement tells that an instance
// died. It has a session with the database only while there are sessions.
func (j *Journal) runSessions() {
	var conn *pgx.Conn
	defer func() { disconnect(conn) }()
	tick := time.NewTicker(j.cfg.lookEvery())
	defer tick.Stop()
	var last time.Time
	for failing := false; ; {
		select {
		case <-j.closing:
			return
		case <-tick.C:
		}
		j.sessions.signal()
		all := j.sessions.ids()
		if len(all) == 0 {
			disconnect(conn)
			conn = nil
			continue
		}
		if time.Since(last) < j.cfg.renewEvery() && !failing {
			continue
		}
		var err error
		last = time.Now()
		if conn, err = j.renewSessions(conn, all); err != nil {
			disconnect(conn)
			conn = nil
		}
		if err != nil && !failing && j.ctx.Err() == nil {
			j.cfg.Logger.Warn("journal: sessions of groups cannot be renewed", "error", describe(err))
		}
		failing = err != nil
	}
}

// renewSessions renews the leases of sessions, and removes what ended sessions left behind. Its commits are not cancelled; the connection is
// cut when they take longer than a session lasts.
func (j *Journal) renewSessions(conn *pgx.Conn, all []uuid.UUID) (_ *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(j.ctx, j.cfg.reliable())
	defer cancel()
	if conn != nil && !j.servers.isNewest(serverOf(conn)) {
		disconnect(conn)
		conn = nil
	}
	if conn == nil || conn.IsClosed() {
		if conn, err = j.connect(ctx); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.PgConn().Conn().Close() })
	defer stop()
	ctx = context.WithoutCancel(ctx)
	sent := time.Now()
	takeWarning(conn)
	rows, err := conn.Query(ctx, j.sql(`update bridge.session set until = clock_timestamp() + $2::interval where id = any($1) returning id`),
		all, interval(j.cfg.lease))
	if err != nil {
		return conn, err
	}
	renewed, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return conn, err
	}
	if _, warned := takeWarning(conn); warned {
		return conn, errUnconfirmed
	}
	if !j.servers.isNewest(serverOf(conn)) {
		return conn, errReplaced
	}
	j.sessions.renewed(all, renewed, sent.Add(j.cfg.reliable()))
	return conn, j.sweepSessions(ctx, conn)
}

// sweepSessions ends the sessions whose time has run out, and removes the members of ended ones. An id that has ended never comes back, so
// the last statement names ids: a member may have moved to a session that the one before does not see. No statement waits for a lock: the next
// renewal would be late.
func (j *Journal) sweepSessions(ctx context.Context, conn *pgx.Conn) error {
	tag, err := conn.Exec(ctx, j.sql(`delete from bridge.session where id in (
		select id from bridge.session where until < clock_timestamp() for update skip locked)`))
	if err != nil {
		return err
	}
	if tag.RowsAffected() > 0 {
		j.announceGroups()
	}
	rows, err := conn.Query(ctx, j.sql(`select distinct session from bridge.member m
		where not exists (select from bridge.session s where s.id = m.session)`))
	if err != nil {
		return err
	}
	ended, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(ended) == 0 {
		return err
	}
	_, err = conn.Exec(ctx, j.sql(deleteMembers), ended)
	return err
}
