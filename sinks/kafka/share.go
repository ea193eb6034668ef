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

// maxInFlight is how many partitions are written to at a time, each over a connection of its own.
const maxInFlight = 16

// share is what one Deliver has for one partition, in order.
type share struct {
	topic     string
	partition int
	messages  []*message
	index     []int // Of each record in the Deliver.

	acked int   // How many, from the first on, are acknowledged.
	most  int   // How many may go into a request, when a larger one was refused; 0 means any.
	err   error // Why messages[acked] was not taken.
}

func (h *share) add(index int, m *message) {
	h.index = append(h.index, index)
	h.messages = append(h.messages, m)
}

// next returns the Deliver's index of the first record that is not acknowledged.
func (h *share) next() (int, bool) {
	if h.acked == len(h.index) {
		return 0, false
	}
	return h.index[h.acked], true
}

// records returns the next count. They are made for each request: kafka-go empties the records that it writes, and would write them
// without keys and values the next time.
func (h *share) records(count int) []kafkago.Record {
	records := make([]kafkago.Record, count)
	for i, m := range h.messages[h.acked : h.acked+count] {
		records[i] = m.record()
	}
	return records
}

// batch returns how many records, and bytes, to send next: as many as fit into limit bytes, one at least, of those whose index is below end.
func (h *share) batch(limit, end int) (count, bytes int) {
	for i := h.acked; i < len(h.messages) && h.index[i] < end; i++ {
		if count > 0 && (bytes+h.messages[i].size > limit || count == h.most) {
			break
		}
		count++
		bytes += h.messages[i].size
	}
	return count, bytes
}

// send writes shares, of total events together, side by side, and returns the lowest index that is not acknowledged, and why. A
// share ends where another has failed at a lower index: what would follow there is given again anyway. So the lowest one always is one that
// was tried, unless ctx was done first.
func (s *Sink) send(ctx context.Context, shares []*share, total int) (int, error) {
	var failed atomic.Int64
	failed.Store(int64(total))
	slots := make(chan struct{}, maxInFlight)
	var writers sync.WaitGroup
	for _, h := range shares {
		slots <- struct{}{}
		writers.Go(func() {
			defer func() { <-slots }()
			s.write(ctx, h, &failed)
		})
	}
	writers.Wait()

	n, err := total, error(nil)
	for _, h := range shares {
		if i, left := h.next(); left && i < n {
			n, err = i, h.err
		}
	}
	if n < total && err == nil {
		err = ctx.Err()
	}
	return n, err
}

// write sends a share, one request at a time, up to the lowest index at which any has failed.
func (s *Sink) write(ctx context.Context, h *share, failed *atomic.Int64) {
	for ctx.Err() == nil {
		count, bytes := h.batch(s.limit(h.topic), int(failed.Load()))
		if count == 0 {
			return
		}
		// What is being written is not cancelled: whether it arrived would then be unknown.
		err := s.cluster.produce(context.WithoutCancel(ctx), h, count, s.compress)
		switch {
		case err == nil:
			h.acked += count
		case refusesContent(err) && count > 1:
			// None of it was kept, so that sending less of it first changes no order.
			h.most = count / 2
			if refusesSize(err) {
				s.lower(h.topic, bytes/2)
			}
		default:
			h.err = fmt.Errorf("kafka: deliver: topic %s, partition %d: %w", h.topic, h.partition, err)
			if refusesContent(err) {
				h.err = sinks.Permanent(fmt.Errorf("%w (the record has %d bytes)", h.err, bytes))
			}
			lower(failed, int64(h.index[h.acked]))
			return
		}
	}
}

// limit returns how large a batch for a topic may be.
func (s *Sink) limit(topic string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.limits[topic]; ok {
		return known
	}
	return s.batch
}

func (s *Sink) lower(topic string, to int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.limits[topic]; !ok || to < known {
		s.limits[topic] = to
	}
}

// lower sets v to the smaller of both.
func lower(v *atomic.Int64, to int64) {
	for {
		now := v.Load()
		if now <= to || v.CompareAndSwap(now, to) {
			return
		}
	}
}

// refusesContent reports whether a broker refused a batch for what is in it, rather than for its own condition. It then
// keeps none of it.
func refusesContent(err error) bool {
	return refusesSize(err) || errors.Is(err, kafkago.InvalidRecord) || errors.Is(err, kafkago.InvalidTimestamp)
}

func refusesSize(err error) bool {
	return errors.Is(err, kafkago.MessageSizeTooLarge) || errors.Is(err, kafkago.RecordListTooLarge)
}
