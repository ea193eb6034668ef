package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/addoffsetstotxn"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/txnoffsetcommit"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/webhook-bridge/bridge/sinks"
)

// producer writes transactions. The broker that coordinates them lets only the latest session write. One goroutine at a time uses
// a producer, but produce, addOffsets and commitOffset may run at the same time.
//
// Methods with two contexts repeat requests until the first one is done. The second one is that of the requests.
type producer struct {
	cluster *cluster
	// name is the transactional id, and the group whose offset is the position.
	name     string
	timeout  time.Duration // Of a transaction. Then the coordinator aborts it.
	compress kafkago.Compression

	transactions, group coordinator

	session session
	// fenced: another producer has the name now.
	fenced atomic.Bool

	mu   sync.Mutex
	next map[topicPartition]int32 // The sequence number of the next record. Guarded by mu.

	last history // What settle has to know.
}

// session is the identity of a producer from one start to the next.
type session struct {
	id    int64
	epoch int16
}

func newProducer(c *cluster, parts resolved, name string) *producer {
	return &producer{
		cluster: c, name: name, timeout: parts.transactionTimeout, compress: parts.compression,
		transactions: coordinator{cluster: c, kind: kafkago.CoordinatorKeyTypeTransaction, name: name},
		group:        coordinator{cluster: c, kind: kafkago.CoordinatorKeyTypeConsumer, name: name},
		session:      session{-1, -1},
	}
}

// start begins a session. It ends the transaction that the last session left open. A new producer takes the name from all
// others; later, start fails if another one has taken it.
func (p *producer) start(ctx, work context.Context) error {
	if p.session.id >= 0 {
		// A coordinator that aborts a transaction by itself, when a session starts, no longer knows the session before it.
		commit := p.last.finishing == committed
		if err := p.end(ctx, work, commit); err != nil && !errors.Is(err, kafkago.InvalidTransactionState) {
			return err
		}
	}
	return p.result("start a producer", p.transactions.await(ctx, func() error {
		answer, err := p.transactions.ask(work, &initproducerid.Request{
			TransactionalID:      p.name,
			TransactionTimeoutMs: int32(p.timeout.Milliseconds()),
			ProducerID:           p.session.id,
			ProducerEpoch:        p.session.epoch,
		})
		if err != nil {
			return err
		}
		got := answer.(*initproducerid.Response)
		if got.ErrorCode != 0 {
			return kafkago.Error(got.ErrorCode)
		}
		p.session = session{got.ProducerID, got.ProducerEpoch}
		p.next = map[topicPartition]int32{}
		return nil
	}))
}

// begin begins a transaction that writes to partitions.
func (p *producer) begin(ctx, work context.Context, partitions []topicPartition) error {
	p.last.begin(partitions)
	request := &addpartitionstotxn.Request{TransactionalID: p.name, ProducerID: p.session.id, ProducerEpoch: p.session.epoch}
	for topic, ids := range byTopic(partitions) {
		request.Topics = append(request.Topics, addpartitionstotxn.RequestTopic{Name: topic, Partitions: ids})
	}
	return p.result("begin a transaction", p.transactions.await(ctx, func() error {
		answer, err := p.transactions.ask(work, request)
		if err != nil {
			return err
		}
		for _, topic := range answer.(*addpartitionstotxn.Response).Results {
			for _, r := range topic.Results {
				if code := kafkago.Error(r.ErrorCode); code != 0 && code != errNotAttempted {
					return fmt.Errorf("topic %s, partition %d: %w", topic.Name, r.PartitionIndex, code)
				}
			}
		}
		return nil
	}))
}

// errNotAttempted is the code of a partition that was not added because of another one's error. kafka-go has another name
// for it.
const errNotAttempted kafkago.Error = 55

func byTopic(partitions []topicPartition) map[string][]int32 {
	topics := map[string][]int32{}
	for _, at := range partitions {
		topics[at.topic] = append(topics[at.topic], int32(at.partition))
	}
	return topics
}

