package postgres

import (
	"context"
	"time"
)

// lockTimeout is the SQLSTATE of a statement that waited for a lock for too long.
const lockTimeout = "55P03"

// stoppedAfter is how long a transaction must have lasted for its session to count as stopped.
const stoppedAfter = 3 * time.Second

// terminateStopped ends the sessions that hold locks in a table and have stopped in the middle of their statements.
const terminateStopped = `select pg_terminate_backend(a.pid) from pg_stat_activity a
	where a.usename = current_user and a.datname = current_database() and a.pid <> pg_backend_pid()
		and a.wait_event = 'ClientRead' and a.xact_start < clock_timestamp() - $1::interval
		and exists (select from pg_locks l where l.pid = a.pid and l.relation = $2::text::regclass and l.mode <> 'AccessShareLock')`

// endStopped ends the session of an instance that holds the head and has stopped in the middle of its statements. The server's time-out for
// sessions that are idle in a transaction does not see it: in the middle of a pipeline a session is not idle. What it did is undone, because
// the server has not read its COMMIT. Where the server reads that now, its COMMIT ends without the standbys, and readers wait until one
// has it.
func (c *committer) endStopped() {
	tag, err := c.conn.Exec(c.ctx, terminateStopped, interval(stoppedAfter), c.j.cfg.Schema+".log")
	switch {
	case err != nil:
		c.disconnect()
	case tag.RowsAffected() > 0:
		c.j.cfg.Logger.Warn("journal: ended the session of an instance that stopped while it committed", "sessions", tag.RowsAffected())
	}
}

// endStoppedGroups is the same for an instance that holds shares of a group.
func (j *Journal) endStoppedGroups(ctx context.Context) {
	tag, err := j.pool.Exec(ctx, terminateStopped, interval(stoppedAfter), j.cfg.Schema+".share")
	if err == nil && tag.RowsAffected() > 0 {
		j.cfg.Logger.Warn("journal: ended the session of an instance that stopped while it wrote shares of a group", "sessions", tag.RowsAffected())
	}
}
