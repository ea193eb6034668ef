package postgres

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
)

// The parts of a lease. With 15 seconds: it is renewed every 5 s and looked at every second. A holder that could not renew it stops
// relying on it after 9 s, so that a delivery under way has 5 s until another instance can take it, and 1 s are left for the clocks.
func (c *Config) renewEvery() time.Duration { return c.lease / 3 }
func (c *Config) grace() time.Duration      { return c.lease / 3 }
func (c *Config) margin() time.Duration     { return c.lease / 15 }
func (c *Config) lookEvery() time.Duration  { return min(c.lease/15, time.Second) }

// reliable is how long a holder relies on a lease, from before it sent the renewal.
func (c *Config) reliable() time.Duration { return c.lease - c.grace() - c.margin() }

const (
	// lookTimeout bounds a look at the leases, in parts of a lease.
	lookTimeout = 5
	// closeTime bounds the time to give back the leases when the journal closes. They run out by themselves.
	closeTime = 3 * time.Second
	// replicaGone is how long the row of an instance stays that is heard of no more.
	replicaGone = "1 hour"
)

// runReaders renews the leases and the registrations of this instance, and looks whether any was taken away, until the journal closes.
// Each has a session of its own: a call that hangs holds up nothing but itself, and the leases run out by the holder's clock.
func (j *Journal) runReaders() {
	j.workers.Go(j.runRenewals)
	var conn *pgx.Conn
	tick := time.NewTicker(j.cfg.lookEvery())
	defer tick.Stop()
	for {
		var err error
		if conn, err = j.lookAtLeases(conn); err != nil {
			disconnect(conn)
			conn = nil
		}
		select {
		case <-j.closing:
			j.readers.close()
			j.sessions.close()
			disconnect(conn)
			j.releaseAll()
			return
		case <-tick.C:
		case <-j.readers.wake:
		}
	}
}

// lease is a row of the table reader.
type lease struct {
	name string
	// mine says that this instance has the lease, or had it when it was taken away.
	mine, free bool
	number     int64
}

// lookAtLeases reads all leases, ends the claims that were taken away, and wakes the callers that wait for a claim.
func (j *Journal) lookAtLeases(conn *pgx.Conn) (_ *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(j.ctx, j.cfg.lease/lookTimeout)
	defer cancel()
	if conn == nil || conn.IsClosed() {
		if conn, err = j.connect(ctx); err != nil {
			return nil, err
		}
	}
	rows, err := conn.Query(ctx, j.sql(`select name, owner, claim, until < clock_timestamp() and not paused from bridge.reader`))
	if err != nil {
		return conn, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l lease, err error) {
		var owner *uuid.UUID
		err = row.Scan(&l.name, &owner, &l.number, &l.free)
		l.mine = owner != nil && *owner == j.replica
		return l, err
	})
	if err != nil {
		return conn, err
	}
	for _, l := range j.readers.observe(all) {
		j.workers.Go(func() { j.acknowledge(l) })
	}
	return conn, nil
}

// observe ends the claims whose leases were taken away, and returns the leases for which that must be acknowledged.
func (rs *readers) observe(all []lease) (revoked []lease) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	clear(rs.free)
	free := false
	for _, l := range all {
		c := rs.held[l.name]
		if c != nil && l.number > c.number {
			rs.loseLocked(c)
			c = nil
		}
		if l.mine && !l.free && c == nil && !rs.busy[l.name] {
			revoked = append(revoked, l)
		}
		if l.free && c == nil {
			rs.free[l.name], free = true, true
		}
	}
	if free {
		rs.notify()
	}
	return revoked
}

// acknowledge tells whoever took a lease away that the claim here is lost. From then on another instance waits for the holder to end, but
// not longer than the grace.
func (j *Journal) acknowledge(l lease) {
	ctx, cancel := context.WithTimeout(j.ctx, j.cfg.lease)
	defer cancel()
	// One that fails is tried again at the next look.
	_ = j.updateThen(ctx, "end a claim", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, j.sql(`update bridge.reader set owner = null, until = least(until, clock_timestamp() + $4::interval)
			where name = $1 and owner = $2 and claim = $3`), l.name, j.replica, l.number, interval(j.cfg.grace()))
		return err
	}, func(err error) {
		if err == nil {
			j.readers.acknowledged(l)
			j.announceReaders()
		}
	})
}

