package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// claim is a lease in a reader's row. It ends when the holder releases it, when an operator pauses, moves or forgets the reader, when
// the lease was not renewed in time, and when the journal closes.
type claim struct {
	j    *Journal
	name string
	// number is the lease's. Each write of the claim names it.
	number int64
	// position is the cursor as last saved.
	position atomic.Uint64
	// moved is whether an operator moved the cursor since it was saved.
	moved atomic.Bool
	// note is the reader's note as last saved.
	note atomic.Pointer[[]byte]
	// writing is held during a write, also of a caller that did not wait for its end. So writes end in their order.
	writing chan struct{}
	// lost is closed, under readers.mu, when the claim can no longer be relied on.
	lost chan struct{}

	// The rest is guarded by readers.mu.

	// until is when the claim is lost unless the lease is renewed, and timer runs then.
	until time.Time
	timer *time.Timer
	// revoked is the number that the lease had when this instance acknowledged that it was taken away, or 0.
	revoked  int64
	released bool
}

// Claim implements [journal.Claims].
func (j *Journal) Claim(ctx context.Context, name string) (journal.Claim, error) {
	if err := checkReader(name); err != nil {
		return nil, err
	}
	for since, try := time.Now(), true; ; {
		change, free := j.readers.isFree(name)
		var wait <-chan time.Time
		if try || free {
			c, pause, err := j.attemptFor(ctx, name, since)
			switch {
			case err != nil:
				return nil, err
			case c != nil:
				return c, nil
			case pause > 0:
				wait = time.After(pause)
			}
		}
		if try = wait != nil; !try {
			since = time.Now()
		}
		select {
		case <-change:
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-j.closing:
			return nil, errClosed
		}
	}
}

// isFree reports whether a name had no holder at the last look at the leases, and returns a channel that is closed when that may have
// changed.
func (rs *readers) isFree(name string) (change <-chan struct{}, free bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.change, rs.free[name]
}

// attemptFor attempts to claim for a caller who may stop waiting. A claim that is granted nevertheless is released.
func (j *Journal) attemptFor(ctx context.Context, name string, since time.Time) (*claim, time.Duration, error) {
	if err := j.ready(ctx); err != nil {
		return nil, 0, err
	}
	type result struct {
		c     *claim
		pause time.Duration
		err   error
	}
	done := make(chan result, 1)
	var settled atomic.Bool // by the attempt, or by a caller who stopped waiting
	began := j.updates.start(func() {
		c, pause, err := j.attempt(ctx, name, since)
		if !settled.CompareAndSwap(false, true) && c != nil {
			_ = c.Release(context.WithoutCancel(ctx)) // otherwise the lease runs out
		}
		done <- result{c, pause, err}
	})
	if !began {
		return nil, 0, errClosed
	}
	select {
	case r := <-done:
		return r.c, r.pause, j.answer(ctx, r.err)
	case <-ctx.Done():
		if settled.CompareAndSwap(false, true) {
			return nil, 0, ctx.Err()
		}
		r := <-done
		return r.c, r.pause, j.answer(ctx, r.err)
	}
}

