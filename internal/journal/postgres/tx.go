package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// warningKey is where a session keeps its last warning, for the transaction that looks at it after COMMIT.
const warningKey = "bridge.warning"

// noteWarning keeps the warning with which a server ends the wait for its standbys.
func noteWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.Code == "01000" {
		conn.CustomData()[warningKey] = n.Message
	}
}

// takeWarning returns the session's last warning, and forgets it.
func takeWarning(conn *pgx.Conn) (message string, warned bool) {
	data := conn.PgConn().CustomData()
	message, warned = data[warningKey].(string)
	delete(data, warningKey)
	return message, warned
}

// view reads in one transaction, which sees one state of the log, and then waits until everything that it saw is confirmed, also where
// that is nothing. Errors: those of the contract, ErrDamaged for
// records that cannot be read, ErrUnavailable for all others.
func (j *Journal) view(ctx context.Context, read func(ctx context.Context, tx pgx.Tx) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return j.look(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, options, func(tx pgx.Tx) error { return read(ctx, tx) })
	})
}

// look is view without a transaction, for one statement, which sees one state of the log too.
func (j *Journal) look(ctx context.Context, read func(ctx context.Context, conn *pgx.Conn) error) error {
	if err := j.ready(ctx); err != nil {
		return err
	}
	query, cancel := j.untilClosed(ctx)
	var server string
	err := j.pool.AcquireFunc(query, func(conn *pgxpool.Conn) error {
		server = serverOf(conn.Conn())
		return read(query, conn.Conn())
	})
	cancel()
	switch {
	case err == nil || errors.Is(err, journal.ErrNotFound):
		unconfirmed := j.confirm(ctx)
		if unconfirmed == nil && !j.servers.isNewest(server) {
			unconfirmed = errReplaced // the write went to another server than the read
		}
		if unconfirmed != nil {
			return j.answer(ctx, unconfirmed)
		}
		return err
	case isDamage(err):
		return fmt.Errorf("%w: %w", sinks.ErrDamaged, describe(err))
	}
	return j.answer(ctx, err)
}

// update writes in one transaction that does not take the head, and returns once it is confirmed. When ctx is done first, it returns ctx's
// error, and the transaction goes on: a COMMIT is never cancelled. write must not use ctx after it has returned, and may be
// running still when update returns.
func (j *Journal) update(ctx context.Context, what string, write func(ctx context.Context, tx pgx.Tx) error) error {
	return j.updateThen(ctx, what, write, func(error) {})
}

// updateThen is update, and calls then with the transaction's error when the transaction has ended, also after update has returned. When no
// transaction began it calls then too.
func (j *Journal) updateThen(ctx context.Context, what string, write func(context.Context, pgx.Tx) error, then func(error)) error {
	return j.runThen(ctx, what, func(ctx context.Context) error { return j.transact(ctx, write) }, then)
}

// runThen is updateThen for a function that runs a transaction by itself.
func (j *Journal) runThen(ctx context.Context, what string, run func(context.Context) error, then func(error)) error {
	if err := j.ready(ctx); err != nil {
		then(err)
		return err
	}
	done := make(chan error, 1)
	began := j.updates.start(func() {
		err := run(context.WithoutCancel(ctx))
		then(err)
		done <- err
	})
	if !began {
		then(errClosed)
		return errClosed
	}
	select {
	case err := <-done:
		if err = j.answer(ctx, err); err != nil {
			return fmt.Errorf("journal: %s: %w", what, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// updates are transactions under way. They outlive the calls that began them.
type updates struct {
	mu     sync.Mutex
	ended  bool
	active sync.WaitGroup
}

// start runs a transaction, unless the journal has closed.
func (u *updates) start(run func()) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ended {
		u.active.Go(run)
	}
	return !u.ended
}

// end waits for those under way. No other starts.
func (u *updates) end() {
	u.mu.Lock()
	u.ended = true
	u.mu.Unlock()
	u.active.Wait()
}

// errUnconfirmed is the cause when a COMMIT ended without the standbys' confirmation.
var errUnconfirmed = errors.New("the database ended the wait for its standbys")

// errPlan means that a transaction did something else than was planned: an error of this program, or somebody else's change of its tables.
var errPlan = errors.New("journal: the database did something else than was planned")

// transact runs a transaction to its end. It begins none while the server is known to be unsafe.
func (j *Journal) transact(ctx context.Context, write func(ctx context.Context, tx pgx.Tx) error) error {
	return j.withSession(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return write(ctx, tx) })
	})
}

// withSession has a function run a transaction on one of the sessions that write, and checks that the transaction is confirmed.
func (j *Journal) withSession(ctx context.Context, run func(ctx context.Context, conn *pgx.Conn) error) error {
	if p := j.tail.problem.Load(); p != nil && errors.Is(*p, ErrUnsafe) {
		return *p
	}
	select {
	case j.writing <- struct{}{}:
		defer func() { <-j.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := j.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	takeWarning(conn.Conn())
	if err := run(ctx, conn.Conn()); err != nil {
		return err
	}
	if message, warned := takeWarning(conn.Conn()); warned {
		return fmt.Errorf("%w: %s", errUnconfirmed, message)
	}
	if !j.servers.isNewest(serverOf(conn.Conn())) {
		return errReplaced
	}
	return nil
}

// ready returns why no call can be made now, or nil.
func (j *Journal) ready(ctx context.Context) error {
	if j.isClosing() {
		return errClosed
	}
	return ctx.Err()
}

// answer is the error that a caller gets.
func (j *Journal) answer(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case j.isClosing() && !errors.Is(err, journal.ErrNotFound):
		return errClosed
	}
	return unavailable(err)
}
