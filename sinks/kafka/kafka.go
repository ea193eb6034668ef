// Package kafka is a [sinks.Sink] that writes to topics of Apache Kafka, or of a broker with the same protocol.
//
// A record's key is [Key] of the event's source and subject, or made from [Config.Key]. Its headers are the attributes of CloudEvents 1.0 in their Kafka
// binding (ce_id, ce_type, …). Its value is the whole event in the configured [Format]. Its timestamp is the time at which the
// webhook was received. The vendor's time is in ce_time: it may be years wrong, and topics refuse or expire records by
// timestamp.
//
// # Delivery
//
// [Open] returns a sink that delivers at least once, [OpenTransactional] one that delivers exactly once, to consumers that read
// committed records. An event is delivered when all in-sync replicas have it (acks=all); the topic's min.insync.replicas sets their
// number.
//
// At least once: if the answer to a request is lost, the sink sends the request again, and its records are stored twice, with the
// same ce_id. Exactly once: see [Transactional].
//
// Deliver assigns events to partitions as Java's default partitioner does (murmur2 of the key). At least once, it returns the
// lowest event that is not acknowledged. Some of the events after it may already be stored, and will be stored again.
//
// # Ordering
//
// Per partition, and so per key within a topic. The records of a Deliver for one partition are one produce request, or several
// if they exceed [Config.BatchBytes]. The next request is sent after the last was acknowledged, and none is sent after a
// failure. The sink does not retry, and leaves no request behind: when Deliver returns early, it closes the connections before
// the next request. A broker may still append the bytes that it had read before; only an idempotent producer prevents that.
//
// One topic for each event type ({type}) keeps the order of the events of one type only. Adding partitions to a topic moves
// keys to other partitions; a key's order then holds before and after the change, but not across it.
//
// # Errors
//
// An event is refused permanently if it has no id, if its topic's name would be invalid, if it is larger than
// [Config.MaxRecordBytes] or than the topic accepts, or if the broker calls it invalid. If the broker refuses a batch because
// of its records, the sink divides the batch until it finds the event. All other errors may be retried: unreachable brokers,
// missing topics, wrong credentials and permissions, a schema registry that is away or refuses the schema. An operator can correct
// them.
//
// # Configuration
//
// [Config]. docs/sinks/kafka.md describes each key.
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

// drainTimeout is how long Deliver still waits for answers after its context is done. If it closed the connections at once, it
// would be unknown whether the records were stored.
const drainTimeout = 500 * time.Millisecond

// Sink delivers to topics.
type Sink struct {
	encode     encoder
	cluster    *cluster
	batchBytes int
	compress   kafkago.Compression

	delivering sync.Mutex      // Held by Deliver.
	ctx        context.Context // Done when the sink is closed.
	cancel     context.CancelFunc

	// requestLimits has the largest request, by topic, for topics that accept less than batchBytes. Guarded by mu.
	mu            sync.Mutex
	requestLimits map[string]int
}

// Open returns a sink. If the configuration is wrong, the error joins all problems, each a [*KeyError]. Only with
// [Config.Required] it connects to brokers: it then fails, within ctx and [Config.Timeout], unless they answer and a fixed
// topic and its schema exist or can be created. Otherwise Open succeeds while Kafka is down, and Deliver returns the error.
func Open(ctx context.Context, c Config) (*Sink, error) {
	parts, problems := c.resolve()
	if len(problems) > 0 {
		return nil, fmt.Errorf("kafka: open: %w", errors.Join(problems...))
	}
	sinkCtx, cancel := context.WithCancel(context.Background())
	s := &Sink{
		encode: encoder{
			topic: parts.topic, key: parts.key, format: c.Format, tombstones: c.Tombstones, largest: parts.maxRecordBytes,
			registry: parts.registry,
		},
		cluster:       newCluster(parts),
		batchBytes:    parts.batchBytes,
		compress:      parts.compression,
		ctx:           sinkCtx,
		cancel:        cancel,
		requestLimits: map[string]int{},
	}
	if c.Required {
		if err := s.checkRequired(ctx, parts.topic.fixed()); err != nil {
			return nil, fmt.Errorf("kafka: open: %w", errors.Join(explain(err), s.Close()))
		}
	}
	return s, nil
}

