package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// confirmations let readers wait until what they saw is durable. What was visible before a write of ours began is durable once
// that write is.
type confirmations struct{ rounds }

// confirm returns when a write of this instance that began after the call is durable. Callers share writes: while one is under way, all
// that come are served by the next. Errors: ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) confirm(ctx context.Context) error {
	return j.await(ctx, j.confirmations.join())
}

// confirmed tells that a transaction of this instance is durable whose COMMIT was sent at a time. It serves the callers of confirm
// that came before.
func (c *confirmations) confirmed(sent time.Time) { c.served(sent) }

// writeReplica is the write that confirms. It adds the instance's row where it was removed as that of a dead one.
const writeReplica = `insert into bridge.replica as r (id, name, version, started, seen, shown)
	values ($1, $2, $3, clock_timestamp(), clock_timestamp(), $4)
	on conflict (id) do update set seen = excluded.seen, shown = excluded.shown`

// runConfirmations writes whenever a caller of confirm waits, on a session of its own.
func (j *Journal) runConfirmations() {
	var conn *pgx.Conn
	defer func() { disconnect(conn) }()
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-j.confirmations.asked:
		}
		for j.confirmations.begin() {
			var err error
			if conn, err = j.writeConfirmation(conn); err != nil {
				disconnect(conn)
				conn, err = nil, unavailable(err)
			}
			j.confirmations.end(err)
		}
	}
}

// writeConfirmation writes once. It returns the session, which it opens if there is none.
func (j *Journal) writeConfirmation(conn *pgx.Conn) (_ *pgx.Conn, err error) {
	if conn != nil && !j.servers.isNewest(serverOf(conn)) {
		disconnect(conn)
		conn = nil
	}
	if conn == nil || conn.IsClosed() {
		if conn, err = j.connect(j.ctx); err != nil {
			return nil, err
		}
	}
	// No deadline: the COMMIT is not cancelled. When the journal closes, the connection is cut.
	stop := context.AfterFunc(j.ctx, func() { _ = conn.PgConn().Conn().Close() })
	defer stop()
	takeWarning(conn)
	var s safety
	err = conn.QueryRow(context.WithoutCancel(j.ctx), j.sql(writeReplica+" returning "+selectSafety),
		j.replica, j.cfg.Replica, j.cfg.Version, int64(j.Bounds().Next)).Scan(&s.fsync, &s.fullPages, &s.standbys)
	if err == nil {
		err = s.check(&j.cfg)
	}
	if err != nil {
		return conn, err
	}
	if message, warned := takeWarning(conn); warned {
		return conn, fmt.Errorf("%w: %s", errUnconfirmed, message)
	}
	if !j.servers.isNewest(serverOf(conn)) {
		return conn, errReplaced
	}
	return conn, nil
}

// errReplaced is the cause when another server took the place of the one that was read from or written to.
var errReplaced = errors.New("the database's server was replaced")
