package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
	"github.com/webhook-bridge/bridge/sinks"
)

// prefixParked is the prefix of parked events: reader, NUL, position → bridge.journal.v1.Parked.
const prefixParked = 'p'

// park writes a parked event by the rules of [letters.Park]. A request to retry or to pass the event is then done. An event that is
// not parked yet is parked only if add is set. The caller holds r.writing.
func (j *Journal) park(r *reader, p *journalv1.Parked, add bool) error {
	done := j.readers.requestsAt(r, sinks.Position(p.GetPosition()))
	err := j.update("park", func(st *store, b *pebble.Batch) error {
		return errors.Join(j.addParked(st.db, b, r.name, p, add), deleteRequests(b, r.name, done))
	})
	j.readers.parkedChanged(r)
	if err == nil {
		j.readers.forgetRequests(r, done)
	}
	return err
}

// addParked adds to a batch what park writes. db shows what was written before.
func (j *Journal) addParked(db pebble.Reader, b *pebble.Batch, name string, p *journalv1.Parked, add bool) error {
	key := readerKey(prefixParked, name, sinks.Position(p.GetPosition()))
	known := new(journalv1.Parked)
	switch err := getMessage(db, key, known); {
	case err == nil:
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	case !add:
		return nil
	default:
		known = nil
	}
	return setMessage(b, key, letters.Park(name, p, known, j.cfg.Now()))
}

// parkedChanged says that a parked event of a reader was written, or may have been. It is called when the write has ended.
func (rs *readers) parkedChanged(r *reader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.parkedChanges++
}

// countParked returns how many events a reader has parked. It counts them again only when one was written since.
func (j *Journal) countParked(ctx context.Context, r *reader) (n uint64, err error) {
	rs := &j.readers
	rs.mu.Lock()
	changes := r.parkedChanges
	if changes == r.parkedCounted {
		n = r.parked
		rs.mu.Unlock()
		return n, nil
	}
	rs.mu.Unlock()
	err = j.view(ctx, func(st *store) (err error) {
		lower, upper := readerKeys(prefixParked, r.name)
		n, err = st.countKeys(ctx, lower, upper)
		return err
	})
	if err != nil {
		return 0, err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.parked, r.parkedCounted = n, changes
	return n, nil
}

// unpark removes a parked event and the requests about it. The caller holds r.writing.
func (j *Journal) unpark(r *reader, p sinks.Position) error {
	done := j.readers.requestsAt(r, p)
	defer j.readers.parkedChanged(r)
	err := j.update("unpark", func(_ *store, b *pebble.Batch) error {
		return errors.Join(b.Delete(readerKey(prefixParked, r.name, p), nil), deleteRequests(b, r.name, done))
	})
	if err == nil {
		j.readers.forgetRequests(r, done)
	}
	return err
}

// Parked implements [journal.DeadLetters].
func (j *Journal) Parked(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error) {
	lower, upper := readerKeys(prefixParked, name)
	if name != "" {
		lower = binary.BigEndian.AppendUint64(lower, uint64(from))
	}
	var all []*journalv1.Parked
	err := j.view(ctx, func(st *store) error {
		return st.eachKey(lower, upper, func(_, v []byte) (more bool, err error) {
			if len(all) >= limit {
				return false, nil
			}
			p := new(journalv1.Parked)
			all = append(all, p)
			return true, proto.Unmarshal(v, p)
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// withParked calls f for a parked event while no other record of its reader is written. Errors: ErrNotFound if the event is
// not parked, and f's.
func (j *Journal) withParked(ctx context.Context, name string, p sinks.Position, f func(*reader) error) error {
	if err := letters.CheckReader(name); err != nil {
		return err
	}
	r := j.readers.get(name)
	return j.exclusively(ctx, r, func() error {
		err := j.view(ctx, func(st *store) error {
			return st.getMessage(readerKey(prefixParked, name, p), new(journalv1.Parked))
		})
		switch {
		case errors.Is(err, pebble.ErrNotFound):
			return fmt.Errorf("%w: no event of %q is parked at %d", journal.ErrNotFound, name, p)
		case err != nil:
			return err
		}
		return f(r)
	})
}

// RequestRetry implements [journal.DeadLetters].
func (j *Journal) RequestRetry(ctx context.Context, name string, p sinks.Position) error {
	return j.withParked(ctx, name, p, func(r *reader) error { return j.addRequest(r, request{p, requestRetry}) })
}

// RequestPass implements [journal.DeadLetters].
func (j *Journal) RequestPass(ctx context.Context, name string, p sinks.Position) error {
	r, err := j.readers.known(name)
	if err != nil {
		return err
	}
	return j.exclusively(ctx, r, func() error { return j.addRequest(r, request{p, requestPass}) })
}

// DiscardParked implements [journal.DeadLetters].
func (j *Journal) DiscardParked(ctx context.Context, name string, p sinks.Position) error {
	return j.withParked(ctx, name, p, func(r *reader) error { return j.unpark(r, p) })
}

// retainParked removes parked events that are older than their retention.
func (j *Journal) retainParked(now time.Time) error {
	age := j.cfg.Retention.ParkedAge
	if since := now.Sub(j.readers.parkedChecked); age <= 0 || since >= 0 && since < letters.CheckEvery {
		return nil
	}
	before := now.Add(-age)
	var old []*journalv1.Parked
	lower, upper := span(prefixParked)
	err := j.view(j.ctx, func(st *store) error {
		return st.eachKey(lower, upper, func(_, v []byte) (bool, error) {
			p := new(journalv1.Parked)
			if err := proto.Unmarshal(v, p); err != nil {
				return false, err
			}
			if parkedAt(p).Before(before) {
				old = append(old, &journalv1.Parked{Sink: p.GetSink(), Position: p.GetPosition()})
			}
			return true, nil
		})
	})
	if err != nil {
		return fmt.Errorf("parked events: %w", err)
	}
	for _, p := range old {
		if err := j.expireParked(p.GetSink(), sinks.Position(p.GetPosition()), before); err != nil {
			return fmt.Errorf("parked events: %w", err)
		}
	}
	j.readers.parkedChecked = now
	return nil
}

// expireParked removes a parked event unless it was parked again meanwhile.
func (j *Journal) expireParked(name string, p sinks.Position, before time.Time) error {
	r := j.readers.get(name)
	return j.exclusively(j.ctx, r, func() error {
		known := new(journalv1.Parked)
		err := j.view(j.ctx, func(st *store) error { return st.getMessage(readerKey(prefixParked, name, p), known) })
		if errors.Is(err, pebble.ErrNotFound) || err == nil && !parkedAt(known).Before(before) {
			return nil
		}
		if err != nil {
			return err
		}
		j.logger(r).Warn("journal: a parked event was removed for its age", "position", uint64(p))
		return j.unpark(r, p)
	})
}

// parkedAt is when an event was parked last. Records of an older version have only the time of the last attempt.
func parkedAt(p *journalv1.Parked) time.Time {
	if p.GetParkedAt() == nil {
		return p.GetLastAttemptAt().AsTime()
	}
	return p.GetParkedAt().AsTime()
}
