package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// reader is a named reader.
type reader struct {
	name string
	// writing is held while a record of the reader is written. So writes end in their order, and a claim is not lost in the
	// middle of one.
	writing sync.Mutex

	// The rest is guarded by readers.mu.

	// cursor is the record on disk. It is the zero value for a name that was claimed and never registered nor saved.
	cursor     cursor
	registered bool
	full       journal.WhenFull
	// holder has the claim, or is nil.
	holder *claim
	// note is what a holder saved last. It lives in memory, as the claims do.
	note []byte
	// requests are the operators' requests that the holder has not carried out yet.
	requests map[request]struct{}
	// replays are in the order in which they were requested. The messages never change.
	replays []*journalv1.Replay
	// parkedChanges counts the writes of parked events, and parked is how many there were after parkedCounted of these, or nothing is known.
	parkedChanges, parkedCounted, parked uint64
}

// cursor is the record of a reader.
type cursor struct {
	// position is the first position that the reader has not dealt with. 0 says that there is no record.
	position sinks.Position
	// touched is when the record was written last.
	touched time.Time
	paused  bool
	// moved: an operator moved the cursor since a holder saved it.
	moved bool
}

// The flags of a cursor's record.
const (
	cursorPaused = 1 << iota
	cursorMoved
)

// encode returns the cursor's record: position, Unix nanoseconds, flags.
func (c cursor) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 17), uint64(c.position))
	b = binary.BigEndian.AppendUint64(b, uint64(c.touched.UnixNano()))
	flags := byte(0)
	if c.paused {
		flags |= cursorPaused
	}
	if c.moved {
		flags |= cursorMoved
	}
	return append(b, flags)
}

// parseCursor also reads the record of the first format, which has no flags.
func parseCursor(v []byte) (cursor, error) {
	if len(v) != 16 && len(v) != 17 {
		return cursor{}, errCorrupt
	}
	c := cursor{
		position: max(sinks.Position(binary.BigEndian.Uint64(v)), 1),
		touched:  time.Unix(0, int64(binary.BigEndian.Uint64(v[8:]))),
	}
	if len(v) == 17 {
		c.paused, c.moved = v[16]&cursorPaused != 0, v[16]&cursorMoved != 0
	}
	return c, nil
}

// readers are all readers of the folder.
type readers struct {
	mu    sync.Mutex
	named map[string]*reader
	// change is closed, and replaced, when a claim is given back or lost, or a pause ends.
	change chan struct{}
	closed bool
	// needed is held from finding the first position that readers need until retention has moved the earliest one. So a
	// reader that is placed meanwhile gets the events that it was promised. It is locked before mu.
	needed sync.Mutex
	// parkedChecked is when the ages of parked events were last checked.
	parkedChecked time.Time
}

