package pebble

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Readers implements [journal.Operations]. It counts the keys of all parked events.
func (j *Journal) Readers(ctx context.Context) ([]journal.ReaderState, error) {
	all := j.readers.states()
	err := j.view(ctx, func(st *store) error {
		for i := range all {
			lower, upper := readerKeys(prefixParked, all[i].Name)
			n, err := st.countKeys(ctx, lower, upper)
			if err != nil {
				return err
			}
			gaps, err := st.gaps(all[i].Name)
			if err != nil {
				return err
			}
			all[i].Parked = n
			for _, g := range gaps {
				all[i].Missed += g.GetTo() - g.GetFrom()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// states returns what memory knows of the readers that have a cursor, ordered by name.
func (rs *readers) states() []journal.ReaderState {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	all := make([]journal.ReaderState, 0, len(rs.named))
	for _, r := range rs.named {
		if r.cursor.position == 0 {
			continue
		}
		all = append(all, journal.ReaderState{
			Name: r.name, Position: r.cursor.position,
			Paused: r.cursor.paused, Registered: r.registered, Claimed: r.holder != nil,
			Note: bytes.Clone(r.note),
		})
	}
	slices.SortFunc(all, func(a, b journal.ReaderState) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Pause implements [journal.Operations].
func (j *Journal) Pause(ctx context.Context, name string) error {
	return j.changeAndRevoke(ctx, name, func(r *reader) error {
		c := j.cursorOf(r)
		c.paused = true
		return j.saveCursor(r, c, nil)
	})
}

// Resume implements [journal.Operations].
func (j *Journal) Resume(ctx context.Context, name string) error {
	r, err := j.readers.known(name)
	if err != nil {
		return err
	}
	return j.exclusively(ctx, r, func() error {
		c := j.cursorOf(r)
		c.paused = false
		if err := j.saveCursor(r, c, nil); err != nil {
			return err
		}
		j.readers.mu.Lock()
		defer j.readers.mu.Unlock()
		j.readers.notify()
		return nil
	})
}

// MoveTo implements [journal.Operations]. Requests to pass an event are dropped: they were about the place that the reader
// leaves.
func (j *Journal) MoveTo(ctx context.Context, name string, p sinks.Position) error {
	return j.changeAndRevoke(ctx, name, func(r *reader) error {
		j.readers.needed.Lock()
		defer j.readers.needed.Unlock()
		switch b := j.Bounds(); {
		case p < b.Earliest:
			return sinks.ErrExpired
		case p > b.Next:
			return sinks.ErrFuture
		}
		passes := j.readers.passesBefore(r, ^sinks.Position(0))
		c := j.cursorOf(r)
		c.position, c.moved = p, true
		err := j.saveCursor(r, c, func(b *pebble.Batch) error { return deleteRequests(b, name, passes) })
		if err == nil {
			j.readers.forgetRequests(r, passes)
		}
		return err
	})
}

// Forget implements [journal.Operations]. The reader's parked events and gaps stay, its replays go.
func (j *Journal) Forget(ctx context.Context, name string) error {
	return j.changeAndRevoke(ctx, name, func(r *reader) error {
		lower, upper := readerKeys(prefixReplay, name)
		requests := j.readers.requestsOf(r, func(request) bool { return true })
		err := j.update("forget", func(_ *store, b *pebble.Batch) error {
			return errors.Join(b.Delete(cursorKey(name), nil), deleteRequests(b, name, requests), b.DeleteRange(lower, upper, nil))
		})
		if err != nil {
			return err
		}
		j.readers.forgetRequests(r, requests)
		j.readers.mu.Lock()
		defer j.readers.mu.Unlock()
		r.cursor, r.registered, r.note, r.replays = cursor{}, false, nil, nil
		return nil
	})
}

// changeAndRevoke changes a reader, durably, and takes its claim away.
func (j *Journal) changeAndRevoke(ctx context.Context, name string, change func(*reader) error) error {
	r, err := j.readers.known(name)
	if err != nil {
		return err
	}
	return j.exclusively(ctx, r, func() error {
		if err := change(r); err != nil {
			return err
		}
		j.readers.mu.Lock()
		defer j.readers.mu.Unlock()
		j.readers.revoke(r)
		return nil
	})
}
