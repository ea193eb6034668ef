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

// errShort replaces the missing error of a sink that has delivered fewer events than it was given.
var errShort = errors.New("dispatch: sink took only part of a batch, without an error")

// maxRead bounds the events of one read, and so the memory of a lane with large batches.
const maxRead = 1000

// lane delivers the events whose source and subject belong to it. Only its goroutine uses it, except breaker, problem and requests.
type lane struct {
	d     *Dispatcher
	index int
	sink  sinks.Sink
	// preparer is the sink, if it is one.
	preparer sinks.Preparer
	// breaker is its State.
	breaker atomic.Int32
	// problem is why the latest attempt failed, or nil after one that succeeded.
	problem atomic.Pointer[string]

	// next is the position to read next. The lane's events before it are delivered, parked, or in ahead.
	next sinks.Position
	// ahead has the events that were read and are neither delivered nor parked, bytes their size. since is the time when the
	// first of them was read.
	ahead []sinks.Record
	bytes int
	since time.Time
	// damaged is the position of the event that could not be read last, or 0.
	damaged sinks.Position
	// scratch is the memory for reads.
	scratch []sinks.Record

	resumption

	// undecided are the events ahead for which [Config.Choose] failed.
	undecided map[sinks.Position]error

	// requests guards the three fields below it, which other goroutines use too. requested are retries of parked events, errand is
	// the lane's part of a replay, or nil, and interrupt, if set, ends the wait for events.
	requests  sync.Mutex
	requested []retry
	errand    *errand
	interrupt context.CancelFunc

	// failures counts attempts in a row that failed.
	failures int
	// alone is true when the next event is tried without the events after it.
	alone bool
	// quiet is true when the problem has been logged already.
	quiet bool
	// tries are the attempts for the first event ahead.
	tries tries
}

func newLane(d *Dispatcher, index int, sink sinks.Sink, from sinks.Position) *lane {
	l := &lane{d: d, index: index, sink: sink, next: from, scratch: make([]sinks.Record, 0, min(d.cfg.Batch.Count, maxRead))}
	l.resumer, _ = sink.(sinks.Resumer)
	l.preparer, _ = sink.(sinks.Preparer)
	l.stored = from
	return l
}

// run delivers until ctx is done. The sink gets work as its context.
func (l *lane) run(ctx, work context.Context) error {
	for ctx.Err() == nil {
		err := l.step(ctx, work)
		switch {
		case err == nil || ctx.Err() != nil && !errors.Is(err, journal.ErrLost):
		case errors.Is(err, sinks.ErrFuture):
			l.stopPastEnd(ctx, err)
		case errors.Is(err, sinks.ErrDamaged):
			if err := l.stopAtDamage(ctx, work, err); err != nil {
				return fmt.Errorf("dispatch: %s: %w", l.d.cfg.Name, err)
			}
		default:
			return fmt.Errorf("dispatch: %s: %w", l.d.cfg.Name, err)
		}
	}
	l.storeLast(work)
	return nil
}

// step does one thing: it asks the destination for its position, or stores one there, or delivers a batch.
func (l *lane) step(ctx, work context.Context) error {
	switch {
	case l.mustAsk():
		return l.resume(ctx, work)
	case l.mustStore():
		return l.store(ctx, work)
	}
	ready := false
	paused, err := l.carryOutRetries(ctx, work)
	if err == nil && !paused && !l.mustAsk() {
		paused, err = l.replaySome(ctx, work)
	}
	switch {
	case err != nil, l.mustAsk():
	case paused: // New events have their turn before the next retry, and the next batch of a replay.
		ready, err = l.readAvailable(ctx, work)
	default:
		ready, err = l.readBatch(ctx, work)
	}
	if err == nil && ready {
		err = l.deliver(ctx, work)
	}
	return err
}

// stopPastEnd waits until ctx is done. The package comment says why the lane does not go on.
func (l *lane) stopPastEnd(ctx context.Context, err error) {
	if _, added := l.d.blocked.add(l.next, err, true); added {
		l.d.cfg.Logger.Error("dispatch: the log ends before the sink's cursor; the sink stops until an operator moves it",
			"cursor", l.next, "end", l.d.cfg.Log.Bounds().Next)
	}
	<-ctx.Done()
}

