package pebble

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// claim is a claim within this process. The folder has one process, so a claim lives in memory. It ends when the holder
// releases it, when an operator pauses, moves or forgets the reader, and when the journal closes.
type claim struct {
	j *Journal
	r *reader
	// lost is closed, under readers.mu, when the reader's holder is no longer this claim.
	lost chan struct{}
}

// Claim implements [journal.Claims].
func (j *Journal) Claim(ctx context.Context, name string) (journal.Claim, error) {
	if err := letters.CheckReader(name); err != nil {
		return nil, err
	}
	r := j.readers.get(name)
	for {
		changed := j.readers.changed()
		c, err := j.grant(r)
		if err != nil {
			return nil, err
		}
		if c != nil {
			// A write of the last holder whose context ended may still be under way. Position must show its result.
			if err := j.exclusively(ctx, r, func() error { return nil }); err != nil {
				j.readers.release(c)
				return nil, err
			}
			return c, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// grant gives the claim if it has no holder and the reader is not paused. Otherwise it returns nil. Errors: ErrClosed.
func (j *Journal) grant(r *reader) (*claim, error) {
	rs := &j.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	switch {
	case rs.closed:
		return nil, sinks.ErrClosed
	case r.holder != nil || r.cursor.paused:
		return nil, nil
	}
	r.holder = &claim{j: j, r: r, lost: make(chan struct{})}
	return r.holder, nil
}

// revoke takes the claim of a reader away, if it has a holder. The caller holds mu.
func (rs *readers) revoke(r *reader) {
	if r.holder == nil {
		return
	}
	close(r.holder.lost)
	r.holder = nil
	rs.notify()
}

// release gives a claim back, unless it was lost before.
func (rs *readers) release(c *claim) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if c.r.holder == c {
		rs.revoke(c.r)
	}
}

// close revokes all claims, and grants no more.
func (rs *readers) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.closed = true
	for _, r := range rs.named {
		rs.revoke(r)
	}
	rs.notify()
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

// write calls f unless the claim is lost. The claim is not lost while f runs.
func (c *claim) write(ctx context.Context, f func() error) error {
	return c.j.exclusively(ctx, c.r, func() error {
		if err := c.check(); err != nil {
			return err
		}
		return f()
	})
}

// Position implements [journal.Claim].
func (c *claim) Position() sinks.Position { return c.j.cursorOf(c.r).position }

// Moved implements [journal.Claim].
func (c *claim) Moved() bool { return c.j.cursorOf(c.r).moved }

// Save implements [journal.Claim]. It drops requests to pass an event that the reader left behind.
func (c *claim) Save(ctx context.Context, p sinks.Position) error {
	return c.write(ctx, func() error {
		if p > c.j.Bounds().Next {
			return sinks.ErrFuture
		}
		p = max(p, 1)
		passed := c.j.readers.passesBefore(c.r, p)
		err := c.j.saveCursor(c.r, cursor{position: p}, func(b *pebble.Batch) error {
			return deleteRequests(b, c.r.name, passed)
		})
		if err == nil {
			c.j.readers.forgetRequests(c.r, passed)
		}
		return err
	})
}

// Park implements [journal.Claim].
func (c *claim) Park(ctx context.Context, p *journalv1.Parked) error {
	return c.write(ctx, func() error { return c.j.park(c.r, p, true) })
}

// AddAttempt implements [journal.Claim].
func (c *claim) AddAttempt(ctx context.Context, p *journalv1.Parked) error {
	return c.write(ctx, func() error { return c.j.park(c.r, p, false) })
}

// Unpark implements [journal.Claim]. An event that is not parked is no error.
func (c *claim) Unpark(ctx context.Context, p sinks.Position) error {
	return c.write(ctx, func() error { return c.j.unpark(c.r, p) })
}

// RecordGap implements [journal.Claim].
func (c *claim) RecordGap(ctx context.Context, from, to sinks.Position) (added uint64, err error) {
	if from >= to {
		return 0, fmt.Errorf("journal: record gap: no events from %d to %d", from, to)
	}
	result := make(chan uint64, 1)
	err = c.write(ctx, func() error {
		added, err := c.j.recordGap(c.r.name, from, to)
		result <- added
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-result, nil
}

// Note implements [journal.Claim].
func (c *claim) Note() []byte {
	rs := &c.j.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return bytes.Clone(c.r.note)
}

// SaveNote implements [journal.Claim]. The note lives in memory.
func (c *claim) SaveNote(ctx context.Context, note []byte) error {
	return c.write(ctx, func() error {
		rs := &c.j.readers
		rs.mu.Lock()
		defer rs.mu.Unlock()
		c.r.note = bytes.Clone(note)
		return nil
	})
}

// Lost implements [journal.Claim].
func (c *claim) Lost() <-chan struct{} { return c.lost }

// Release implements [journal.Claim]. It does not wait.
func (c *claim) Release(context.Context) error {
	c.j.readers.release(c)
	return nil
}
