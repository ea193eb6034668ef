package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/webhook-bridge/bridge/sinks"
)

// maxInFlight is the number of partitions that are written concurrently, each over its own connection.
const maxInFlight = 16

// partitionBatch has the records of one Deliver for one partition, in order.
type partitionBatch struct {
	topic     string
	partition int
	messages  []*message
	index     []int // Index of each record in the Deliver.

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

// records returns the next count records. Each request needs new ones: kafka-go empties the records that it writes, and would
// write them without keys and values the next time.
func (b *partitionBatch) records(count int) []kafkago.Record {
	records := make([]kafkago.Record, count)
	for i, m := range b.messages[b.acked : b.acked+count] {
		records[i] = m.record()
	}
	return records
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

// sendAll sends the batches of total events concurrently. It returns the lowest index that is not acknowledged, with the error.
// A batch stops where another failed at a lower index, because the records after that are sent again anyway. So the record at
// the returned index was tried, unless ctx was done first.
func (s *Sink) sendAll(ctx context.Context, batches []*partitionBatch, total int) (int, error) {
	var lowestFailed atomic.Int64
	lowestFailed.Store(int64(total))
	slots := make(chan struct{}, maxInFlight)
	var writers sync.WaitGroup
	for _, b := range batches {
		slots <- struct{}{}
		writers.Go(func() {
			defer func() { <-slots }()
			s.sendBatch(ctx, b, &lowestFailed)
		})
	}
	writers.Wait()

	n, err := total, error(nil)
	for _, b := range batches {
		if i, left := b.firstUnacked(); left && i < n {
			n, err = i, b.err
		}
	}
	if n < total && err == nil {
		err = ctx.Err()
	}
	return n, err
}

// sendBatch sends a batch, one request at a time, up to the lowest index that has failed in any batch.
func (s *Sink) sendBatch(ctx context.Context, b *partitionBatch, lowestFailed *atomic.Int64) {
	for ctx.Err() == nil {
		count, bytes := b.nextRequest(s.requestLimit(b.topic), int(lowestFailed.Load()))
		if count == 0 {
			return
		}
		// A request in progress is not cancelled: it would then be unknown whether it arrived.
		err := s.cluster.produce(context.WithoutCancel(ctx), b, count, s.compress)
		switch {
		case err == nil:
			b.acked += count
		case refusesContent(err) && count > 1:
			// The broker stored none of it, so a smaller request first does not change the order.
			b.maxRecords = count / 2
			if refusesSize(err) {
				s.lowerRequestLimit(b.topic, bytes/2)
			}
		default:
			b.err = fmt.Errorf("kafka: deliver: topic %s, partition %d: %w", b.topic, b.partition, err)
			if refusesContent(err) {
				b.err = sinks.Permanent(fmt.Errorf("%w (the record has %d bytes)", b.err, bytes))
			}
			storeMin(lowestFailed, int64(b.index[b.acked]))
			return
		}
	}
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
