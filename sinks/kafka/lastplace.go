package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/webhook-bridge/bridge/sinks"
)

// This file reads a sink's place from the last records in its topics.
//
// The group's offset alone is not enough. A group's coordinator that starts reads all offsets again. Apache Kafka 4.3 may
// take the end of an earlier reading for the end of this one, when a broker gets its partitions back soon. Then it answers with an old offset,
// or with none, and the sink would deliver again what it has delivered since.

// placeHeader is the header of a batch's last record, with the place that the sink reached with the batch, or a later one.
const placeHeader = "bridge_place"

// placeSize is an upper bound of the header's size: two numbers of 20 digits, one of 16, and what is around them.
const placeSize = 10 + len(placeHeader) + 20 + 1 + 16 + 1 + 20

// placeAfter returns the header's value for a batch whose last event is at a position. A retry or a replay does not move the sink back.
func (t *Transactional) placeAfter(p sinks.Position) []byte {
	reached := t.origin.Reached(max(t.position, p+1))
	return place{t.moves, reached.Mark}.append(nil)
}

// append appends the form in a header: moves, epoch in hexadecimal digits, and position.
func (p place) append(to []byte) []byte {
	to = append(strconv.AppendUint(to, p.moves, 10), '-')
	to = append(strconv.AppendUint(to, uint64(p.mark.Epoch), 16), '-')
	return strconv.AppendUint(to, uint64(p.mark.Position), 10)
}

func parsePlace(text []byte) (p place, ok bool) {
	parts := strings.Split(string(text), "-")
	if len(parts) != 3 {
		return place{}, false
	}
	moves, movesErr := strconv.ParseUint(parts[0], 10, 64)
	epoch, epochErr := strconv.ParseUint(parts[1], 16, 64)
	position, positionErr := strconv.ParseUint(parts[2], 10, 64)
	p = place{moves, sinks.Mark{Epoch: sinks.Epoch(epoch), Position: sinks.Position(position)}}
	return p, errors.Join(movesErr, epochErr, positionErr) == nil
}

const (
	// readTogether is the number of partitions whose last records are read at a time.
	readTogether = 8
	// mostBatches limits how many batches of a partition are read. Behind the last one of the sink there may be those of others, and
	// aborted ones.
	mostBatches = 200
)

// writtenPlace is a place in a record of a topic.
type writtenPlace struct {
	place
	topic string
}