// stopAtDamage delivers the events before the damage. Then it waits, as long as a breaker is open, until the position is read again: the
// storage may have been repaired. An operator who gives the events up moves the reader. Errors: those of deliver.
func (l *lane) stopAtDamage(ctx, work context.Context, err error) error {
	if len(l.ahead) > 0 {
		return l.deliver(ctx, work)
	}
	if _, added := l.d.blocked.add(l.next, err, true); added {
		l.d.cfg.Logger.Error("dispatch: an event cannot be read; the sink waits before it until the storage is repaired or an operator moves the sink",
			"position", l.next, "error", err)
	}
	l.damaged = l.next
	pause(ctx, jittered(l.d.cfg.Breaker.Pause, l.d.cfg.Jitter()))
	return nil
}

// readBatch reads until there is a batch. It reports false when it was interrupted before.
func (l *lane) readBatch(ctx, work context.Context) (ready bool, err error) {
	waiting, end := l.interruptible(ctx)
	defer end()
	for !l.full() && !l.mustStore() {
		limited, cancel := l.untilStore(waiting)
		enough, err := l.readMore(limited, work)
		ended := limited.Err()
		cancel()
		if err != nil && ended != nil && ctx.Err() == nil && errors.Is(err, ended) {
			return false, nil
		}
		if err != nil || enough {
			return enough, err
		}
	}
	return l.full(), nil
}

// readAvailable reads up to a batch of the events that are there. It does not wait for others.
func (l *lane) readAvailable(ctx, work context.Context) (ready bool, err error) {
	for !l.full() && l.next < l.d.cfg.Log.Bounds().Next {
		if far, _ := l.farAhead(); far {
			break
		}
		if err := l.read(ctx, work); err != nil {
			return false, err
		}
	}
	return len(l.ahead) > 0, nil
}

// farAhead reports whether the lane must wait until the lowest position has moved, which its own may be.
func (l *lane) farAhead() (far bool, moved <-chan struct{}) {
	lowest, moved := l.d.progress.get()
	return uint64(l.next-lowest) >= l.d.cfg.Window && (len(l.d.lanes) > 1 || len(l.ahead) > 0), moved
}

func (l *lane) full() bool {
	return len(l.ahead) >= l.d.cfg.Batch.Count || l.bytes >= l.d.cfg.Batch.Bytes || l.alone && len(l.ahead) > 0
}

