// Package s3 is a [sinks.Sink] that writes events as objects to Amazon S3, or to storage with the same protocol.
//
// An object has the events of one batch and one hour, as lines of JSON compressed with zstd, or as Parquet. Its name has the hour, and
// the positions of its first and last event:
//
//	dt=2026-11-27/hour=10/archive-00000000000000000123-00000000000000000456-9f86d081-7.jsonl.zst
//
// # Delivery
//
// [Resumer] delivers exactly once. Objects never change, and a small object, the state, has the position of the sink. Before the sink
// writes an object, it writes the object's name and the position after it to the state, as pending. If the object exists, the pending
// position counts. So one request, the one that makes the object, makes events and position durable.
//
// Both writes are conditional. The state is written only over the version that was read last (If-Match): so a later opening fences an
// earlier one by writing its own name into the state. The object is written only if there is none of its name (If-None-Match). A later
// opening that finds a pending object missing writes an empty one of that name, without events, so that a request of the earlier
// opening which is still under way changes nothing.
//
// [Sink] delivers at least once, without state and conditions, for storage that has none.
//
// # Ordering
//
// Objects are written one after another, and have the events in the order of Deliver. Names sort in the order of positions within an
// hour.
//
// # Errors
//
// An event that cannot be decoded, or be written in the format, is refused permanently. All others are about the storage, and may be
// retried. A Retry-After with the statuses 429 and 503 is a [*sinks.RetryAfterError].
//
// # Configuration
//
// [Config]. docs/sinks/s3.md describes each key.
package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// Sink writes objects at least once.
type Sink struct {
	store  *store
	format format
	origin sinks.Origin
	prefix string

	delivering sync.Mutex      // Held by Deliver.
	ctx        context.Context // Done when the sink is closed.
	cancel     context.CancelFunc

	// opening names this opening of the sink, and objects counts the objects that it has named.
	opening string
	objects int
}

// Open returns a sink that delivers at least once. It connects to nothing. If the configuration is wrong, the error joins all problems,
// each a [*sinks.KeyError].
func Open(ctx context.Context, from sinks.Origin, c Config) (*Sink, error) {
	parts, problems := c.resolve(ctx)
	if len(problems) > 0 {
		return nil, fmt.Errorf("s3: open: %w", errors.Join(problems...))
	}
	name := make([]byte, 4)
	if _, err := rand.Read(name); err != nil {
		return nil, fmt.Errorf("s3: open: %w", err)
	}
	s := &Sink{store: parts.store, format: parts.format, origin: from, prefix: c.Prefix, opening: hex.EncodeToString(name)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	return s.deliver(ctx, events, func(ctx context.Context, o object) error {
		return s.store.put(ctx, o.key, o.content, always)
	})
}

// object is a part of a batch, ready to be written.
type object struct {
	key     string
	content []byte
	last    sinks.Position
}

// deliver writes the events with put, which is called for one object after another.
func (s *Sink) deliver(ctx context.Context, events []sinks.Record, put func(context.Context, object) error) (n int, err error) {
	err = s.during(ctx, func(ctx context.Context) error {
		for n < len(events) {
			run := events[n:]
			content, done, refusal := s.format.encode(run[:sameHour(run)])
			if done > 0 {
				last := run[done-1]
				if err := put(ctx, object{s.name(run[0], last), content, last.Position}); err != nil {
					return err
				}
				n += done
			}
			if refusal != nil {
				return sinks.Permanent(fmt.Errorf("event at %d: %w", run[done].Position, refusal))
			}
		}
		return nil
	})
	return n, err
}

// during calls f, unless the sink is closed, with a context that ends when the sink is closed, and maps its errors.
func (s *Sink) during(ctx context.Context, f func(context.Context) error) error {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	if s.ctx.Err() != nil {
		return sinks.ErrClosed
	}
	outer := ctx
	if err := outer.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	err := f(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sinks.ErrPermanent), errors.Is(err, sinks.ErrFenced):
	case s.ctx.Err() != nil:
		return sinks.ErrClosed
	case outer.Err() != nil:
		return outer.Err()
	}
	return fmt.Errorf("s3: %w", err)
}

// hourOf returns the hour of an event's receipt.
func hourOf(r *sinks.Record) time.Time { return r.Header.ReceivedAt.UTC().Truncate(time.Hour) }

// sameHour returns how many of the first events are in one object: those up to the first of a later hour. An event of an earlier hour
// does not begin another object.
func sameHour(events []sinks.Record) int {
	hour := hourOf(&events[0])
	for i := range events {
		if hourOf(&events[i]).After(hour) {
			return i
		}
	}
	return len(events)
}

// name returns the name of an object, which no other has.
func (s *Sink) name(first, last sinks.Record) string {
	s.objects++
	return fmt.Sprintf("%s%s%s-%020d-%020d-%s-%d%s", s.prefix, hourOf(&first).Format("dt=2006-01-02/hour=15/"), s.origin.Sink,
		first.Position, last.Position, s.opening, s.objects, s.format.extension())
}

// Close implements [sinks.Sink]. It waits for a running Deliver, which ends soon.
func (s *Sink) Close() error {
	s.cancel()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.store.close()
	return nil
}
