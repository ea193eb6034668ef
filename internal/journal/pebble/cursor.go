package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// cursorGrace is how long the cursor of a reader that is gone still holds retention.
const cursorGrace = 24 * time.Hour

// cursorTouch is how often the time of a cursor in use is renewed.
const cursorTouch = time.Hour

// Cursor is the durable place of a named reader. Retention takes nothing from its position on while it is registered; 24
// hours after the last run that had it, it holds no more. It is safe for concurrent use.
type Cursor struct {
	j      *Journal
	name   string
	cursor *cursor
}

// cursor is what is known of a cursor, registered or not.
type cursor struct {
	// saving is held while the cursor is written, so that writes end in their order. The rest is guarded by cursors.mu.
	saving sync.Mutex

	position   Position
	touched    time.Time
	registered bool
	full       WhenFull
}

// cursors are all cursors in the folder.
type cursors struct {
	mu    sync.Mutex
	named map[string]*cursor
}

func (c *cursors) load(st *store, now time.Time) (err error) {
	c.named = make(map[string]*cursor)
	lower, upper := span(prefixCursor)
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if len(v) != 16 {
			return errCorrupt
		}
		touched := time.Unix(0, int64(binary.BigEndian.Uint64(v[8:])))
		if touched.After(now) {
			touched = now // the clock was put back
		}
		c.named[string(it.Key()[1:])] = &cursor{
			position: Position(binary.BigEndian.Uint64(v)),
			touched:  touched,
		}
	}
	return it.Error()
}

// Cursor registers a named cursor for this run. A new one stands at from, durably so when Cursor returns: a reader that
// starts at the end misses nothing that comes after. Errors: ErrFuture, ErrUnavailable, ErrClosed.
func (j *Journal) Cursor(name string, from Position, full WhenFull) (*Cursor, error) {
	if name == "" {
		return nil, errors.New("journal: cursor: no name given")
	}
	now := j.cfg.Now()
	j.cursors.mu.Lock()
	c := j.cursors.named[name]
	known := c != nil
	if !known {
		c = &cursor{position: from}
		j.cursors.named[name] = c
	}
	c.registered, c.full, c.touched = true, full, now
	j.cursors.mu.Unlock()
	handle := &Cursor{j: j, name: name, cursor: c}
	if known {
		return handle, nil
	}
	if err := handle.Save(from); err != nil {
		j.cursors.forget(name)
		return nil, err
	}
	return handle, nil
}

// Position is the first position that the reader has not dealt with, as last saved.
func (c *Cursor) Position() Position {
	c.j.cursors.mu.Lock()
	defer c.j.cursors.mu.Unlock()
	return c.cursor.position
}

// Save moves the cursor to p, the first position that the reader has not dealt with, and returns once that is durable. It
// may move back. Errors: ErrFuture, ErrUnavailable, ErrClosed; the cursor then counts as not moved, and may have.
func (c *Cursor) Save(p Position) error {
	if p > c.j.Bounds().Next {
		return ErrFuture
	}
	c.cursor.saving.Lock()
	defer c.cursor.saving.Unlock()
	now := c.j.cfg.Now()
	if err := c.j.saveCursor(c.name, p, now); err != nil {
		return err
	}
	c.j.cursors.mu.Lock()
	defer c.j.cursors.mu.Unlock()
	c.cursor.position, c.cursor.touched = p, now
	return nil
}

// touch renews the time of a cursor in use.
func (c *Cursor) touch() error {
	c.cursor.saving.Lock()
	defer c.cursor.saving.Unlock()
	return c.j.saveCursor(c.name, c.Position(), c.j.cfg.Now())
}

func (j *Journal) saveCursor(name string, p Position, now time.Time) error {
	st, release, err := j.use()
	if err != nil {
		return err
	}
	defer release()
	v := binary.BigEndian.AppendUint64(nil, uint64(p))
	v = binary.BigEndian.AppendUint64(v, uint64(now.UnixNano()))
	b := st.db.NewBatch()
	if err := b.Set(cursorKey(name), v, nil); err != nil {
		return fmt.Errorf("journal: cursor: %w", err)
	}
	if err := st.write(b); err != nil {
		return fmt.Errorf("%w: cursor: %w", ErrUnavailable, err)
	}
	return nil
}

// DeleteCursor forgets a cursor, registered or not, so that it holds nothing. Nobody may save it any more. Errors:
// ErrUnavailable, ErrClosed.
func (j *Journal) DeleteCursor(name string) error {
	st, release, err := j.use()
	if err != nil {
		return err
	}
	defer release()
	b := st.db.NewBatch()
	if err := b.Delete(cursorKey(name), nil); err != nil {
		return fmt.Errorf("journal: cursor: %w", err)
	}
	if err := st.write(b); err != nil {
		return fmt.Errorf("%w: cursor: %w", ErrUnavailable, err)
	}
	j.cursors.forget(name)
	return nil
}

func (c *cursors) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.named, name)
}

// hold returns the first position that retention must leave, at most next. When the disk is low only those in use count
// that ask to be waited for.
func (c *cursors) hold(next Position, now time.Time, low bool) Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.named {
		gone := !k.registered && (low || now.Sub(k.touched) >= cursorGrace)
		if gone || low && k.full == Skip {
			continue
		}
		next = min(next, k.position)
	}
	return next
}

// staleCursors returns the cursors in use whose time is to be renewed.
func (j *Journal) staleCursors(now time.Time) []*Cursor {
	j.cursors.mu.Lock()
	defer j.cursors.mu.Unlock()
	var stale []*Cursor
	for name, k := range j.cursors.named {
		if k.registered && now.Sub(k.touched) >= cursorTouch {
			k.touched = now
			stale = append(stale, &Cursor{j: j, name: name, cursor: k})
		}
	}
	return stale
}

// CursorStats describes a cursor.
type CursorStats struct {
	Name       string
	Position   Position
	Registered bool
}

func (c *cursors) stats() []CursorStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]CursorStats, 0, len(c.named))
	for name, k := range c.named {
		all = append(all, CursorStats{Name: name, Position: k.position, Registered: k.registered})
	}
	slices.SortFunc(all, func(a, b CursorStats) int { return strings.Compare(a.Name, b.Name) })
	return all
}
