package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file ends what brokers leave of a transaction.
//
// A coordinator writes a marker into each partition of a transaction, and then calls it complete. Apache Kafka 4.3 leaves out
// partitions that have no leader at that moment (https://issues.apache.org/jira/browse/KAFKA-20734), so after a restart it may write
// no marker at all. Then the group's offset stays unstable, committed records stay invisible, and the marker of a later transaction
// ends the older one too: it may commit what was aborted. No producer and no time-out ends such a rest, but any transaction of the
// same producer does, if it has the partition. So Resume looks for rests, and ends each as its transaction was to end.

// outcome is how a transaction ended.
type outcome int

const (
	unknown outcome = iota
	committed
	aborted
)

// history is what a producer knows of its transactions since the last settle.
type history struct {
	// settled: there was one.
	settled bool
	// outcome is that of the latest transaction. A coordinator forgets it when a session starts.
	outcome outcome
	// finishing is the end of the transaction that ends a rest, once there is one. It does not count as the latest.
	finishing outcome
	// topics are those of all transactions.
	topics map[string]bool
	// written and kept have the offset after the last record of the open transaction, and of committed ones.
	written, kept map[topicPartition]int64
}

func (h *history) begin(partitions []topicPartition) {
	h.written = map[topicPartition]int64{}
	h.addTopics(partitions)
}

func (h *history) addTopics(of []topicPartition) {
	if h.topics == nil {
		h.topics = map[string]bool{}
	}
	for _, at := range of {
		h.topics[at.topic] = true
	}
}

func (h *history) committed() {
	if h.kept == nil {
		h.kept = map[topicPartition]int64{}
	}
	maps.Copy(h.kept, h.written)
	h.written = nil
}

// commits reports whether the rest of a transaction in a partition, from an offset on, must be committed. Since the last settle all
// transactions but the latest were committed. Before the first one that is unknown: an event that comes twice is better than a lost
// one.
func (h *history) commits(at topicPartition, from int64) bool {
	return h.outcome != aborted || !h.settled || from < h.kept[at]
}

// start begins a session. It waits until the coordinator knows the leaders of all partitions, because the start ends a transaction.
func (t *Transactional) start(ctx, work context.Context) error {
	if err := t.producer.askOutcome(ctx, work); err != nil {
		return err
	}
	t.producer.last.addTopics(t.places())
	topics, err := t.sink.cluster.topicsOf(ctx, t.sink.encode.topic)
	if err != nil {
		return fmt.Errorf("kafka: list the topics: %w", err)
	}
	t.producer.last.addTopics(topics)
	if _, err := t.producer.partitions(ctx, work); err != nil {
		return err
	}
	return t.producer.start(ctx, work)
}

// places returns the partitions that may have the position, as far as the sink knows.
func (t *Transactional) places() []topicPartition {
	places := slices.Clone(t.kept)
	if fixed := t.sink.encode.topic.fixed(); fixed != "" && !slices.Contains(places, topicPartition{topic: fixed}) {
		places = append(places, topicPartition{topic: fixed})
	}
	return places
}

// settle ends the rests of transactions. It returns the group's offsets, and the partitions that may have records of the sink, with
// their leaders. The session must have started.
func (t *Transactional) settle(ctx, work context.Context) ([]storedOffset, leaders, error) {
	p := t.producer
	stored, unstable, err := t.offsets(ctx, work)
	if err != nil && !unstable {
		return nil, nil, err
	}
	for _, o := range stored {
		p.last.addTopics([]topicPartition{o.at})
	}
	partitions, err := p.partitions(ctx, work)
	if err != nil {
		return nil, nil, err
	}
	rests, err := t.sink.cluster.openTransactions(ctx, partitions.all())
	if err != nil {
		return nil, nil, fmt.Errorf("kafka: look for open transactions: %w", err)
	}
	var commit, abort []topicPartition
	for at, from := range rests {
		if p.last.commits(at, from) {
			commit = append(commit, at)
		} else {
			abort = append(abort, at)
		}
	}
	commitOffsets := p.last.outcome == committed
	err = p.finish(ctx, work, commit, unstable && commitOffsets, true)
	if err == nil {
		err = p.finish(ctx, work, abort, unstable && !commitOffsets, false)
	}
	if err == nil && unstable {
		stored, _, err = t.offsets(ctx, work)
	}
	if err != nil {
		return nil, nil, err
	}
	p.last = history{settled: true}
	return stored, partitions, nil
}

// offsets returns the group's offsets. unstable: the error is that an open transaction has some of them.
func (t *Transactional) offsets(ctx, work context.Context) (stored []storedOffset, unstable bool, err error) {
	stored, err = t.producer.offsets(ctx, work)
	if places := t.places(); err == nil && len(places) > 0 {
		// A partition's first offset is not among all offsets before it is committed.
		_, err = t.producer.offsets(ctx, work, places...)
	}
	return stored, errors.Is(err, kafkago.UnstableOffsetCommit), err
}

