// Package kafka is a [sinks.Sink] onto topics of Apache Kafka, and of what speaks its protocol.
//
// A record's key is [Key] of the event's source and subject, its headers are the attributes of CloudEvents 1.0 in their
// Kafka binding (ce_id, ce_type, …), its value is the whole event in the configured [Format]. Its timestamp is when the
// webhook was received: what a vendor says, which is ce_time, may be years off, and topics refuse or expire by timestamp.
//
// # Delivery
//
// At least once. An event is delivered when all in-sync replicas have it (acks=all); how many these are is the topic's
// min.insync.replicas. kafka-go has no idempotent producer, so a request whose answer is lost is sent again, and its records are there
// twice. They carry the same ce_id.
//
// Deliver spreads events over partitions as Java's default partitioner does (murmur2 of the key) and reports the lowest event
// that is not acknowledged. Of events after it, some may be there already and will be there again.
//
// # Ordering
//
// Per partition, hence per key within a topic: a partition's share of a Deliver is one produce request, or several when it
// exceeds [Config.BatchBytes], the next sent when the last was acknowledged, and none after a failure. Nothing is retried
// inside, and no request is left behind: when Deliver returns early its connections are closed before anything is sent
// again. What a broker had already read of it by then it may still append; nothing short of idempotence prevents that.
//
// A topic per event type ({type}) keeps the order of the events of one type only. Adding partitions to a topic moves keys; their order
// holds before and after, not across.
//
// # Errors
//
// Refused for good are events that have no id or cannot be decoded, whose topic's name would not be valid, that are larger than
// [Config.MaxRecordBytes] or than the topic takes, and that the broker calls invalid one by one. Where a batch is refused for
// what is in it, it is divided until the event is found. All else may be tried again: unreachable brokers, missing topics,
// credentials and permissions, which an operator can put right.
//
// # Configuration
//
// [Config]; docs/sinks/kafka.md describes each key.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/webhook-bridge/bridge/sinks"
)

// patience is how long answers to what was sent are still awaited when Deliver shall end: cutting a request off leaves unknown
// whether its records are there.
const patience = 500 * time.Millisecond

// Sink delivers to topics.
type Sink struct {
	topic    topicTemplate
	encode   encoder
	cluster  *cluster
	batch    int
	compress kafkago.Compression

	delivering sync.Mutex         // Held by Deliver.
	life       context.Context    // Done when the sink is closed.
	end        context.CancelFunc // Ends life.

	// limits holds, by topic, how large batches may be where the topic was found to take less than batch. Guarded by mu.
	mu     sync.Mutex
	limits map[string]int
}

// Open returns a sink. Where the configuration is wrong, the error joins all its problems, each a [*KeyError]. Brokers are contacted
// only if [Config.Required] is set: then it fails, within ctx and [Config.Timeout], unless they answer and the topic, when it is a
// fixed one, exists or can be created. Otherwise a sink opens while Kafka is down, and Deliver says so.
func Open(ctx context.Context, c Config) (*Sink, error) {
	parts, problems := c.resolve()
	if len(problems) > 0 {
		return nil, fmt.Errorf("kafka: open: %w", errors.Join(problems...))
	}
	life, end := context.WithCancel(context.Background())
	s := &Sink{
		topic:    parts.topic,
		encode:   encoder{format: c.Format, largest: parts.maxRecordBytes},
		cluster:  newCluster(parts),
		batch:    parts.batchBytes,
		compress: parts.compression,
		life:     life,
		end:      end,
		limits:   map[string]int{},
	}
	if c.Required {
		if err := s.cluster.check(ctx, s.topic.fixed()); err != nil {
			return nil, fmt.Errorf("kafka: open: %w", errors.Join(err, s.Close()))
		}
	}
	return s, nil
}

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	if s.life.Err() != nil {
		return 0, sinks.ErrClosed
	}
	if len(events) == 0 {
		return 0, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	defer s.cluster.cutAfter(ctx, patience)()

	n, err := s.deliver(ctx, events)
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, sinks.ErrPermanent) {
		s.cluster.reset()
		if s.life.Err() != nil {
			return n, sinks.ErrClosed
		}
		if done := ctx.Err(); done != nil {
			return n, done
		}
	}
	return n, err
}

// deliver sends the events before the first that cannot be sent at all, and so finds what comes first: that one, or one that was
// not taken.
func (s *Sink) deliver(ctx context.Context, events []sinks.Record) (int, error) {
	messages, encodeErr := s.encodeAll(events)
	shares, routed, err := s.route(ctx, messages)
	if err == nil {
		err = encodeErr
	}
	if n, failed := s.send(ctx, shares, routed); n < routed {
		return n, failed
	}
	return routed, err
}

// encodeAll returns the messages of events before the first that cannot be encoded, and why it cannot.
func (s *Sink) encodeAll(events []sinks.Record) ([]message, error) {
	messages := make([]message, len(events))
	for i, e := range events {
		var err error
		if messages[i], err = s.encode.message(e, s.topic); err != nil {
			return messages[:i], sinks.Permanent(fmt.Errorf("kafka: deliver: event at %d: %w", e.Position, err))
		}
	}
	return messages, nil
}

// route divides messages among partitions. It stops at the first whose topic is not to be had, and says why.
func (s *Sink) route(ctx context.Context, messages []message) ([]*share, int, error) {
	var shares []*share
	type place struct {
		topic     string
		partition int
	}
	at := map[place]*share{}
	topics := map[string][]int{}
	for i := range messages {
		m := &messages[i]
		partitions, known := topics[m.topic]
		if !known {
			var err error
			if partitions, err = s.cluster.partitions(ctx, m.topic); err != nil {
				return shares, i, fmt.Errorf("kafka: deliver: topic %s: %w", m.topic, err)
			}
			topics[m.topic] = partitions
		}
		p := place{m.topic, partition(m.key, partitions)}
		if at[p] == nil {
			at[p] = &share{topic: p.topic, partition: p.partition}
			shares = append(shares, at[p])
		}
		at[p].add(i, m)
	}
	return shares, len(messages), nil
}

// Close implements [sinks.Sink]. It waits for a Deliver under way, which ends soon.
func (s *Sink) Close() error {
	s.end()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.cluster.reset()
	return nil
}
