package dispatch

import (
	"context"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// deliverAndRead delivers a batch. Meanwhile it reads the events after it, if there are some, and adds them to ahead, which
// has at most two batches. A read that fails is left to the next one.
func (l *lane) deliverAndRead(ctx, work context.Context, batch []sinks.Record) (int, error) {
	behind := len(l.d.lanes) == 1 && l.failures == 0 && len(batch) == len(l.ahead) && l.next < l.d.cfg.Log.Bounds().Next
	if !behind {
		return l.sink.Deliver(work, batch)
	}
	type result struct {
		records []sinks.Record
		err     error
	}
	next := make(chan result, 1)
	go func() {
		records, err := l.d.cfg.Log.Read(ctx, l.next, l.scratch[:0])
		next <- result{records, err}
	}()
	n, err := l.sink.Deliver(work, batch)
	if read := <-next; read.err == nil {
		l.addOwn(read.records)
		l.since = time.Now()
	}
	return n, err
}