// acknowledged notes the number of a lease that was taken away from the last claim to its name.
func (rs *readers) acknowledged(l lease) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if c := rs.latest[l.name]; c != nil && c.number < l.number {
		c.revoked = l.number
	}
}

// lose ends a claim, unless it has ended.
func (rs *readers) lose(c *claim) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.loseLocked(c)
}

func (rs *readers) loseLocked(c *claim) {
	if rs.held[c.name] != c {
		return
	}
	delete(rs.held, c.name)
	c.timer.Stop()
	close(c.lost)
}

// expire ends a claim whose lease was not renewed in time.
func (c *claim) expire() {
	rs := &c.j.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.held[c.name] != c {
		return
	}
	if left := time.Until(c.until); left > 0 {
		c.timer.Reset(left)
		return
	}
	rs.loseLocked(c)
	c.j.cfg.Logger.Warn("journal: the database did not renew a claim in time; another instance may take it", "reader", c.name)
}

// released are the leases that a release gives back.
type released struct {
	// from and to are the numbers that the lease may have, and revoked the one with which it was taken away.
	from, to, revoked int64
	end               func()
}

// release ends a claim, and returns its lease. It returns false if it was released before.
func (rs *readers) release(c *claim) (r released, ok bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if c.released || rs.closed {
		return r, false
	}
	c.released = true
	rs.loseLocked(c)
	r = released{from: c.number, to: c.number, revoked: c.revoked, end: func() {}}
	if rs.latest[c.name] == c && !rs.busy[c.name] {
		// This instance takes the name again only after end, so a greater number is that of a revocation.
		rs.busy[c.name] = true
		r.to, r.end = math.MaxInt64, func() { rs.end(c.name) }
	}
	return r, true
}

// freed wakes the callers of this instance that wait for a name.
func (rs *readers) freed(name string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.free[name] = true
	rs.notify()
}

// close ends all claims, and grants no more.
func (rs *readers) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.closed = true
	for _, c := range rs.held {
		rs.loseLocked(c)
	}
	rs.notify()
}

// runRenewals renews the leases and registrations. A renewal that hangs is left behind once all claims that it was for are lost.
func (j *Journal) runRenewals() {
	var conn *pgx.Conn
	defer func() { disconnect(conn) }()
	tick := time.NewTicker(j.cfg.renewEvery())
	defer tick.Stop()
	for failing := false; ; {
		var err error
		if conn, err = j.renew(conn); err != nil {
			disconnect(conn)
			conn = nil
		}
		if err != nil && !failing && j.ctx.Err() == nil {
			j.cfg.Logger.Warn("journal: claims cannot be renewed", "error", describe(err))
		}
		failing = err != nil
		select {
		case <-j.closing:
			return
		case <-tick.C:
		}
	}
}

// renew renews the leases, then the registrations, then this instance's own row. Its commits are not cancelled; the session is cut when they
// take longer than a claim lasts.
func (j *Journal) renew(conn *pgx.Conn) (_ *pgx.Conn, err error) {
	ctx, cancel := context.WithTimeout(j.ctx, j.cfg.reliable())
	defer cancel()
	if conn == nil || conn.IsClosed() {
		if conn, err = j.connect(ctx); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.PgConn().Conn().Close() })
	defer stop()
	ctx = context.WithoutCancel(ctx)
	if err := j.renewLeases(ctx, conn); err != nil {
		return conn, err
	}
	if err := j.renewRegistrations(ctx, conn); err != nil {
		return conn, err
	}
	return conn, j.renewReplica(ctx, conn)
}