// produce is a [writeFunc] of the transaction. Chunks whose leaders are not ready are written again: a broker stores a repeated
// sequence number once.
func (p *producer) produce(ctx context.Context, chunks []*chunk) {
	left := chunks
	// The chunks have the errors.
	_ = await(ctx, func() error {
		p.cluster.produce(ctx, left, p.name, p.encode)
		left = slices.DeleteFunc(slices.Clone(left), func(c *chunk) bool { return !isAwaited(c.err, 0) })
		if len(left) == 0 {
			return nil
		}
		return left[0].err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range chunks {
		if c.err == nil {
			p.next[c.topicPartition] = addSequence(p.next[c.topicPartition], c.count)
			p.last.written[c.topicPartition] = c.offset + int64(c.count)
		}
		c.err = p.noteFenced(c.err)
	}
}

func (p *producer) encode(c *chunk) ([]byte, error) {
	set, err := recordSet(c, p.compress, protocol.Transactional)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	sequence := p.next[c.topicPartition]
	p.mu.Unlock()
	seal(set, p.session, sequence)
	return set, nil
}

// addOffsets makes the group's offsets a part of the transaction, or begins one with them.
func (p *producer) addOffsets(ctx, work context.Context) error {
	return p.result("add the position to the transaction", p.transactions.await(ctx, func() error {
		answer, err := p.transactions.ask(work, &addoffsetstotxn.Request{
			TransactionalID: p.name, ProducerID: p.session.id, ProducerEpoch: p.session.epoch, GroupID: p.name,
		})
		if err != nil {
			return err
		}
		return asError(answer.(*addoffsetstotxn.Response).ErrorCode)
	}))
}

// commitOffset makes an offset the group's for some partitions, when the transaction is committed. It returns the partitions
// that do not exist.
func (p *producer) commitOffset(ctx, work context.Context, at []topicPartition, offset int64, metadata string) (missing []topicPartition, err error) {
	request := &txnoffsetcommit.Request{
		TransactionalID: p.name, GroupID: p.name, ProducerID: p.session.id, ProducerEpoch: p.session.epoch, GenerationID: -1,
	}
	for topic, ids := range byTopic(at) {
		t := txnoffsetcommit.RequestTopic{Name: topic}
		for _, id := range ids {
			t.Partitions = append(t.Partitions, txnoffsetcommit.RequestPartition{
				Partition: id, CommittedOffset: offset, CommittedLeaderEpoch: -1, CommittedMetadata: metadata,
			})
		}
		request.Topics = append(request.Topics, t)
	}
	err = p.group.await(ctx, func() error {
		answer, err := p.group.ask(work, request)
		if err != nil {
			return err
		}
		missing, err = failedOffsets(answer.(*txnoffsetcommit.Response))
		if len(missing) == len(at) {
			return kafkago.UnknownTopicOrPartition
		}
		return err
	})
	return missing, p.result("write the position", err)
}

func failedOffsets(answer *txnoffsetcommit.Response) (missing []topicPartition, err error) {
	for _, topic := range answer.Topics {
		for _, r := range topic.Partitions {
			switch code := kafkago.Error(r.ErrorCode); code {
			case 0:
			case kafkago.UnknownTopicOrPartition:
				missing = append(missing, topicPartition{topic.Name, int(r.Partition)})
			default:
				err = code
			}
		}
	}
	return missing, err
}

// offsets returns the group's committed offsets: all that are stored, or those of some partitions. See [storedOffsets].
func (p *producer) offsets(ctx, work context.Context, of ...topicPartition) (stored []storedOffset, err error) {
	err = p.group.await(ctx, func() error {
		answer, err := p.group.ask(work, stableOffsets(p.name, of))
		if err != nil {
			return err
		}
		stored, err = storedOffsets(answer.(flexibleAnswer).Response.(*kmsg.OffsetFetchResponse))
		return err
	})
	return stored, p.result("read the position", err)
}

// end commits or aborts the transaction. After an error it is unknown whether it did. A coordinator that gives the name to another
// producer at that moment may answer with an error that says nothing, and tells the reason the next time.
func (p *producer) end(ctx, work context.Context, commit bool) error {
	began := time.Now()
	err := p.transactions.await(ctx, func() error {
		answer, err := p.transactions.ask(work, &endtxn.Request{
			TransactionalID: p.name, ProducerID: p.session.id, ProducerEpoch: p.session.epoch, Committed: commit,
		})
		if err != nil {
			return err
		}
		err = asError(answer.(*endtxn.Response).ErrorCode)
		if errors.Is(err, kafkago.Unknown) && time.Since(began) < endWithin {
			return fmt.Errorf("%w: %w", kafkago.ConcurrentTransactions, err)
		}
		return err
	})
	if err == nil && commit {
		p.last.committed()
	}
	return p.result("end the transaction", err)
}

func asError(code int16) error {
	if code == 0 {
		return nil
	}
	return kafkago.Error(code)
}

func (p *producer) result(what string, err error) error {
	if err == nil {
		return nil
	}
	return p.noteFenced(fmt.Errorf("kafka: %s: %w", what, err))
}

// noteFenced adds [sinks.ErrFenced] to the errors that mean it, and remembers that.
func (p *producer) noteFenced(err error) error {
	for _, code := range []kafkago.Error{kafkago.ProducerFenced, kafkago.InvalidProducerEpoch} {
		if errors.Is(err, code) {
			p.fenced.Store(true)
			return fmt.Errorf("%w: %w", sinks.ErrFenced, err)
		}
	}
	return err
}
