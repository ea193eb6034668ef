package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// triesKept bounds the history of an event that fails again and again.
const triesKept = 10

// tries are the failed attempts to deliver an event.
type tries struct {
	first  time.Time
	count  uint64
	latest []*journalv1.Attempt
}

func (t *tries) add(err error) {
	now := time.Now()
	if t.count == 0 {
		t.first = now
	}
	t.count++
	if len(t.latest) == triesKept {
		copy(t.latest, t.latest[1:])
		t.latest = t.latest[:triesKept-1]
	}
	t.latest = append(t.latest, &journalv1.Attempt{At: timestamppb.New(now), Error: err.Error()})
}

// answered notes that the far side is there: it took an event, or refused one for good.
func (l *lane) answered() {
	if State(l.breaker.Swap(int32(Closed))) != Closed {
		l.d.cfg.Logger.Info("dispatch: the sink answers again", "position", l.next)
	}
	l.failures, l.alone, l.quiet = 0, false, false
}

// failed waits after an attempt that failed, until it may be tried again.
func (l *lane) failed(ctx context.Context, err error) {
	l.tries.add(err)
	l.d.retries.Add(1)
	var after *sinks.RetryAfterError
	if errors.As(err, &after) && after.After > 0 {
		// The far side answers, so the breaker has no part in this.
		l.d.cfg.Logger.Log(ctx, l.loudness(slog.LevelWarn), "dispatch: the sink asks for a pause",
			"position", l.head(), "error", err)
		pause(ctx, after.After)
		return
	}
	l.failures++
	if l.failures >= l.d.cfg.Breaker.Failures || State(l.breaker.Load()) == HalfOpen {
		l.trip(ctx, err)
		return
	}
	wait := l.d.wait(l.failures)
	l.d.cfg.Logger.Log(ctx, l.loudness(slog.LevelWarn), "dispatch: the sink fails; trying again",
		"position", l.head(), "error", err, "attempts", l.tries.count, "wait", wait.String())
	pause(ctx, wait)
}

// trip opens the breaker, waits, and leaves it half open.
func (l *lane) trip(ctx context.Context, err error) {
	wait := jittered(l.d.cfg.Breaker.Pause, l.d.cfg.Jitter())
	if was := State(l.breaker.Swap(int32(Open))); was == Closed {
		l.quiet = false
	}
	l.d.cfg.Logger.Log(ctx, l.loudness(slog.LevelError), "dispatch: the sink keeps failing; trying one event now and then",
		"position", l.head(), "error", err, "attempts", l.tries.count, "wait", wait.String())
	if pause(ctx, wait) {
		l.breaker.Store(int32(HalfOpen))
		l.alone = true
	}
}

// loudness is the level for what is wrong: the one given the first time, debug until that has changed.
func (l *lane) loudness(level slog.Level) slog.Level {
	if l.quiet {
		return slog.LevelDebug
	}
	l.quiet = true
	return level
}

// refused parks the first event ahead, or waits before it. Errors: sinks.ErrClosed.
func (l *lane) refused(ctx context.Context, err error) error {
	l.answered()
	l.tries.add(err)
	if l.d.cfg.StrictOrder && !l.passed(ctx, err) {
		return nil
	}
	return l.park(ctx, err)
}

// passed waits before a refused event until it may be tried again. It reports true as soon as the event is given up.
func (l *lane) passed(ctx context.Context, err error) bool {
	l.alone = true
	pass, fresh := l.d.hold(l.head(), err)
	if fresh {
		l.d.cfg.Logger.Error("dispatch: event refused for good; its lane stands until it is taken or passed",
			"position", l.head(), "error", err)
	}
	t := time.NewTimer(jittered(l.d.cfg.Breaker.Pause, l.d.cfg.Jitter()))
	defer t.Stop()
	select {
	case <-pass:
		l.alone = false
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// park puts the first event ahead aside and goes on behind it, once that is durable. It does nothing when ctx is done
// first. Errors: sinks.ErrClosed.
func (l *lane) park(ctx context.Context, reason error) error {
	for failures := 1; ; failures++ {
		err := l.d.cfg.Log.Park(l.parked(reason))
		if err == nil {
			break
		}
		if errors.Is(err, sinks.ErrClosed) {
			return err
		}
		l.d.cfg.Logger.Error("dispatch: a refused event cannot be parked", "position", l.head(), "error", err)
		if !pause(ctx, l.d.wait(failures)) {
			return nil
		}
	}
	l.d.parked.Add(1)
	l.d.cfg.Logger.Error("dispatch: event refused for good and parked", "position", l.head(), "error", reason)
	l.drop(1)
	return nil
}

func (l *lane) parked(reason error) *journalv1.Parked {
	last := l.tries.latest[len(l.tries.latest)-1]
	return &journalv1.Parked{
		Sink:           l.d.cfg.Name,
		Position:       uint64(l.head()),
		Event:          l.ahead[0].Encoded,
		Reason:         reason.Error(),
		FirstAttemptAt: timestamppb.New(l.tries.first),
		LastAttemptAt:  last.GetAt(),
		AttemptCount:   l.tries.count,
		Attempts:       l.tries.latest,
	}
}