// renewLeases renews the leases of all claims. A claim whose lease is not its own any more is lost.
func (j *Journal) renewLeases(ctx context.Context, conn *pgx.Conn) error {
	all := j.readers.claims()
	if len(all) == 0 {
		return nil
	}
	names, numbers := make([]string, len(all)), make([]int64, len(all))
	for i, c := range all {
		names[i], numbers[i] = c.name, c.number
	}
	sent := time.Now()
	takeWarning(conn)
	rows, err := conn.Query(ctx, j.sql(`update bridge.reader r set until = clock_timestamp() + $4::interval
		from unnest($1::text[], $2::bigint[]) h(name, claim) where r.name = h.name and r.claim = h.claim and r.owner = $3
		returning r.name`), names, numbers, j.replica, interval(j.cfg.lease))
	if err != nil {
		return err
	}
	renewed, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if _, warned := takeWarning(conn); warned {
		return errUnconfirmed
	}
	if j.readers.renewed(all, renewed, sent.Add(j.cfg.reliable())) {
		j.readers.look()
	}
	return nil
}

// claims returns the claims that are held.
func (rs *readers) claims() (all []*claim) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, c := range rs.held {
		all = append(all, c)
	}
	return all
}

// renewed prolongs the claims whose leases were renewed, and ends the others. It reports whether there were others.
func (rs *readers) renewed(all []*claim, names []string, until time.Time) (lost bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	for _, c := range all {
		switch {
		case !known[c.name]:
			rs.loseLocked(c)
			lost = true
		case rs.held[c.name] == c && until.After(c.until):
			c.until = until
			c.timer.Reset(time.Until(until))
		}
	}
	return lost
}

// renewRegistrations renews the time until which the readers of this instance count as registered. It leaves out rows that others
// write to, so that it never waits for them: the time is long enough to try again.
func (j *Journal) renewRegistrations(ctx context.Context, conn *pgx.Conn) error {
	names := j.readers.registrations()
	if len(names) == 0 {
		return nil
	}
	d := j.cfg.registration()
	_, err := conn.Exec(ctx, j.sql(`with due as (select name from bridge.reader
			where name = any($2) and position > 0 and registered < clock_timestamp() + $4::interval for no key update skip locked)
		update bridge.reader r set registered = clock_timestamp() + $3::interval,
			touched = case when r.touched < now.at - $5 then now.at else r.touched end
		from due, (select `+readingSQL+` at) now where r.name = due.name`),
		j.reading(), names, interval(d), interval(d/2), int64(letters.ReaderTouch))
	return err
}

// registrations returns the readers that this instance has configured.
func (rs *readers) registrations() (names []string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for name := range rs.registered {
		names = append(names, name)
	}
	return names
}

// renewReplica says that this instance lives, and removes the rows of instances that do not.
func (j *Journal) renewReplica(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, j.sql(writeReplica), j.replica, j.cfg.Replica, j.cfg.Version, int64(j.Bounds().Next))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, j.sql(`delete from bridge.replica where seen < clock_timestamp() - $1::interval`), replicaGone)
	return err
}

// releaseAll gives all leases of this instance back, when the journal closes, and says that it has ended.
func (j *Journal) releaseAll() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	conn, err := j.connect(ctx)
	if err != nil {
		return // the leases run out
	}
	defer disconnect(conn)
	stop := context.AfterFunc(ctx, func() { _ = conn.PgConn().Conn().Close() })
	defer stop()
	ctx = context.WithoutCancel(ctx)
	if _, err = conn.Exec(ctx, j.sql(endSessions), j.replica); err != nil {
		return
	}
	_, err = conn.Exec(ctx, j.sql(`update bridge.reader set owner = null, until = '-infinity' where owner = $1`), j.replica)
	if err != nil {
		return
	}
	_, _ = conn.Exec(ctx, `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2), pg_notify($1, $3)`,
		j.cfg.channel(), readersChanged, groupsChanged)
	_, _ = conn.Exec(ctx, j.sql(`update bridge.replica set ended = true, seen = clock_timestamp() where id = $1`), j.replica)
}

var _ journal.Claim = (*claim)(nil)
