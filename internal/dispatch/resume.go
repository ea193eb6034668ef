package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// Resumed is a result of asking a [sinks.Resumer] how far its destination is.
type Resumed int

// The results. Behind, Expired, OtherLog and LogRestored mean that events are delivered again, or are missing.
const (
	// AtCursor: the destination is where the cursor is.
	AtCursor Resumed = iota
	// Ahead: the destination has events that the cursor had not pastSince.
	Ahead
	// NoPosition: the destination has no position. The cursor counts.
	NoPosition
	// Moved: an operator moved the cursor. The cursor counts.
	Moved
	// Behind: the destination lost events that the cursor had pastSince. They are delivered again.
	Behind
	// Expired: as Behind or Ahead, but the journal no longer has all events from there on. The missing ones become a gap.
	Expired
	// OtherLog: the position belongs to another log. The cursor counts.
	OtherLog
	// LogRestored: the position belongs to a state of the log that was lost in a restore. The cursor counts.
	LogRestored

	resumedKinds = iota
)

// String returns the result's name in metrics.
func (r Resumed) String() string {
	return [...]string{"at_cursor", "ahead", "no_position", "moved", "behind", "expired", "other_log", "log_restored"}[r]
}

// resumption is the part of a lane that knows the destination's position. It is empty for a plain sink.
type resumption struct {
	resumer sinks.Resumer
	// asked is true while the destination's position is known.
	asked bool
	// known is true once the destination had a position.
	known bool
	// stored is the destination's position. The lane reports no later one, so the cursor never passes it.
	stored sinks.Position
	// pastSince is when the lane went past stored without a delivery, or zero.
	pastSince time.Time
	// already are events that were parked before this run, and that the destination's position has not passed.
	already map[sinks.Position]bool
}

// mustAsk reports whether the destination must be asked before the next event.
func (r *resumption) mustAsk() bool { return r.resumer != nil && !r.asked }

// reportable returns the position, up to p, that the lane may report.
func (r *resumption) reportable(p sinks.Position) sinks.Position {
	switch {
	case r.resumer == nil:
		return p
	case p <= r.stored:
		r.pastSince = time.Time{}
		return p
	case r.pastSince.IsZero():
		r.pastSince = time.Now()
	}
	return r.stored
}

// mustStore reports whether the lane is past the destination's position for long enough, and has nothing to deliver.
func (l *lane) mustStore() bool {
	return !l.pastSince.IsZero() && len(l.ahead) == 0 && time.Since(l.pastSince) >= l.d.cfg.SaveInterval
}

// untilStore limits a wait for events to the time when the position must be stored.
func (l *lane) untilStore(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.pastSince.IsZero() || len(l.ahead) > 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, l.pastSince.Add(l.d.cfg.SaveInterval))
}

// store moves the destination to the lane's position. Errors: those of unanswered.
func (l *lane) store(ctx, work context.Context) error {
	p := l.position()
	if err := l.resumer.MoveTo(work, p); err != nil {
		return l.unanswered(ctx, work, err)
	}
	l.reached(p)
	l.answered()
	return nil
}

// storeLast is store at the end of a run. If it fails, the events that were passed over are read again.
func (l *lane) storeLast(work context.Context) {
	select {
	case <-l.d.cfg.Claim.Lost():
		return
	default:
	}
	if l.pastSince.IsZero() || !l.asked {
		return
	}
	p := l.position()
	if err := l.resumer.MoveTo(work, p); err != nil {
		l.d.cfg.Logger.Warn("dispatch: the sink's last position cannot be stored", "position", p, "error", err)
		return
	}
	l.reached(p)
}

// reached notes the destination's position.
func (l *lane) reached(p sinks.Position) {
	l.stored, l.known = p, true
	l.report()
}

// resume asks the destination what it has reached, once, and goes on from there. Errors: ErrLost, sinks.ErrFenced,
// sinks.ErrClosed, ctx's.
func (l *lane) resume(ctx, work context.Context) error {
	reached, found, err := l.resumer.Resume(ctx)
	if err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // it was cut off, which is no failure
	}
	if err != nil {
		return l.unanswered(ctx, work, err)
	}
	result, err := l.checkReached(ctx, reached, found)
	if err != nil {
		return err
	}
	switch result {
	case NoPosition, Moved, OtherLog, LogRestored:
		if result == NoPosition && !l.known {
			if err := l.recallParked(ctx, l.position()); err != nil {
				return err
			}
		}
		return l.keepCursor(ctx, work, result, reached)
	default:
		p := max(reached.Mark.Position, 1)
		if first := !l.known; first && p >= l.stored { // One that lost events gets them again, also those.
			if err := l.recallParked(ctx, p); err != nil {
				return err
			}
		}
		l.followDestination(p, result == Expired)
		return nil
	}
}

