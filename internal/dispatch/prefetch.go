package dispatch

import (
	"context"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// deliverAndRead delivers a batch. Meanwhile it reads the events after it, if there are some, and adds them to ahead, which
// has few more than two batches. A read that fails is left to the next one.
func (l *lane) deliverAndRead(ctx, work context.Context, batch []sinks.Record) (int, error) {
	if !l.readsDuring(batch) {
		return l.send(work, batch, "")
	}
	delivered := make(chan struct{})
	next := make(chan []sinks.Record, 1)
	go func() { next <- l.readBatchFrom(ctx, l.next, delivered) }()
	n, err := l.send(work, batch, "")
	close(delivered)
	if records := <-next; len(records) > 0 {
		l.addOwn(records)
		l.since = time.Now()
	}
	return n, err
}

// readsDuring reports whether events are read while a batch is delivered. A batch that is full by its bytes leaves a few events over.
func (l *lane) readsDuring(batch []sinks.Record) bool {
	left := len(l.ahead) - len(batch)
	return len(l.d.lanes) == 1 && l.failures == 0 && 2*left <= len(batch) && l.next < l.d.cfg.Log.Bounds().Next
}

// prepare has the sink prepare events, unless some of them may not be for it.
func (l *lane) prepare(events []sinks.Record) {
	if l.preparer != nil && l.d.cfg.Choose == nil {
		l.preparer.Prepare(events)
	}
}

// readBatchFrom reads the events that are there from a position on: about a batch, or fewer when the channel is closed. The
// sink prepares them.
func (l *lane) readBatchFrom(ctx context.Context, at sinks.Position, enough <-chan struct{}) []sinks.Record {
	var all []sinks.Record
	for bytes := 0; len(all) < l.d.cfg.Batch.Count && bytes < l.d.cfg.Batch.Bytes && at < l.d.cfg.Log.Bounds().Next; {
		records, err := l.d.cfg.Log.Read(ctx, at, l.scratch[:0])
		if err != nil || len(records) == 0 {
			break
		}
		for i := range records {
			bytes += len(records[i].Encoded)
		}
		at = records[len(records)-1].Position + 1
		all = append(all, records...)
		l.prepare(all[len(all)-len(records):])
		clear(records)
		select {
		case <-enough:
			return all
		default:
		}
	}
	return all
}
