package dispatch

import (
	"context"
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// retry is a parked event that an operator wants delivered again.
type retry struct {
	parked *journalv1.Parked
	record sinks.Record
	// broken is why the record cannot be read, if so.
	broken error
}

// hearRequests looks for operators' requests until ctx is done or the claim is lost.
func (d *Dispatcher) hearRequests(ctx context.Context) {
	tick := time.NewTicker(d.cfg.RequestInterval)
	defer tick.Stop()
	for {
		// A retry that is carried out after this is still among the requests: so none is handed out while one is under way.
		idle := d.retrying.Load() == 0
		all, err := d.cfg.Claim.Requests(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, journal.ErrLost):
			return
		case err != nil:
			d.cfg.Logger.Debug("dispatch: operators' requests cannot be read", "error", err)
		default:
			d.blocked.letPass(all.Pass)
			d.replays.heard(all.Replays)
			if idle {
				d.handOut(all.Retry)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// handOut gives each retry to the lane of its event.
func (d *Dispatcher) handOut(all []*journalv1.Parked) {
	for _, p := range all {
		record, err := sinks.NewRecord(sinks.Position(p.GetPosition()), p.GetEvent())
		d.retrying.Add(1)
		d.lanes[laneOf(&record.Header, len(d.lanes))].requestRetry(retry{p, record, err})
	}
}

// requestRetry has the lane carry out a retry soon. It may be called by any goroutine.
func (l *lane) requestRetry(r retry) {
	l.requests.Lock()
	defer l.requests.Unlock()
	l.requested = append(l.requested, r)
	if l.interrupt != nil {
		l.interrupt()
	}
}

// interruptible returns a context that is done, too, when a retry, or a part of a replay, can be carried out.
func (l *lane) interruptible(ctx context.Context) (_ context.Context, end func()) {
	l.requests.Lock()
	defer l.requests.Unlock()
	limit := func() {}
	if l.errand != nil && l.failures == 0 {
		ctx, limit = context.WithDeadline(ctx, l.errand.notBefore)
	}
	ctx, cancel := context.WithCancel(ctx)
	l.interrupt = cancel
	if len(l.requested) > 0 && l.failures == 0 {
		cancel()
	}
	return ctx, func() {
		l.requests.Lock()
		defer l.requests.Unlock()
		l.interrupt = nil
		cancel()
		limit()
	}
}

func (l *lane) nextRetry() (retry, bool) {
	l.requests.Lock()
	defer l.requests.Unlock()
	if len(l.requested) == 0 || l.failures > 0 {
		return retry{}, false
	}
	return l.requested[0], true
}

// carryOutRetries delivers the parked events that operators asked for, unless the destination fails now. It reports true
// when the destination asked for a pause, which is over then. The remaining retries come back with the next look at the
// requests. Errors: ErrLost, sinks.ErrClosed, ctx's.
func (l *lane) carryOutRetries(ctx, work context.Context) (paused bool, err error) {
	for ctx.Err() == nil {
		r, ok := l.nextRetry()
		if !ok || l.mustAsk() {
			return false, nil
		}
		if ready, err := l.hasPassed(ctx, work, sinks.Position(r.parked.GetPosition())); err != nil || l.mustAsk() {
			return false, err
		} else if !ready {
			l.dropRetries(1)
			continue
		}
		paused, err := l.retryParked(ctx, work, r)
		switch {
		case err != nil:
			return false, err
		case paused:
			l.dropRetries(math.MaxInt)
			return true, nil
		}
		l.dropRetries(1)
	}
	return false, nil
}

// hasPassed reports whether a delivery of the event at p leaves the destination's position where it is, which is stored first if
// need be. A Resumer moves forward with the events that it gets, so it gets none from there on out of turn.
func (l *lane) hasPassed(ctx, work context.Context, p sinks.Position) (bool, error) {
	if l.resumer == nil || p < l.stored {
		return true, nil
	}
	if p >= l.position() {
		return false, nil
	}
	err := l.store(ctx, work)
	return err == nil && l.asked, err
}

// dropRetries removes the first n retries. The journal has the requests until they are carried out.
func (l *lane) dropRetries(n int) {
	l.requests.Lock()
	defer l.requests.Unlock()
	n = min(n, len(l.requested))
	l.requested = l.requested[n:]
	l.d.retrying.Add(-int64(n))
}

// retryParked makes one attempt, if the event is still for the sink. An attempt that is cut off does not count. Neither does one that the
// destination answers with a request for a pause: retryParked waits that long, and reports true.
func (l *lane) retryParked(ctx, work context.Context, r retry) (paused bool, err error) {
	chosen, err := false, r.broken
	if err == nil {
		chosen, err = l.d.decide(&r.record)
	}
	switch {
	case err != nil:
		return false, l.addAttempt(ctx, work, r, err)
	case !chosen:
		return false, l.unparkLeftOut(ctx, work, r)
	}
	n, err := l.send(work, []sinks.Record{r.record}, "")
	var after *sinks.RetryAfterError
	switch {
	case n >= 1:
		return false, l.unparkDelivered(ctx, work, r)
	case errors.Is(err, sinks.ErrClosed), errors.Is(err, sinks.ErrFenced):
		return false, err
	case work.Err() != nil:
		return false, nil //nolint:nilerr // the attempt was cut off, and does not count
	}
	l.asked = l.asked && errors.Is(err, sinks.ErrPermanent)
	switch {
	case errors.As(err, &after) && after.After > 0:
		pause(ctx, after.After)
		return true, nil
	case err == nil:
		err = errShort
	}
	return false, l.addAttempt(ctx, work, r, err)
}

// unparkDelivered removes a parked event that was delivered.
func (l *lane) unparkDelivered(ctx, work context.Context, r retry) error {
	l.d.countDelivered(1)
	l.answered()
	l.d.cfg.Logger.Info("dispatch: parked event delivered", "position", r.record.Position)
	return l.unpark(ctx, work, "that a parked event was delivered", r)
}

// unparkLeftOut removes a parked event that the sink's route, which may have changed since, does not choose.
func (l *lane) unparkLeftOut(ctx, work context.Context, r retry) error {
	l.d.cfg.Counters.leftOut.Add(1)
	l.d.cfg.Logger.Info("dispatch: parked event is not for the sink: its route does not choose it; it is no longer parked", "position", r.record.Position)
	return l.unpark(ctx, work, "that a parked event is not for the sink", r)
}

func (l *lane) unpark(ctx, work context.Context, what string, r retry) error {
	return l.d.persist(ctx, work, what, r.record.Position, func(ctx context.Context) error {
		return l.d.cfg.Claim.Unpark(ctx, r.record.Position)
	})
}

// addAttempt adds a failed attempt to a parked event.
func (l *lane) addAttempt(ctx, work context.Context, r retry, reason error) error {
	position := sinks.Position(r.parked.GetPosition())
	l.d.cfg.Logger.Warn("dispatch: parked event could not be delivered", "position", position, "error", reason)
	var t tries
	t.add(reason)
	return l.d.persist(ctx, work, "an attempt of a parked event", position, func(ctx context.Context) error {
		return l.d.cfg.Claim.AddAttempt(ctx, &journalv1.Parked{
			Position:       r.parked.GetPosition(),
			Event:          r.parked.GetEvent(),
			Reason:         reason.Error(),
			FirstAttemptAt: timestamppb.New(t.first),
			LastAttemptAt:  t.latest[0].GetAt(),
			AttemptCount:   t.count,
			Attempts:       t.latest,
		})
	})
}