// attempt takes the lease if it has no holder and the reader is not paused. Where other instances could take it too, an instance lets
// them go first for a while for each claim that it holds: it returns how long. So the instances share the readers.
func (j *Journal) attempt(ctx context.Context, name string, since time.Time) (c *claim, pause time.Duration, err error) {
	rs := &j.readers
	select {
	case rs.attempting <- struct{}{}:
		defer func() { <-rs.attempting }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	holds, ok := rs.begin(name)
	if !ok {
		return nil, 0, nil
	}
	defer rs.end(name)
	sent := time.Now()
	var number, position int64
	var moved bool
	var note []byte
	err = j.transact(context.WithoutCancel(ctx), func(ctx context.Context, tx pgx.Tx) error {
		known, free, others, err := j.lookAtLease(ctx, tx, name)
		if err != nil || !free {
			return err
		}
		if first := since.Add(time.Duration(holds) * j.cfg.lease / spread); others && time.Now().Before(first) {
			pause = time.Until(first)
			return nil
		}
		if !known {
			_, err := tx.Exec(ctx, j.sql(`insert into bridge.reader (name) values ($1) on conflict (name) do nothing`), name)
			if err != nil {
				return err
			}
		}
		sent = time.Now()
		err = tx.QueryRow(ctx, j.sql(takeLease), name, j.replica, interval(j.cfg.lease)).Scan(&number, &position, &moved, &note)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil || number == 0 {
		return nil, pause, err
	}
	c = &claim{name: name, number: number}
	c.position.Store(uint64(position))
	c.moved.Store(moved)
	c.note.Store(&note)
	return j.granted(c, sent)
}

// spread: an instance waits for this part of a lease for each claim that it holds.
const spread = 75

// takeLease is an update, so that a lease can be taken where the server has no room for new rows.
const takeLease = `update bridge.reader set owner = $2, claim = claim + 1, until = clock_timestamp() + $3::interval
	where name = $1 and until < clock_timestamp() and not paused
	returning claim, position, moved > 0 and moved = position, note`

// lookAtLease reports whether a name has a row, whether its lease can be taken, and whether there are other instances that could. It
// locks nothing.
func (j *Journal) lookAtLease(ctx context.Context, tx pgx.Tx, name string) (known, free, others bool, err error) {
	err = tx.QueryRow(ctx, j.sql(`select exists (select from bridge.reader where name = $1),
		coalesce((select until < clock_timestamp() and not paused from bridge.reader where name = $1), true),
		exists (select from bridge.replica where id <> $2 and not ended and seen > clock_timestamp() - $3::interval)`),
		name, j.replica, interval(j.cfg.lease)).Scan(&known, &free, &others)
	return known, free, others, err
}

// begin marks a name as one that this instance is about to claim, and returns how many claims it holds. It returns false if the instance
// has the name.
func (rs *readers) begin(name string) (holds int, ok bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed || rs.held[name] != nil || rs.busy[name] {
		return 0, false
	}
	rs.busy[name] = true
	return len(rs.held), true
}

func (rs *readers) end(name string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.busy, name)
}

// granted begins a claim whose lease was taken in a transaction that was begun at sent.
func (j *Journal) granted(c *claim, sent time.Time) (*claim, time.Duration, error) {
	c.j, c.lost, c.writing = j, make(chan struct{}), make(chan struct{}, 1)
	rs := &j.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return nil, 0, errClosed // closing releases all leases
	}
	c.until = sent.Add(j.cfg.reliable())
	c.timer = time.AfterFunc(time.Until(c.until), c.expire)
	rs.held[c.name], rs.latest[c.name] = c, c
	delete(rs.free, c.name)
	return c, 0, nil
}

// check returns ErrLost once the claim is lost. When that is because the journal closes, it is ErrClosed too.
func (c *claim) check() error {
	select {
	case <-c.lost:
	default:
		return nil
	}
	if c.j.isClosing() {
		return fmt.Errorf("%w: %w", journal.ErrLost, sinks.ErrClosed)
	}
	return journal.ErrLost
}

// write runs a transaction of the holder, after those before it. It must be fenced by [claim.fence], or name the claim's number. It
// may be running still when write returns because ctx ended.
func (c *claim) write(ctx context.Context, what string, change func(ctx context.Context, tx pgx.Tx) error) error {
	return c.writeThen(ctx, what, change, func() {})
}

// writeThen is write, and calls then when the transaction is confirmed, before the next one begins.
func (c *claim) writeThen(ctx context.Context, what string, change func(context.Context, pgx.Tx) error, then func()) error {
	select {
	case c.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.check(); err != nil {
		<-c.writing
		return err
	}
	err := c.j.updateThen(ctx, what, change, func(err error) {
		if err == nil {
			then()
		}
		<-c.writing
	})
	if errors.Is(err, journal.ErrLost) {
		c.j.readers.lose(c)
		c.j.readers.look()
	}
	if err != nil && ctx.Err() == nil && c.check() != nil {
		return c.check()
	}
	return err
}

// fence locks the lease in a transaction, so that nobody takes it before the end of the transaction, and returns the reading of the
// journal's clock. Errors: ErrLost.
func (c *claim) fence(ctx context.Context, tx pgx.Tx) (now time.Time, err error) {
	var reading int64
	err = tx.QueryRow(ctx, c.j.sql(`select `+readingSQL+` from bridge.reader where name = $2 and owner = $3 and claim = $4 for share`),
		c.j.reading(), c.name, c.j.replica, c.number).Scan(&reading)
	if errors.Is(err, pgx.ErrNoRows) {
		err = journal.ErrLost
	}
	return time.Unix(0, reading), err
}

// Position implements [journal.Claim].
func (c *claim) Position() sinks.Position { return sinks.Position(c.position.Load()) }

// Moved implements [journal.Claim].
func (c *claim) Moved() bool { return c.moved.Load() }

// Save implements [journal.Claim]. It drops requests to pass an event that the reader left behind.
func (c *claim) Save(ctx context.Context, p sinks.Position) error {
	p = max(p, 1)
	known := c.j.Bounds().Next
	return c.writeThen(ctx, "save cursor", func(ctx context.Context, tx pgx.Tx) error {
		if p > known {
			switch _, next, err := c.j.limits(ctx, tx, ""); {
			case err != nil:
				return err
			case p > next:
				return sinks.ErrFuture
			}
		}
		tag, err := tx.Exec(ctx, c.j.sql(`update bridge.reader set position = $5, moved = 0, touched = `+readingSQL+`
			where name = $2 and owner = $3 and claim = $4`), c.j.reading(), c.name, c.j.replica, c.number, int64(p))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return journal.ErrLost
		}
		_, err = tx.Exec(ctx, c.j.sql(`delete from bridge.request where reader = $1 and kind = 'p' and position < $2`), c.name, int64(p))
		return err
	}, func() {
		c.position.Store(uint64(p))
		c.moved.Store(false)
	})
}

// Park implements [journal.Claim].
func (c *claim) Park(ctx context.Context, p *journalv1.Parked) error { return c.park(ctx, p, true) }

// AddAttempt implements [journal.Claim].
func (c *claim) AddAttempt(ctx context.Context, p *journalv1.Parked) error {
	return c.park(ctx, p, false)
}

func (c *claim) park(ctx context.Context, p *journalv1.Parked, add bool) error {
	p = proto.CloneOf(p) // the transaction may outlast the call
	return c.write(ctx, "park", func(ctx context.Context, tx pgx.Tx) error {
		now, err := c.fence(ctx, tx)
		if err != nil {
			return err
		}
		return c.j.park(ctx, tx, c.name, p, add, now)
	})
}

// Unpark implements [journal.Claim]. An event that is not parked is no error.
func (c *claim) Unpark(ctx context.Context, p sinks.Position) error {
	return c.write(ctx, "unpark", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := c.fence(ctx, tx); err != nil {
			return err
		}
		_, err := c.j.unpark(ctx, tx, c.name, p)
		return err
	})
}

