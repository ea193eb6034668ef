package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/webhook-bridge/bridge/sinks"
)

// abortWithin limits the time in which a failed Deliver aborts its transaction. If it cannot, Resume does, or the coordinator after
// the transaction's time-out. Until then consumers that read committed records wait.
const abortWithin = 500 * time.Millisecond

// errNotResumed means that the last call left a transaction, or none was made.
var errNotResumed = errors.New("kafka: the sink must be resumed first")

// Transactional delivers to topics exactly once, for consumers with isolation.level=read_committed: the records of a Deliver are
// one transaction. The position that it reaches is in the same transaction, as the offset of a group, with the log's id and epoch
// as metadata. The transactional id and the group have one name, of the log and the sink.
//
// The last record of each batch has the place of the sink after it in a header. Resume reads the last batches too, because a group's coordinator
// may answer before it has read all offsets again.
//
// A group's offset needs a partition that exists, but does not have to concern it. The position is the offset of partition 0 of each
// topic, so that it survives the deletion of one of several topics.
type Transactional struct {
	sink     *Sink
	producer *producer
	origin   sinks.Origin

	// The fields below belong to the call under way, as the producer does.

	// resumed: the producer has a session without an open transaction.
	resumed bool
	// position is the stored one. 0: none is.
	position sinks.Position
	// moves is how often MoveTo has stored one. See [place].
	moves uint64
	// kept has the partitions with the position.
	kept []topicPartition
}

var _ sinks.Resumer = (*Transactional)(nil)

// OpenTransactional returns a sink that delivers exactly once. It behaves like [Open].
func OpenTransactional(ctx context.Context, c Config, from sinks.Origin) (*Transactional, error) {
	s, err := Open(ctx, c)
	if err != nil {
		return nil, err
	}
	s.encode.reserve = placeSize
	parts, _ := c.resolve() // Open has checked it.
	return &Transactional{sink: s, producer: newProducer(s.cluster, parts, transactionalID(from)), origin: from}, nil
}

// transactionalID returns the name of an origin's producer, and of its group.
func transactionalID(from sinks.Origin) string { return "bridge." + from.Log.ID() + "." + from.Sink }

// Resume implements [sinks.Resumer].
func (t *Transactional) Resume(ctx context.Context) (reached sinks.Reached, found bool, err error) {
	err = t.call(ctx, func(ctx, work context.Context) error {
		t.resumed = false
		if err := t.start(ctx, work); err != nil {
			return err
		}
		stored, partitions, err := t.settle(ctx, work)
		if err != nil {
			return err
		}
		reached, found, err = t.reached(ctx, work, stored, partitions)
		if err != nil {
			return err
		}
		t.resumed = true
		return nil
	})
	return reached, found, err
}

// reached returns the later place of the group's offsets and of the last records in some partitions.
func (t *Transactional) reached(ctx, work context.Context, stored []storedOffset, in leaders) (reached sinks.Reached, found bool, err error) {
	log, at, found := t.latest(stored)
	var written *writtenPlace
	err = await(ctx, func() (err error) {
		written, err = t.sink.cluster.lastPlace(work, t.producer.session.id, in)
		return err
	})
	if err != nil {
		return reached, false, fmt.Errorf("kafka: read the last records: %w", err)
	}
	if written != nil && (!found || written.isAfter(at)) {
		log, at, found = t.origin.Log.ID(), written.place, true
		t.keepIn(written.topic)
	}
	t.position, t.moves = at.mark.Position, at.moves
	return sinks.Reached{Log: log, Mark: at.mark}, found, nil
}

// MoveTo implements [sinks.Resumer]. While there is no topic, there is no place for a position either. Then MoveTo stores nothing:
// without a position at the destination, that of the caller counts.
func (t *Transactional) MoveTo(ctx context.Context, p sinks.Position) error {
	return t.call(ctx, func(ctx, work context.Context) error {
		if !t.resumed {
			return errNotResumed
		}
		if fixed := t.sink.encode.topic.fixed(); fixed != "" {
			if _, err := t.sink.cluster.partitions(ctx, fixed); err != nil {
				return fmt.Errorf("kafka: move: topic %s: %w", fixed, err)
			}
			t.keepIn(fixed)
		}
		if len(t.kept) == 0 {
			t.position = p
			return nil
		}
		t.resumed = false
		if err := t.producer.addOffsets(ctx, work); err != nil {
			return err
		}
		if err := t.storePosition(ctx, work, p, t.moves+1); err != nil {
			_, err = t.giveUp(work, 0, err)
			return err
		}
		if err := t.producer.end(ctx, work, true); err != nil {
			return err
		}
		t.position, t.moves, t.resumed = p, t.moves+1, true
		return nil
	})
}

