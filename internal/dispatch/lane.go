package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// errShort stands for the missing error of a sink that took less than it was given.
var errShort = errors.New("dispatch: sink took only part of a batch, without an error")

// lane delivers those events whose source and subject are its own. Its goroutine alone uses it, but for breaker.
type lane struct {
	d     *Dispatcher
	index int
	sink  sinks.Sink
	// breaker is its State.
	breaker atomic.Int32

	// next is what to read next. The lane's events before it are dealt with, or in ahead.
	next sinks.Position
	// ahead are events that were read and are not dealt with, of so many bytes; since is when the first was read after
	// there were none.
	ahead []sinks.Record
	bytes int
	since time.Time
	// scratch is what is read into.
	scratch []sinks.Record

	// requests guards the two fields below it, which other goroutines use too. requested are retries of parked events, and
	// interrupt, if set, ends the wait for events.
	requests  sync.Mutex
	requested []retry
	interrupt context.CancelFunc

	// failures counts attempts in a row that failed.
	failures int
	// alone is whether the next event is tried without those behind it.
	alone bool
	// quiet is whether the log knows already that something is wrong.
	quiet bool
	// tries are those of the first event ahead.
	tries tries
}

func newLane(d *Dispatcher, index int, sink sinks.Sink, from sinks.Position) *lane {
	return &lane{d: d, index: index, sink: sink, next: from, scratch: make([]sinks.Record, 0, d.cfg.Batch.Count)}
}

// run delivers until ctx is done. The sink gets work as its context.
func (l *lane) run(ctx, work context.Context) error {
	for ctx.Err() == nil {
		err := l.carryOutRetries(ctx, work)
		ready := false
		if err == nil {
			ready, err = l.readBatch(ctx)
		}
		if err == nil && ready {
			err = l.deliver(ctx, work)
		}
		switch {
		case err == nil || ctx.Err() != nil && !errors.Is(err, journal.ErrLost):
		case errors.Is(err, sinks.ErrFuture):
			l.stopPastEnd(ctx, err)
		default:
			return fmt.Errorf("dispatch: %s: %w", l.d.cfg.Name, err)
		}
	}
	return nil
}

// stopPastEnd waits until ctx is done. The package comment says why the lane does not go on.
func (l *lane) stopPastEnd(ctx context.Context, err error) {
	if _, added := l.d.blocked.add(l.next, err, true); added {
		l.d.cfg.Logger.Error("dispatch: the log ends before the sink's cursor; the sink stops until an operator moves it",
			"cursor", l.next, "end", l.d.cfg.Log.Bounds().Next)
	}
	<-ctx.Done()
}

// readBatch reads until there is a batch. It reports false when it was interrupted before.
func (l *lane) readBatch(ctx context.Context) (ready bool, err error) {
	waiting, end := l.interruptible(ctx)
	defer end()
	for !l.full() {
		enough, err := l.readMore(waiting)
		if err != nil && waiting.Err() != nil && ctx.Err() == nil && errors.Is(err, waiting.Err()) {
			return false, nil
		}
		if err != nil || enough {
			return enough, err
		}
	}
	return true, nil
}

func (l *lane) full() bool {
	return len(l.ahead) >= l.d.cfg.Batch.Count || l.bytes >= l.d.cfg.Batch.Bytes || l.alone && len(l.ahead) > 0
}