// readMore reads once. It reports whether the events in ahead must be delivered now, also when they are no full batch.
func (l *lane) readMore(ctx, work context.Context) (enough bool, err error) {
	if far, moved := l.farAhead(); far {
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
	if len(l.ahead) > 0 && l.d.cfg.Choose != nil && time.Since(l.since) > max(l.d.cfg.Batch.Delay, l.d.cfg.SaveInterval) {
		return true, nil // Few of the events may be for the sink. The ones that are do not wait for a full batch.
	}
	if len(l.ahead) == 0 || l.next < l.d.cfg.Log.Bounds().Next {
		return false, l.read(ctx, work)
	}
	if l.d.cfg.Batch.Delay == 0 {
		return true, nil
	}
	delay, cancel := context.WithDeadline(ctx, l.since.Add(l.d.cfg.Batch.Delay))
	defer cancel()
	err = l.read(delay, work)
	if delay.Err() != nil && ctx.Err() == nil {
		return true, nil
	}
	return false, err
}

// read reads the next events, or waits for them until ctx is done, and adds the lane's own events to ahead. If the log cannot
// be read now, it waits.
// Errors: ErrLost, sinks.ErrClosed, sinks.ErrFuture, sinks.ErrDamaged, ctx's.
func (l *lane) read(ctx, work context.Context) error {
	for failures := 1; ; failures++ {
		records, err := l.d.cfg.Log.Read(ctx, l.next, l.scratch[:0])
		switch {
		case err == nil:
			if l.damaged > 0 {
				l.d.blocked.remove(l.damaged)
				l.damaged = 0
			}
			l.addOwn(records)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, sinks.ErrClosed), errors.Is(err, sinks.ErrFuture), errors.Is(err, sinks.ErrDamaged):
			return err
		case errors.Is(err, sinks.ErrExpired):
			err = l.leaveOut(work, err)
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

// addOwn adds the records that belong to the lane, and are for the sink, to ahead.
func (l *lane) addOwn(records []sinks.Record) {
	if len(l.ahead) == 0 {
		l.since = time.Now()
	}
	for i := range records {
		r := records[i]
		l.next = r.Position + 1
		if laneOf(&r.Header, len(l.d.lanes)) != l.index {
			continue
		}
		if l.isAlreadyParked(r.Position) {
			continue
		}
		chosen, err := l.d.decide(&records[i])
		if err != nil {
			l.cannotDecide(r.Position, err)
		} else if !chosen {
			l.d.cfg.Counters.leftOut.Add(1)
			continue
		}
		if len(l.d.lanes) > 1 || l.d.cfg.Choose != nil {
			// Records of one read share memory. A lane that keeps a few of them must not keep all of it.
			r = r.Clone()
		}
		l.ahead = append(l.ahead, r)
		l.bytes += len(r.Encoded)
	}
	clear(records)
	l.report()
}

// leaveOut continues at the earliest event that is kept, or behind the events that were lost, after it has recorded a gap for the missing ones. Its context is
// that of the work: if the call were cut off after the gap was recorded, the gap would not be counted.
func (l *lane) leaveOut(ctx context.Context, cause error) error {
	to := l.d.cfg.Log.Bounds().Earliest
	var lost *sinks.LostError
	if errors.As(cause, &lost) {
		to = lost.To
	}
	added, err := l.d.cfg.Claim.RecordGap(ctx, l.next, to)
	if err != nil {
		return err
	}
	l.d.cfg.Counters.skipped.Add(added)
	l.d.cfg.Logger.Error("dispatch: events were removed or lost before the sink took them",
		"from", l.next, "to", to, "events", added, "cause", cause)
	l.next = to
	l.report()
	return nil
}

// report tells the lane's position to the dispatcher's progress.
func (l *lane) report() {
	l.d.progress.set(l.index, l.reportable(l.position()))
}

// position is the first one that the lane has neither delivered nor parked.
func (l *lane) position() sinks.Position {
	if len(l.ahead) > 0 {
		return l.head()
	}
	return l.next
}

// head is the position of the first event ahead.
func (l *lane) head() sinks.Position { return l.ahead[0].Position }

// batch returns the events to deliver next, at least one.
func (l *lane) batch() []sinks.Record {
	if l.alone {
		return l.ahead[:1]
	}
	return l.firstOf(l.ahead)
}

// firstOf returns the first of some records that are not too many for a batch, and at least one.
func (l *lane) firstOf(records []sinks.Record) []sinks.Record {
	bytes := 0
	for i, r := range records {
		bytes += len(r.Encoded)
		if i == l.d.cfg.Batch.Count || i > 0 && (bytes > l.d.cfg.Batch.Bytes || l.undecided[r.Position] != nil) {
			return records[:i]
		}
	}
	return records
}

// deliver makes one attempt, and waits if it failed. Errors: ErrLost, sinks.ErrClosed, sinks.ErrFenced, ctx's.
func (l *lane) deliver(ctx, work context.Context) error {
	if err := l.undecided[l.head()]; err != nil {
		return l.setAside(ctx, work, err)
	}
	batch := l.batch()
	n, err := l.deliverAndRead(ctx, work, batch)
	n = min(max(n, 0), len(batch))
	switch {
	case n == len(batch):
		err = nil
	case err == nil:
		err = errShort
	}
	if n > 0 {
		l.d.countDelivered(n)
		l.stored = max(l.stored, batch[n-1].Position+1)
		l.dropFirst(n)
		l.answered()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sinks.ErrPermanent):
		return l.refused(ctx, work, err)
	case errors.Is(err, sinks.ErrDisabled):
		l.asked = false
		return l.disabled(ctx, work, err)
	default:
		return l.unanswered(ctx, work, err)
	}
}

// unanswered waits after a call of the sink that failed. Errors: sinks.ErrClosed, sinks.ErrFenced.
func (l *lane) unanswered(ctx, work context.Context, err error) error {
	l.asked = false
	switch {
	case errors.Is(err, sinks.ErrClosed), errors.Is(err, sinks.ErrFenced):
		return err
	case work.Err() != nil:
		return nil //nolint:nilerr // it was cut off, which is no failure
	}
	l.failed(ctx, err)
	return nil
}

// dropFirst removes the first n events from ahead. They are delivered or parked.
func (l *lane) dropFirst(n int) {
	l.d.blocked.remove(l.head())
	for _, r := range l.ahead[:n] {
		l.bytes -= len(r.Encoded)
		delete(l.undecided, r.Position)
	}
	l.ahead = slices.Delete(l.ahead, 0, n)
	l.tries = tries{}
	l.report()
}

// wait returns the wait after a number of failures in a row.
func (d *Dispatcher) wait(failures int) time.Duration {
	return jittered(d.cfg.Backoff.after(failures), d.cfg.Jitter())
}