// checkRequired returns an error unless brokers answer, and a fixed topic and its schema exist or can be created.
func (s *Sink) checkRequired(ctx context.Context, topic string) error {
	if err := s.cluster.checkReachable(ctx, topic); err != nil {
		return err
	}
	if s.encode.registry == nil || topic == "" {
		return nil
	}
	_, err := s.encode.registry.frame(ctx, topic, nil)
	return err
}

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	if len(events) == 0 {
		return 0, s.closed()
	}
	n := 0
	err := s.call(ctx, func(ctx context.Context) (err error) {
		n, err = s.deliver(ctx, events)
		return err
	})
	return n, err
}

// call runs do with a context that is also done when the sink is closed. There is one call at a time. When the context is done,
// the requests in progress have drainTimeout more. After an error that is not about an event, the next call begins with new
// connections.
func (s *Sink) call(ctx context.Context, do func(context.Context) error) error {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	if err := s.closed(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	defer s.cluster.connections.CloseAfter(ctx, drainTimeout)()

	err := do(ctx)
	if err == nil || errors.Is(err, sinks.ErrPermanent) {
		return err
	}
	s.cluster.reset()
	if err := s.closed(); err != nil {
		return err
	}
	if done := ctx.Err(); done != nil {
		return done
	}
	return explain(err)
}

func (s *Sink) closed() error {
	if s.ctx.Err() != nil {
		return sinks.ErrClosed
	}
	return nil
}

// deliver sends the events before the first one that cannot be sent. So it finds the first problem: that event, or an earlier
// one that was not accepted.
func (s *Sink) deliver(ctx context.Context, events []sinks.Record) (int, error) {
	messages, encodeErr := s.encodeAll(ctx, events)
	batches, routed, err := s.route(ctx, messages)
	if err == nil {
		err = encodeErr
	}
	if n, failed := s.sendAll(ctx, each(batches), routed, s.produce); n < routed {
		return n, failed
	}
	return routed, err
}

// produce is a [writeFunc].
func (s *Sink) produce(ctx context.Context, chunks []*chunk) {
	s.cluster.produce(ctx, chunks, "", func(c *chunk) ([]byte, error) {
		set, err := recordSet(c, s.compress, 0)
		if err != nil {
			return nil, err
		}
		seal(set, noSession, -1)
		return set, nil
	})
}

// route divides messages among partitions. It stops at the first message whose topic is unavailable, with the error.
func (s *Sink) route(ctx context.Context, messages []message) ([]*partitionBatch, int, error) {
	var batches []*partitionBatch
	byPartition := map[topicPartition]*partitionBatch{}
	topics := map[string]partitions{}
	for i := range messages {
		m := &messages[i]
		led, known := topics[m.topic]
		if !known {
			var err error
			if led, err = s.cluster.partitions(ctx, m.topic); err != nil {
				return batches, i, fmt.Errorf("kafka: deliver: topic %s: %w", m.topic, err)
			}
			topics[m.topic] = led
		}
		p := topicPartition{m.topic, partition(m.key, led.ids)}
		if byPartition[p] == nil {
			byPartition[p] = &partitionBatch{topicPartition: p, leader: led.leaders[p.partition]}
			batches = append(batches, byPartition[p])
		}
		byPartition[p].add(i, m)
	}
	return batches, len(messages), nil
}

// Close implements [sinks.Sink]. It waits for a running Deliver, which ends soon.
func (s *Sink) Close() error {
	s.cancel()
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.cluster.reset()
	if s.encode.registry != nil {
		s.encode.registry.client.Close()
	}
	return nil
}
