package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// errand is a lane's part of a replay: some events to deliver once more. Until done is closed, only the lane's goroutine uses the rest.
type errand struct {
	replay  string
	records []sinks.Record
	// delivered and parked count the events that were dealt with.
	delivered, parked uint64
	// failures counts attempts in a row that failed. The next one is not made before a time.
	failures  int
	notBefore time.Time
	// problem is what the lane shows as its problem for the errand's failed attempts.
	problem atomic.Pointer[string]
	// done is closed when no records are left, or when failed is set: the destination wants no more events.
	done   chan struct{}
	failed error
}

// runErrand has the lane deliver an errand, in place of an earlier one. Nil withdraws it. It may be called by any goroutine.
func (l *lane) runErrand(e *errand) {
	l.requests.Lock()
	defer l.requests.Unlock()
	if withdrawn := l.errand; withdrawn != nil {
		if p := withdrawn.problem.Load(); p != nil {
			l.problem.CompareAndSwap(p, nil)
		}
	}
	l.errand = e
	if e != nil && l.interrupt != nil {
		l.interrupt()
	}
}

// nextErrand returns the errand, if the lane has one that can go on now.
func (l *lane) nextErrand() *errand {
	l.requests.Lock()
	defer l.requests.Unlock()
	if l.errand == nil || l.failures > 0 || time.Now().Before(l.errand.notBefore) {
		return nil
	}
	return l.errand
}

// replaySome makes one attempt to deliver a batch of the errand. It reports whether it did, so that new events have their turn before
// the next batch. A failed attempt does not hold up new events. A destination that wants no more events fails the errand. Errors: ErrLost, sinks.ErrClosed, sinks.ErrFenced, ctx's.
func (l *lane) replaySome(ctx, work context.Context) (tried bool, err error) {
	e := l.nextErrand()
	if e == nil {
		return false, nil
	}
	batch := l.firstOf(e.records)
	if ready, err := l.hasPassed(ctx, work, batch[len(batch)-1].Position); err != nil || !ready {
		e.notBefore = time.Now().Add(l.d.cfg.SaveInterval)
		return false, err
	}
	n, err := l.send(work, batch, e.replay)
	n = min(max(n, 0), len(batch))
	if n > 0 {
		l.d.cfg.Counters.replayed.Add(uint64(n))
		e.delivered += uint64(n)
		e.failures = 0
		l.answered()
	}
	l.dropReplayed(e, n)
	if n == len(batch) {
		return true, nil
	}
	return true, l.replayFailed(ctx, work, e, err)
}

// replayFailed parks the first event of an errand, if the sink refused it permanently. Otherwise it puts the next attempt off.
func (l *lane) replayFailed(ctx, work context.Context, e *errand, err error) error {
	var after *sinks.RetryAfterError
	switch {
	case errors.Is(err, sinks.ErrPermanent):
		return l.parkReplayed(ctx, work, e, err)
	case errors.Is(err, sinks.ErrClosed), errors.Is(err, sinks.ErrFenced):
		return err
	case work.Err() != nil:
		return nil //nolint:nilerr // the attempt was cut off, and does not count
	case errors.Is(err, sinks.ErrDisabled):
		l.asked = false
		e.failed = err
		l.endErrand(e)
		return nil
	case err == nil:
		err = errShort
	}
	l.asked = false
	l.d.cfg.Counters.retries.Add(1)
	e.problem.Store(problemText(fmt.Errorf("replay %s: %w", e.replay, err)))
	l.problem.Store(e.problem.Load())
	if errors.As(err, &after) && after.After > 0 {
		pause(ctx, after.After)
		return nil
	}
	if e.failures++; e.failures == 1 {
		l.d.cfg.Logger.Warn("dispatch: a replayed event cannot be delivered; trying again", "replay", e.replay, "position", e.records[0].Position, "error", err)
	}
	e.notBefore = time.Now().Add(l.d.wait(e.failures))
	return nil
}

// parkReplayed stores the first event of an errand as a dead letter, also of a sink with strict order: its own deliveries are past the event.
func (l *lane) parkReplayed(ctx, work context.Context, e *errand, reason error) error {
	r := e.records[0]
	var t tries
	t.add(reason)
	err := l.d.persist(ctx, work, "a replayed event that was refused", r.Position, func(ctx context.Context) error {
		return l.d.cfg.Claim.Park(ctx, &journalv1.Parked{
			Sink: l.d.cfg.Name, Position: uint64(r.Position), Event: r.Encoded, Reason: fmt.Sprintf("replay %s: %s", e.replay, reason),
			FirstAttemptAt: timestamppb.New(t.first), LastAttemptAt: t.latest[0].GetAt(), AttemptCount: t.count, Attempts: t.latest,
		})
	})
	if err != nil {
		return err
	}
	l.d.cfg.Counters.parked.Add(1)
	l.d.cfg.Logger.Error("dispatch: replayed event refused permanently and parked", "replay", e.replay, "position", r.Position, "error", reason)
	l.answered()
	e.parked++
	e.failures = 0
	l.dropReplayed(e, 1)
	return nil
}

// dropReplayed removes the first n events of an errand, and ends it after the last one.
func (l *lane) dropReplayed(e *errand, n int) {
	if e.records = e.records[n:]; len(e.records) == 0 {
		l.endErrand(e)
	}
}

func (l *lane) endErrand(e *errand) {
	l.requests.Lock()
	defer l.requests.Unlock()
	if l.errand == e {
		l.errand = nil
	}
	close(e.done)
}