// checkReached decides whether the destination's position counts. It returns AtCursor for one that does. Errors: sinks.ErrClosed, ctx's.
func (l *lane) checkReached(ctx context.Context, reached sinks.Reached, found bool) (Resumed, error) {
	switch {
	case l.d.cfg.Claim.Moved():
		return Moved, nil
	case !found:
		return NoPosition, nil
	case reached.Log != l.d.cfg.Log.ID():
		return OtherLog, nil
	}
	err := l.resolve(ctx, reached.Mark)
	switch {
	case err == nil:
		return AtCursor, nil
	case errors.Is(err, sinks.ErrExpired):
		return Expired, nil
	case errors.Is(err, sinks.ErrForked), errors.Is(err, sinks.ErrFuture):
		return LogRestored, nil
	}
	return 0, err
}

// resolve asks the log about a mark until it answers.
func (l *lane) resolve(ctx context.Context, m sinks.Mark) error {
	for failures := 1; ; failures++ {
		err := l.d.cfg.Log.Resolve(ctx, m)
		for _, answer := range []error{nil, sinks.ErrExpired, sinks.ErrForked, sinks.ErrFuture, sinks.ErrClosed} {
			if errors.Is(err, answer) {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.d.cfg.Logger.Error("dispatch: the journal cannot be asked about the sink's position", "position", m.Position, "error", err)
		if !pause(ctx, l.d.wait(failures)) {
			return ctx.Err()
		}
	}
}

// keepCursor goes on at the lane's position, which becomes the destination's.
func (l *lane) keepCursor(ctx, work context.Context, result Resumed, reached sinks.Reached) error {
	p := l.position()
	switch err := l.resolve(ctx, sinks.Mark{Position: p}); {
	case errors.Is(err, sinks.ErrFuture):
		l.asked = true // The next read finds that out, too, and stops the lane.
		return nil
	case err != nil && !errors.Is(err, sinks.ErrExpired):
		return err
	}
	if err := l.resumer.MoveTo(work, p); err != nil {
		return l.unanswered(ctx, work, err)
	}
	if result == Moved {
		// Saved at once: after a crash the destination's position counts again.
		save := func(ctx context.Context) error { return l.d.cfg.Claim.Save(ctx, p) }
		if err := l.d.persist(ctx, work, "the start of a sink that was moved", p, save); err != nil {
			return err
		}
	}
	l.countResumed(result, "position", p, "destination", reached.Mark.Position)
	l.reached(p)
	l.endAsking()
	return nil
}

// followDestination goes on at the destination's position, which counts more than the cursor.
func (l *lane) followDestination(p sinks.Position, expired bool) {
	result := AtCursor
	switch {
	case expired:
		result = Expired
	case p > l.stored:
		result = Ahead
	case p < l.stored:
		result = Behind
	}
	l.countResumed(result, "position", p, "cursor", l.stored)
	if p < l.stored || p > l.next {
		l.forget()
		l.next = p
	}
	arrived := 0
	for arrived < len(l.ahead) && l.ahead[arrived].Position < p {
		arrived++
	}
	if arrived > 0 {
		l.d.countDelivered(arrived)
		l.dropFirst(arrived)
	}
	l.reached(p)
	l.endAsking()
}

// forget drops the events that were read, to read them again.
func (l *lane) forget() {
	if len(l.ahead) > 0 {
		l.d.blocked.remove(l.head())
	}
	l.ahead, l.bytes, l.tries = nil, 0, tries{}
	l.undecided = nil // The route decides again. An old error must not park an event that it now lets through.
}

// endAsking notes that the destination's position is known. While there are events to try, only their delivery shows that the
// destination is well.
func (l *lane) endAsking() {
	l.asked = true
	if len(l.ahead) == 0 {
		l.answered()
	}
}

// countResumed counts a result, and logs it unless all is as expected.
func (l *lane) countResumed(result Resumed, attrs ...any) {
	l.d.cfg.Counters.resumed[result].Add(1)
	log := l.d.cfg.Logger
	switch result {
	case Ahead:
		log.Info("dispatch: the destination has events that the cursor had not passed; they are not repeated", attrs...)
	case NoPosition:
		if !l.known && l.position() <= l.d.cfg.Log.Bounds().Earliest {
			log.Info("dispatch: the destination has no position; the sink starts at the earliest event", attrs...)
			break
		}
		log.Warn("dispatch: the destination has no position; the sink starts at its cursor, and the events before are not delivered again", attrs...)
	case Moved:
		log.Info("dispatch: an operator moved the sink; its destination follows", attrs...)
	case Behind:
		log.Warn("dispatch: the destination lost events; they are delivered again", attrs...)
	case Expired:
		log.Warn("dispatch: the journal no longer has the events after the destination's position", attrs...)
	case OtherLog:
		log.Warn("dispatch: the destination's position belongs to another log; the sink starts at its cursor", attrs...)
	case LogRestored:
		log.Warn("dispatch: the journal was restored to a state before the destination's position; the sink starts at its cursor, and events may be repeated", attrs...)
	}
}

// resumes reports whether one of the sinks is a Resumer.
func resumes(all []sinks.Sink) bool {
	for _, s := range all {
		if _, ok := s.(sinks.Resumer); ok {
			return true
		}
	}
	return false
}