// loadReaders reads the cursors and the requests.
//
// A cursor past the end of the log is a sign that the disk lost events that it had confirmed: the reader had dealt with
// them. New events get the lost positions. So such a cursor is moved to the end, durably and with an error in the log. The
// reader has dealt with every event that is left, so it misses nothing; it gets all the new events. This is the only place
// where a cursor moves without its holder and without an operator.
func (j *Journal) loadReaders(st *store) error {
	rs := &j.readers
	rs.named, rs.change = map[string]*reader{}, make(chan struct{})
	now := j.cfg.Now()
	b := st.db.NewBatch()
	lower, upper := span(prefixCursor)
	err := st.eachKey(lower, upper, func(k, v []byte) (bool, error) {
		c, err := parseCursor(v)
		if err != nil {
			return false, err
		}
		if c.touched.After(now) {
			c.touched = now // the clock was put back
		}
		name := string(k[1:])
		if c.position > st.next {
			j.cfg.Logger.Error("journal: the disk lost events that a reader had dealt with; the reader goes on at the log's end",
				"reader", name, "cursor", uint64(c.position), "end", uint64(st.next))
			c.position = st.next
			if err := b.Set(cursorKey(name), c.encode(), nil); err != nil {
				return false, err
			}
		}
		rs.get(name).cursor = c
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("cursors: %w", err)
	}
	if !b.Empty() {
		if err := st.write(b); err != nil {
			return fmt.Errorf("cursors: %w", err)
		}
	}
	if err := j.loadRequests(st); err != nil {
		return fmt.Errorf("requests: %w", err)
	}
	return j.loadReplays(st)
}

// get returns the reader with this name, and adds it if it is new.
func (rs *readers) get(name string) *reader {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.named[name]
	if r == nil {
		r = &reader{name: name, requests: map[request]struct{}{}, parkedChanges: 1}
		rs.named[name] = r
	}
	return r
}

// find returns the reader with this name, or one that no other caller gets.
func (rs *readers) find(name string) *reader {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.named[name]; r != nil {
		return r
	}
	return &reader{name: name}
}

// known returns the reader with this name, if it has a cursor. Errors: ErrNotFound.
func (rs *readers) known(name string) (*reader, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.named[name]; r != nil && r.cursor.position > 0 {
		return r, nil
	}
	return nil, fmt.Errorf("%w: reader %q", journal.ErrNotFound, name)
}

// changed returns a channel that is closed at the next change. Take it before looking, so that none is missed.
func (rs *readers) changed() <-chan struct{} {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.change
}

// notify wakes all callers that wait for a claim. The caller holds mu.
func (rs *readers) notify() {
	close(rs.change)
	rs.change = make(chan struct{})
}

// exclusively calls f while no other record of the reader is written. When ctx ends first it returns ctx's error; f may
// then still be running, but it does not begin after that.
func (j *Journal) exclusively(ctx context.Context, r *reader, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		r.writing.Lock()
		defer r.writing.Unlock()
		if err := ctx.Err(); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cursorOf returns the reader's cursor as last saved.
func (j *Journal) cursorOf(r *reader) cursor {
	j.readers.mu.Lock()
	defer j.readers.mu.Unlock()
	return r.cursor
}

// saveCursor writes a reader's cursor, in one batch with the records that change adds. The caller holds r.writing.
func (j *Journal) saveCursor(r *reader, c cursor, change func(*pebble.Batch) error) error {
	c.touched = j.cfg.Now()
	err := j.update("save cursor", func(_ *store, b *pebble.Batch) error {
		if change != nil {
			if err := change(b); err != nil {
				return err
			}
		}
		return b.Set(cursorKey(r.name), c.encode(), nil)
	})
	if err != nil {
		return err
	}
	j.readers.mu.Lock()
	defer j.readers.mu.Unlock()
	r.cursor = c
	return nil
}

// Register implements [journal.Claims].
func (j *Journal) Register(ctx context.Context, name string, from sinks.Position, full journal.WhenFull) error {
	if err := letters.CheckReader(name); err != nil {
		return err
	}
	r := j.readers.get(name)
	return j.exclusively(ctx, r, func() error {
		if j.isClosing() {
			return sinks.ErrClosed
		}
		j.readers.needed.Lock()
		defer j.readers.needed.Unlock()
		if j.cursorOf(r).position == 0 {
			if from > j.Bounds().Next {
				return sinks.ErrFuture
			}
			if err := j.saveCursor(r, cursor{position: max(from, 1)}, nil); err != nil {
				return err
			}
		}
		j.readers.mu.Lock()
		defer j.readers.mu.Unlock()
		r.registered, r.full, r.cursor.touched = true, full, j.cfg.Now()
		return nil
	})
}

// Unregister implements [journal.Claims].
func (j *Journal) Unregister(name string) {
	j.readers.mu.Lock()
	defer j.readers.mu.Unlock()
	if r := j.readers.named[name]; r != nil {
		r.registered = false
	}
}

// firstNeeded returns the first position that retention must leave, at most next. When the disk is low, only registered readers
// that said Hold count.
func (rs *readers) firstNeeded(next sinks.Position, now time.Time, low bool) sinks.Position {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.named {
		gone := !r.registered && (low || now.Sub(r.cursor.touched) >= letters.ReaderGrace)
		if r.cursor.position == 0 || gone || low && r.full == journal.Skip {
			continue
		}
		next = min(next, r.cursor.position)
	}
	return next
}

// touchReaders renews the times of registered cursors, so that they still hold retention after a restart.
func (j *Journal) touchReaders(now time.Time) error {
	j.readers.mu.Lock()
	var stale []*reader
	for _, r := range j.readers.named {
		if r.registered && now.Sub(r.cursor.touched) >= letters.ReaderTouch {
			stale = append(stale, r)
		}
	}
	j.readers.mu.Unlock()
	for _, r := range stale {
		err := j.exclusively(j.ctx, r, func() error {
			c := j.cursorOf(r)
			if c.position == 0 {
				return nil // it was forgotten meanwhile
			}
			return j.saveCursor(r, c, nil)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// logger returns the journal's log with the reader's name.
func (j *Journal) logger(r *reader) *slog.Logger { return j.cfg.Logger.With("reader", r.name) }