// lastPlace returns the latest place in the last committed records of a producer, or nil if there are none. Each partition is read from its
// end back to the producer's last committed batch. Its error is [kafkago.ConcurrentTransactions] while a transaction of the producer has no end.
func (c *cluster) lastPlace(ctx context.Context, producer int64, in leaders) (*writtenPlace, error) {
	written, err := c.writtenBy(ctx, producer, in)
	if err != nil {
		return nil, err
	}
	ends, err := c.ends(ctx, written, kafkago.ReadUncommitted)
	if err != nil {
		return nil, err
	}
	var latest *writtenPlace
	var mu sync.Mutex
	var readers errgroup.Group
	readers.SetLimit(readTogether)
	for at, end := range ends {
		readers.Go(func() error {
			p, err := c.lastPlaceIn(ctx, producer, at, end)
			if err != nil {
				return fmt.Errorf("topic %s, partition %d: %w", at.topic, at.partition, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if p != nil && (latest == nil || p.isAfter(latest.place)) {
				latest = &writtenPlace{*p, at.topic}
			}
			return nil
		})
	}
	return latest, readers.Wait()
}

// writtenBy returns the partitions in which a producer is known. Brokers before Kafka 2.8 cannot tell: all may be. Topics that the sink may
// not read are not the sink's.
func (c *cluster) writtenBy(ctx context.Context, producer int64, in leaders) ([]topicPartition, error) {
	led := map[int32][]topicPartition{}
	for at, leader := range in {
		led[leader] = append(led[leader], at)
	}
	var written []topicPartition
	for leader, partitions := range led {
		request := kmsg.NewPtrDescribeProducersRequest()
		for topic, ids := range byTopic(partitions) {
			t := kmsg.NewDescribeProducersRequestTopic()
			t.Topic, t.Partitions = topic, ids
			request.Topics = append(request.Topics, t)
		}
		answer, err := c.ask(ctx, leader, request)
		if errors.Is(err, kafkago.UnsupportedVersion) {
			return in.all(), nil
		}
		if err != nil {
			return nil, err
		}
		for _, topic := range answer.(*kmsg.DescribeProducersResponse).Topics {
			for _, p := range topic.Partitions {
				at := topicPartition{topic.Topic, int(p.Partition)}
				switch code := kafkago.Error(p.ErrorCode); {
				case code == kafkago.TopicAuthorizationFailed:
				case code != 0:
					return nil, fmt.Errorf("topic %s, partition %d: %w", at.topic, at.partition, code)
				case slices.ContainsFunc(p.ActiveProducers, func(a kmsg.DescribeProducersResponseTopicPartitionActiveProducer) bool {
					return a.ProducerID == producer
				}):
					written = append(written, at)
				}
			}
		}
	}
	return written, nil
}

// ask sends a request that kafka-go does not know to a broker.
func (c *cluster) ask(ctx context.Context, broker int32, request kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.client.Timeout)
	defer cancel()
	answer, err := c.transport.RoundTrip(ctx, c.client.Addr, &atBroker{Message: flexible{request}, id: int(broker), client: c.transport.ClientID})
	if err != nil {
		return nil, err
	}
	return answer.(flexibleAnswer).Response, nil
}

func (c *cluster) lastPlaceIn(ctx context.Context, producer int64, at topicPartition, end int64) (*place, error) {
	var ended *batch // The end of the transaction that the producer's batches before are of.
	for range mostBatches {
		b, err := c.batchBefore(ctx, at, end)
		if b == nil || err != nil {
			return nil, err
		}
		switch {
		case b.producer != producer:
		case b.marker:
			ended = b
		case ended == nil:
			return nil, kafkago.ConcurrentTransactions
		case ended.commits && b.place != nil:
			return b.place, nil
		}
		end = b.offset
	}
	return nil, nil
}

// batch is what matters of a batch of records.
type batch struct {
	offset   int64 // Of the first record.
	producer int64
	// marker: it ends a transaction, and commits it if commits is true.
	marker, commits bool
	// place is that of the last record. nil: it has none.
	place *place
}

// batchBefore returns the last batch before an offset, or nil if there is none any more.
func (c *cluster) batchBefore(ctx context.Context, at topicPartition, end int64) (*batch, error) {
	if end <= 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.client.Timeout)
	defer cancel()
	answer, err := c.client.Fetch(ctx, &kafkago.FetchRequest{
		Topic: at.topic, Partition: at.partition, Offset: end - 1,
		// A broker returns a whole batch at least, the one with the offset.
		MinBytes: 1, MaxBytes: 1, MaxWait: c.client.Timeout / 2,
		IsolationLevel: kafkago.ReadUncommitted,
	})
	if err == nil {
		err = answer.Error
	}
	if errors.Is(err, kafkago.OffsetOutOfRange) { // Retention has removed it.
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := readBatch(answer.Records)
	if b != nil && b.offset >= end { // Compaction has removed the one before.
		return nil, err
	}
	return b, err
}

func readBatch(r protocol.RecordReader) (*batch, error) {
	switch r := r.(type) {
	case *protocol.RecordStream:
		if len(r.Records) == 0 {
			return nil, nil
		}
		return readBatch(r.Records[0])
	case *protocol.ControlBatch:
		b := &batch{offset: r.BaseOffset, producer: r.ProducerID, marker: true}
		marker, err := r.ReadControlRecord()
		if err != nil {
			return nil, err
		}
		const commit = 1
		b.commits = marker.Type == commit
		return b, nil
	case *protocol.RecordBatch:
		b := &batch{offset: r.BaseOffset, producer: r.ProducerID}
		return b, b.readPlaces(r)
	default:
		return nil, nil // Of a format before transactions, or none.
	}
}

func (b *batch) readPlaces(r protocol.RecordReader) error {
	for {
		record, err := r.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, h := range record.Headers {
			if h.Key != placeHeader {
				continue
			}
			if p, ok := parsePlace(h.Value); ok {
				b.place = &p
			}
		}
		closeRecord(record)
	}
}

func closeRecord(r *protocol.Record) {
	for _, part := range []protocol.Bytes{r.Key, r.Value} {
		if part != nil {
			_ = part.Close() // It only gives memory back.
		}
	}
}