// readMore reads once. It reports whether what there is shall be delivered, full batch or not.
func (l *lane) readMore(ctx context.Context) (enough bool, err error) {
	if lowest, moved := l.d.progress.get(); uint64(l.next-lowest) >= l.d.cfg.Window {
		if len(l.ahead) > 0 {
			return true, nil
		}
		select {
		case <-moved:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	if len(l.ahead) == 0 || l.next < l.d.cfg.Log.Bounds().Next {
		return false, l.read(ctx)
	}
	if l.d.cfg.Batch.Delay == 0 {
		return true, nil
	}
	delay, cancel := context.WithDeadline(ctx, l.since.Add(l.d.cfg.Batch.Delay))
	defer cancel()
	err = l.read(delay)
	if delay.Err() != nil && ctx.Err() == nil {
		return true, nil
	}
	return false, err
}

// read reads what there is, or waits for it, and adds the lane's own events to ahead. What cannot be read now is waited for.
// Errors: ErrLost, sinks.ErrClosed, sinks.ErrFuture, ctx's.
func (l *lane) read(ctx context.Context) error {
	for failures := 1; ; failures++ {
		records, err := l.d.cfg.Log.Read(ctx, l.next, l.scratch[:0])
		switch {
		case err == nil:
			l.addOwn(records)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, sinks.ErrClosed), errors.Is(err, sinks.ErrFuture):
			return err
		case errors.Is(err, sinks.ErrExpired):
			err = l.leaveOut(ctx)
		}
		if err == nil || errors.Is(err, journal.ErrLost) {
			return err
		}
		l.d.cfg.Logger.Error("dispatch: the journal cannot be read", "position", l.next, "error", err)
		if !pause(ctx, l.d.wait(failures)) {
			return ctx.Err()
		}
	}
}

// addOwn adds those records to ahead that are the lane's own.
func (l *lane) addOwn(records []sinks.Record) {
	if len(l.ahead) == 0 {
		l.since = time.Now()
	}
	for _, r := range records {
		l.next = r.Position + 1
		if laneOf(&r.Header, len(l.d.lanes)) != l.index {
			continue
		}
		if len(l.d.lanes) > 1 {
			// Records of one read share memory. A lane that keeps a few of them must not keep all of it.
			r = r.Clone()
		}
		l.ahead = append(l.ahead, r)
		l.bytes += len(r.Encoded)
	}
	clear(records)
	l.report()
}

// leaveOut goes on at the earliest event that is kept, once it is recorded that some were not given to the sink.
func (l *lane) leaveOut(ctx context.Context) error {
	earliest := l.d.cfg.Log.Bounds().Earliest
	added, err := l.d.cfg.Claim.RecordGap(ctx, l.next, earliest)
	if err != nil {
		return err
	}
	l.d.cfg.Counters.skipped.Add(added)
	l.d.cfg.Logger.Error("dispatch: events were removed before the sink took them",
		"from", l.next, "to", earliest, "events", added)
	l.next = earliest
	l.report()
	return nil
}

// report says how far the lane has come.
func (l *lane) report() {
	p := l.next
	if len(l.ahead) > 0 {
		p = l.head()
	}
	l.d.progress.set(l.index, p)
}

// head is the position of the first event ahead.
func (l *lane) head() sinks.Position { return sinks.Position(l.ahead[0].Position) }

// batch is what to deliver next, at least one event.
func (l *lane) batch() []sinks.Record {
	if l.alone {
		return l.ahead[:1]
	}
	bytes := 0
	for i, r := range l.ahead {
		bytes += len(r.Encoded)
		if i == l.d.cfg.Batch.Count || i > 0 && bytes > l.d.cfg.Batch.Bytes {
			return l.ahead[:i]
		}
	}
	return l.ahead
}

// deliver tries once, and waits if that failed. Errors: ErrLost, sinks.ErrClosed, ctx's.
func (l *lane) deliver(ctx, work context.Context) error {
	batch := l.batch()
	n, err := l.sink.Deliver(work, batch)
	n = min(max(n, 0), len(batch))
	switch {
	case n == len(batch):
		err = nil
	case err == nil:
		err = errShort
	}
	if n > 0 {
		l.d.countDelivered(n)
		l.dropFirst(n)
		l.answered()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sinks.ErrPermanent):
		return l.refused(ctx, work, err)
	case errors.Is(err, sinks.ErrClosed):
		return err
	case work.Err() != nil:
		return nil //nolint:nilerr // it was cut off, which is no failure
	default:
		l.failed(ctx, err)
		return nil
	}
}

// dropFirst forgets the first n events ahead, which are dealt with.
func (l *lane) dropFirst(n int) {
	if l.d.cfg.StrictOrder {
		l.d.blocked.remove(l.head())
	}
	for _, r := range l.ahead[:n] {
		l.bytes -= len(r.Encoded)
	}
	l.ahead = slices.Delete(l.ahead, 0, n)
	l.tries = tries{}
	l.report()
}

// wait is how long to wait after so many failures in a row.
func (d *Dispatcher) wait(failures int) time.Duration {
	return jittered(d.cfg.Backoff.after(failures), d.cfg.Jitter())
}
