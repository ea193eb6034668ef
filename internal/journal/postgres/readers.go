package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// readers are the readers that this instance registered, and the claims that it holds.
type readers struct {
	// attempting is held during an attempt to claim: so each attempt knows how many claims the instance holds.
	attempting chan struct{}
	// wake gets a value when the leases must be looked at now.
	wake chan struct{}

	mu sync.Mutex
	// held are the claims that are not lost, and latest the last claim to each name, lost or not.
	held, latest map[string]*claim
	// busy are the names whose lease this instance is taking or giving back.
	busy map[string]bool
	// free are the names without a holder at the last look at the leases, paused ones left out.
	free map[string]bool
	// registered are the readers that this instance has configured.
	registered map[string]bool
	// change is closed, and replaced, when a name may have become free.
	change chan struct{}
	closed bool
}

func (rs *readers) init() {
	rs.attempting, rs.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	rs.held, rs.latest = map[string]*claim{}, map[string]*claim{}
	rs.busy, rs.free, rs.registered = map[string]bool{}, map[string]bool{}, map[string]bool{}
	rs.change = make(chan struct{})
}

// look has the leases looked at soon. It never waits.
func (rs *readers) look() {
	select {
	case rs.wake <- struct{}{}:
	default:
	}
}

// notify wakes all callers that wait for a claim. The caller holds mu.
func (rs *readers) notify() {
	close(rs.change)
	rs.change = make(chan struct{})
}

// readersChanged is the announcement of an instance that gave a lease back, or took one away.
const readersChanged = "readers"

// announceTime bounds an announcement. Other instances look at the leases every second anyway.
const announceTime = time.Second

// announceReaders has the other instances look at the leases. It must not be part of the transaction that changed them: that holds a
// lock of the whole server until its commit is confirmed.
func (j *Journal) announceReaders() {
	ctx, cancel := context.WithTimeout(j.ctx, announceTime)
	defer cancel()
	// One that is lost costs up to a second.
	_, _ = j.pool.Exec(ctx, `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`, j.cfg.channel(), readersChanged)
}

// checkReader returns an error for a name that no reader can have.
func checkReader(name string) error {
	if err := letters.CheckReader(name); err != nil {
		return err
	}
	if !utf8.ValidString(name) {
		return errors.New("journal: a reader's name must be valid UTF-8")
	}
	return nil
}

// readingSQL is the reading of the journal's clock in Unix nanoseconds. Its parameter is [Journal.reading].
const readingSQL = `coalesce($1::bigint, (extract(epoch from clock_timestamp()) * 1000000)::bigint * 1000)`

// reading is the reading of the clock of tests, or nil for that of the server.
func (j *Journal) reading() *int64 {
	if j.cfg.now == nil {
		return nil
	}
	now := j.cfg.now().UnixNano()
	return &now
}

// registration is how long a reader counts as registered after an instance that has it configured was heard of.
func (c *Config) registration() time.Duration { return 4 * c.lease }

// interval is a duration as a parameter of SQL.
func interval(d time.Duration) string { return fmt.Sprintf("%d microseconds", d.Microseconds()) }

// Register implements [journal.Claims].
func (j *Journal) Register(ctx context.Context, name string, from sinks.Position, full journal.WhenFull) error {
	if err := checkReader(name); err != nil {
		return err
	}
	err := j.update(ctx, "register", func(ctx context.Context, tx pgx.Tx) error {
		known, err := j.touchRegistered(ctx, tx, name, full)
		if err != nil || known {
			return err
		}
		if err := j.placeReader(ctx, tx, name, from); err != nil {
			return err
		}
		_, err = j.touchRegistered(ctx, tx, name, full)
		return err
	})
	if err != nil {
		return err
	}
	j.readers.mu.Lock()
	defer j.readers.mu.Unlock()
	j.readers.registered[name] = true
	return nil
}

// Unregister implements [journal.Claims]. In the database the registration runs out by itself, unless another instance has it, too.
func (j *Journal) Unregister(name string) {
	j.readers.mu.Lock()
	defer j.readers.mu.Unlock()
	delete(j.readers.registered, name)
}

// touchRegistered makes a reader that has a cursor a registered one. It reports whether there is one.
func (j *Journal) touchRegistered(ctx context.Context, tx pgx.Tx, name string, full journal.WhenFull) (known bool, err error) {
	tag, err := tx.Exec(ctx, j.sql(`update bridge.reader
		set touched = `+readingSQL+`, skip = $3, registered = greatest(registered, clock_timestamp() + $4::interval)
		where name = $2 and position > 0`), j.reading(), name, full == journal.Skip, interval(j.cfg.registration()))
	return tag.RowsAffected() > 0, err
}

// placeReader gives a reader its first cursor. It holds the head meanwhile, as retention does: so the reader gets the events that it
// was promised.
func (j *Journal) placeReader(ctx context.Context, tx pgx.Tx, name string, from sinks.Position) error {
	_, next, err := j.limits(ctx, tx, `for share`)
	if err != nil {
		return err
	}
	if from > next {
		return sinks.ErrFuture
	}
	_, err = tx.Exec(ctx, j.sql(`insert into bridge.reader as r (name, position) values ($1, $2)
		on conflict (name) do update set position = excluded.position, moved = 0 where r.position = 0`), name, int64(max(from, 1)))
	return err
}

// limits returns the log's bounds, in a transaction that may lock them.
func (j *Journal) limits(ctx context.Context, tx pgx.Tx, lock string) (kept, next sinks.Position, err error) {
	var k, n int64
	err = tx.QueryRow(ctx, j.sql(`select kept, next from bridge.log `+lock)).Scan(&k, &n)
	return sinks.Position(k), sinks.Position(n), err
}

// errNoReader is ErrNotFound for a reader.
func errNoReader(name string) error { return fmt.Errorf("%w: reader %q", journal.ErrNotFound, name) }