// finish ends the rests of transactions in some partitions, and in the group's offsets.
func (p *producer) finish(ctx, work context.Context, partitions []topicPartition, offsets, commit bool) error {
	if len(partitions) == 0 && !offsets {
		return nil
	}
	p.last.finishing = aborted
	if commit {
		p.last.finishing = committed
	}
	if len(partitions) > 0 {
		if err := p.begin(ctx, work, partitions); err != nil {
			return err
		}
	}
	if offsets {
		if err := p.addOffsets(ctx, work); err != nil {
			return err
		}
	}
	return p.end(ctx, work, commit)
}

// askOutcome asks the coordinator how the last transaction ended, or will end when a session starts. Brokers before Kafka 3.0
// cannot tell, and write all markers.
func (p *producer) askOutcome(ctx, work context.Context) error {
	err := p.transactions.await(ctx, func() error {
		request := kmsg.NewPtrDescribeTransactionsRequest()
		request.TransactionalIDs = []string{p.name}
		answer, err := p.transactions.ask(work, flexible{request})
		if err != nil {
			return err
		}
		for _, state := range answer.(flexibleAnswer).Response.(*kmsg.DescribeTransactionsResponse).TransactionStates {
			if state.ErrorCode != 0 {
				return kafkago.Error(state.ErrorCode)
			}
			p.last.add(state)
		}
		return nil
	})
	if errors.Is(err, kafkago.UnsupportedVersion) || errors.Is(err, kafkago.TransactionalIDNotFound) {
		return nil
	}
	return p.result("ask for the last transaction", err)
}

func (h *history) add(state kmsg.DescribeTransactionsResponseTransactionState) {
	switch ended := state.State; {
	case h.finishing != unknown:
	case ended == "PrepareCommit" || ended == "CompleteCommit":
		h.outcome = committed
	case ended != "Empty" && ended != "Dead":
		h.outcome = aborted
	}
	for _, topic := range state.Topics {
		h.addTopics([]topicPartition{{topic: topic.Topic}})
	}
}

// leaders has partitions with the ids of the brokers that lead them.
type leaders map[topicPartition]int32

func (l leaders) all() []topicPartition { return slices.Collect(maps.Keys(l)) }

// partitions returns those of all topics of the history that exist. It waits until each has a leader, from the coordinator's view.
func (p *producer) partitions(ctx, work context.Context) (found leaders, err error) {
	delete(p.last.topics, groupsTopic)
	if len(p.last.topics) == 0 {
		return nil, nil
	}
	request := kmsg.NewPtrMetadataRequest()
	request.Version = flexibleMetadata
	for _, name := range slices.Sorted(maps.Keys(p.last.topics)) {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	err = p.transactions.await(ctx, func() error {
		// kafka-go would answer its own request from its cache.
		answer, err := p.transactions.ask(work, flexible{request})
		if err != nil {
			return err
		}
		found, err = ledPartitions(answer.(flexibleAnswer).Response.(*kmsg.MetadataResponse))
		return err
	})
	return found, p.result("find the partitions", err)
}

// flexibleMetadata is the first version of Metadata with flexible headers. Brokers have had it since Kafka 2.4.
const flexibleMetadata = 9

// groupsTopic has the offsets of groups. They are asked for at the group's coordinator.
const groupsTopic = "__consumer_offsets"

func ledPartitions(answer *kmsg.MetadataResponse) (leaders, error) {
	found := leaders{}
	for _, topic := range answer.Topics {
		switch code := kafkago.Error(topic.ErrorCode); code {
		case 0:
		case kafkago.UnknownTopicOrPartition:
			continue
		default:
			return nil, fmt.Errorf("topic %s: %w", *topic.Topic, code)
		}
		for _, at := range topic.Partitions {
			if at.Leader < 0 {
				return nil, fmt.Errorf("topic %s, partition %d: %w", *topic.Topic, at.Partition, kafkago.LeaderNotAvailable)
			}
			found[topicPartition{*topic.Topic, int(at.Partition)}] = at.Leader
		}
	}
	return found, nil
}

// openTransactions returns the partitions that have records of open transactions, of any producers, and the offset of the first
// one.
func (c *cluster) openTransactions(ctx context.Context, partitions []topicPartition) (map[topicPartition]int64, error) {
	stable, err := c.ends(ctx, partitions, kafkago.ReadCommitted)
	if err != nil {
		return nil, err
	}
	ends, err := c.ends(ctx, partitions, kafkago.ReadUncommitted)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(stable, func(at topicPartition, end int64) bool { return end >= ends[at] })
	return stable, nil
}

// ends returns the offset after the last record of each partition.
func (c *cluster) ends(ctx context.Context, partitions []topicPartition, level kafkago.IsolationLevel) (map[topicPartition]int64, error) {
	ends := map[topicPartition]int64{}
	if len(partitions) == 0 {
		return ends, nil
	}
	topics := map[string][]kafkago.OffsetRequest{}
	for _, at := range partitions {
		topics[at.topic] = append(topics[at.topic], kafkago.LastOffsetOf(at.partition))
	}
	answer, err := c.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: topics, IsolationLevel: level})
	if err != nil {
		return nil, err
	}
	for topic, partitions := range answer.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("topic %s, partition %d: %w", topic, p.Partition, p.Error)
			}
			ends[topicPartition{topic, p.Partition}] = p.LastOffset
		}
	}
	return ends, nil
}