// Deliver implements [sinks.Sink].
func (t *Transactional) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	if len(events) == 0 {
		return 0, t.sink.closed()
	}
	n := 0
	err := t.call(ctx, func(ctx, work context.Context) (err error) {
		n, err = t.deliver(ctx, work, events)
		return err
	})
	return n, err
}

// Close implements [sinks.Sink].
func (t *Transactional) Close() error { return t.sink.Close() }

// call runs do as [Sink.call] does. The second context is that of requests: it is done some time after the first one, because a
// request that is cut off may have succeeded.
func (t *Transactional) call(ctx context.Context, do func(ctx, work context.Context) error) error {
	return t.sink.call(ctx, func(ctx context.Context) error {
		if t.producer.fenced.Load() {
			return sinks.ErrFenced
		}
		work, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() {
			if pause(work, drainTimeout) {
				cancel()
			}
		})()
		return do(ctx, work)
	})
}

// deliver commits the events before the first one that cannot be sent, or that a broker refuses.
func (t *Transactional) deliver(ctx, work context.Context, events []sinks.Record) (int, error) {
	if !t.resumed {
		return 0, errNotResumed
	}
	messages, encodeErr := t.sink.encodeAll(ctx, events)
	batches, end, err := t.sink.route(ctx, messages)
	if err == nil {
		err = encodeErr
	}
	for end > 0 {
		n, failed := t.transact(ctx, work, batches, end, events[end-1].Position+1)
		if failed == nil {
			return n, err
		}
		if !errors.Is(failed, sinks.ErrPermanent) {
			return 0, failed
		}
		end, err = n, failed
	}
	return 0, err
}

// transact writes the first total events in one transaction. It returns total after the commit. Otherwise it returns the index of
// the event that the error is about, and the transaction is aborted. Unless the error is permanent, Resume must come next.
func (t *Transactional) transact(ctx, work context.Context, batches []*partitionBatch, total int, next sinks.Position) (int, error) {
	t.resumed = false
	partitions := t.partitions(batches, total)
	var encoding sync.WaitGroup
	encoding.Go(func() { t.sink.encodeAhead(batches, total, protocol.Transactional) })
	// It waits until the coordinator has completed the last transaction.
	err := t.producer.begin(ctx, work, partitions)
	encoding.Wait()
	if err != nil {
		return 0, err
	}
	n, err := t.write(ctx, work, batches, total, next)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return t.giveUp(work, n, err)
	}
	if err := t.producer.end(ctx, work, true); err != nil {
		return 0, err
	}
	t.position, t.resumed = max(t.position, next), true
	return total, nil
}

// giveUp aborts the transaction because of an error about the event with index n.
func (t *Transactional) giveUp(work context.Context, n int, err error) (int, error) {
	// The abort tells whether another producer is the reason.
	aborted := t.abort(work)
	if t.producer.fenced.Load() && !errors.Is(err, sinks.ErrFenced) {
		return 0, fmt.Errorf("%w: %w", sinks.ErrFenced, err)
	}
	if !errors.Is(err, sinks.ErrPermanent) {
		return 0, err
	}
	if aborted != nil {
		return 0, aborted
	}
	t.resumed = true
	return n, err
}

// partitions returns the partitions of the first total events, and prepares their batches.
func (t *Transactional) partitions(batches []*partitionBatch, total int) []topicPartition {
	var to []topicPartition
	for _, b := range batches {
		b.acked, b.err, b.place = 0, nil, t.placeAfter
		if b.index[0] < total {
			to = append(to, b.topicPartition)
			t.keepIn(b.topic)
		}
	}
	return to
}

// write writes the records, and meanwhile the position.
func (t *Transactional) write(ctx, work context.Context, batches []*partitionBatch, total int, next sinks.Position) (int, error) {
	stored := make(chan error, 1)
	go func() { stored <- t.addPosition(ctx, work, next) }()
	n, err := t.sink.sendAll(ctx, byLeader(batches), total, t.producer.produce)
	if positionErr := <-stored; err == nil && positionErr != nil {
		return 0, positionErr
	}
	return n, err
}

// addPosition writes the position in the transaction, unless it would move back.
func (t *Transactional) addPosition(ctx, work context.Context, p sinks.Position) error {
	if p <= t.position {
		return nil
	}
	if err := t.producer.addOffsets(ctx, work); err != nil {
		return err
	}
	return t.storePosition(ctx, work, p, t.moves)
}

// abort aborts the transaction, without being stopped by the end of the call.
func (t *Transactional) abort(work context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(work), abortWithin)
	defer cancel()
	return t.producer.end(ctx, ctx, false)
}
