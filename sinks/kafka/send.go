package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// maxInFlight is the number of requests in progress, each over its own connection.
	maxInFlight = 16
	// maxRequest limits a request with the records of several partitions, in bytes. Brokers accept 100 MiB by default
	// (socket.request.max.bytes).
	maxRequest = 16 << 20
)

// chunk is the part of a batch that is in one request: its next records.
type chunk struct {
	*partitionBatch

	count, bytes int
	err          error // Why the broker did not accept it.
	offset       int64 // Of the first record, in the partition. Without an error.
}

// writeFunc writes chunks of different partitions with one leader, in one request. It sets the errors of those that not all in-sync
// replicas have.
type writeFunc func(ctx context.Context, chunks []*chunk)

// sendAll sends the batches of total events. The batches of a group are sent together, those of different groups concurrently. It
// returns the lowest index that is not acknowledged,
// with the error. A batch stops where another failed at a lower index, because the records after that are sent again anyway. So the
// record at the returned index was tried, unless ctx was done first.
func (s *Sink) sendAll(ctx context.Context, groups [][]*partitionBatch, total int, write writeFunc) (int, error) {
	var lowestFailed atomic.Int64
	lowestFailed.Store(int64(total))
	slots := make(chan struct{}, maxInFlight)
	var writers sync.WaitGroup
	for _, together := range groups {
		slots <- struct{}{}
		writers.Go(func() {
			defer func() { <-slots }()
			for ctx.Err() == nil && s.sendNext(ctx, together, &lowestFailed, write) {
			}
		})
	}
	writers.Wait()

	n, err := total, error(nil)
	for _, b := range slices.Concat(groups...) {
		if i, left := b.firstUnacked(); left && i < n {
			n, err = i, b.err
		}
	}
	if n < total && err == nil {
		err = ctx.Err()
	}
	return n, err
}

// sendNext sends the next request of a group: the next records of each of its batches, up to the lowest index that has failed in
// any batch. It returns false if there are none.
func (s *Sink) sendNext(ctx context.Context, batches []*partitionBatch, lowestFailed *atomic.Int64, write writeFunc) bool {
	var chunks []*chunk
	size := 0
	for _, b := range batches {
		if b.err != nil {
			continue
		}
		next := s.nextChunk(b, int(lowestFailed.Load()))
		if next.count == 0 || len(chunks) > 0 && size+next.bytes > maxRequest {
			continue
		}
		size += next.bytes
		chunks = append(chunks, next)
	}
	if len(chunks) == 0 {
		return false
	}
	// A request in progress is not cancelled: it would then be unknown whether it arrived.
	write(context.WithoutCancel(ctx), chunks)
	for _, c := range chunks {
		s.finish(c, lowestFailed)
	}
	return true
}

// nextChunk returns the next records of a batch, with an index below end.
func (s *Sink) nextChunk(b *partitionBatch, end int) *chunk {
	count, bytes := b.nextRequest(s.requestLimit(b.topic)-s.encode.reserve, end)
	return &chunk{partitionBatch: b, count: count, bytes: bytes + s.encode.reserve}
}

// finish notes the result of a chunk in its batch.
func (s *Sink) finish(c *chunk, lowestFailed *atomic.Int64) {
	b := c.partitionBatch
	switch {
	case c.err == nil:
		b.acked += c.count
	case refusesContent(c.err) && c.count > 1:
		// The broker stored none of it, so a smaller request first does not change the order.
		b.maxRecords = c.count / 2
		if refusesSize(c.err) {
			s.lowerRequestLimit(b.topic, c.bytes/2)
		}
	default:
		b.err = fmt.Errorf("kafka: deliver: topic %s, partition %d: %w", b.topic, b.partition, c.err)
		if refusesContent(c.err) {
			b.err = sinks.Permanent(fmt.Errorf("%w (the record has %d bytes)", b.err, c.bytes))
		}
		storeMin(lowestFailed, int64(b.index[b.acked]))
	}
}