// RecordGap implements [journal.Claim].
func (c *claim) RecordGap(ctx context.Context, from, to sinks.Position) (added uint64, err error) {
	if from >= to {
		return 0, fmt.Errorf("journal: record gap: no events from %d to %d", from, to)
	}
	result := make(chan uint64, 1)
	err = c.write(ctx, "record gap", func(ctx context.Context, tx pgx.Tx) error {
		now, err := c.fence(ctx, tx)
		if err != nil {
			return err
		}
		added, err := c.j.recordGap(ctx, tx, c.name, from, to, now)
		result <- added
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-result, nil
}

// Note implements [journal.Claim].
func (c *claim) Note() []byte { return noteOf(*c.note.Load()) }

// noteOf returns a copy of a note. An empty one is none.
func noteOf(note []byte) []byte {
	if len(note) == 0 {
		return nil
	}
	return bytes.Clone(note)
}

// SaveNote implements [journal.Claim].
func (c *claim) SaveNote(ctx context.Context, note []byte) error {
	note = append([]byte{}, note...)
	return c.writeThen(ctx, "save note", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, c.j.sql(`update bridge.reader set note = $4 where name = $1 and owner = $2 and claim = $3`),
			c.name, c.j.replica, c.number, note)
		if err == nil && tag.RowsAffected() == 0 {
			err = journal.ErrLost
		}
		return err
	}, func() { c.note.Store(&note) })
}

// Lost implements [journal.Claim].
func (c *claim) Lost() <-chan struct{} { return c.lost }

// Release implements [journal.Claim].
func (c *claim) Release(ctx context.Context) error {
	lease, ok := c.j.readers.release(c)
	if !ok {
		return nil
	}
	err := c.j.updateThen(ctx, "release", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, c.j.sql(`update bridge.reader set owner = null, until = '-infinity'
			where name = $1 and (owner = $2 and claim between $3 and $4 or owner is null and claim = $5)`),
			c.name, c.j.replica, lease.from, lease.to, lease.revoked)
		return err
	}, func(err error) {
		lease.end()
		if err == nil {
			c.j.readers.freed(c.name)
			c.j.announceReaders()
		}
	})
	if errors.Is(err, sinks.ErrClosed) {
		return nil // closing releases all leases
	}
	return err
}
