package kafka

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/webhook-bridge/bridge/sinks"
)

type topicPartition struct {
	topic     string
	partition int
}

// partitionBatch has the records of one Deliver for one partition, in order.
type partitionBatch struct {
	topicPartition

	leader   int
	messages []*message
	index    []int // Index of each record in the Deliver.

	// place returns the [placeHeader] of a batch whose last event is at a position. nil: there is none.
	place func(sinks.Position) []byte

	// encoded is the record set of the first encodedCount records, if it is not nil.
	encoded      []byte
	encodedCount int

	acked      int   // Number of acknowledged records, from the first on.
	maxRecords int   // Most records in a request, after a larger one was refused; 0 means no limit.
	err        error // Why messages[acked] was not accepted.
}

func (b *partitionBatch) add(index int, m *message) {
	b.index = append(b.index, index)
	b.messages = append(b.messages, m)
}

// firstUnacked returns the index, in the Deliver, of the first record that is not acknowledged.
func (b *partitionBatch) firstUnacked() (int, bool) {
	if b.acked == len(b.index) {
		return 0, false
	}
	return b.index[b.acked], true
}

// each returns every batch as a group of its own. Brokers write the requests of several connections in parallel.
func each(batches []*partitionBatch) [][]*partitionBatch {
	groups := make([][]*partitionBatch, len(batches))
	for i, b := range batches {
		groups[i] = []*partitionBatch{b}
	}
	return groups
}

// byLeader returns the batches for one broker as a group.
func byLeader(batches []*partitionBatch) [][]*partitionBatch {
	led := map[int][]*partitionBatch{}
	for _, b := range batches {
		led[b.leader] = append(led[b.leader], b)
	}
	return slices.Collect(maps.Values(led))
}

// nextRequest returns the number of records, and of bytes, of the next request: as many as fit into limit bytes, at least one,
// with an index below end.
func (b *partitionBatch) nextRequest(limit, end int) (count, bytes int) {
	for i := b.acked; i < len(b.messages) && b.index[i] < end; i++ {
		if count > 0 && (bytes+b.messages[i].size > limit || count == b.maxRecords) {
			break
		}
		count++
		bytes += b.messages[i].size
	}
	return count, bytes
}

// requestLimit returns the largest request for a topic, in bytes.
func (s *Sink) requestLimit(topic string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.requestLimits[topic]; ok {
		return known
	}
	return s.batchBytes
}

func (s *Sink) lowerRequestLimit(topic string, to int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.requestLimits[topic]; !ok || to < known {
		s.requestLimits[topic] = to
	}
}

// storeMin sets v to the smaller value.
func storeMin(v *atomic.Int64, to int64) {
	for {
		now := v.Load()
		if now <= to || v.CompareAndSwap(now, to) {
			return
		}
	}
}

// refusesContent reports whether a broker refused a batch because of its records, not because of the broker's own condition.
// The broker then stores none of them.
func refusesContent(err error) bool {
	return refusesSize(err) || errors.Is(err, kafkago.InvalidRecord) || errors.Is(err, kafkago.InvalidTimestamp)
}

func refusesSize(err error) bool {
	return errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge)
}
