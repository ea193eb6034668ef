package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"strings"
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

// answered records that the destination is reachable: it accepted an event, or refused one permanently.
func (l *lane) answered() {
	if State(l.breaker.Swap(int32(Closed))) != Closed {
		l.d.cfg.Logger.Info("dispatch: the sink answers again", "position", l.next)
	}
	l.failures, l.alone, l.quiet = 0, false, false
	l.problem.Store(nil)
}

// maxProblem bounds the text of a problem, in bytes.
const maxProblem = 300

// problemText is an error's text, for operators.
func problemText(err error) *string {
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > maxProblem {
		text = strings.ToValidUTF8(text[:maxProblem-len("…")], "") + "…"
	}
	return &text
}

// failed waits after an attempt that failed, until it may be tried again.
func (l *lane) failed(ctx context.Context, err error) {
	if len(l.ahead) > 0 {
		l.tries.add(err)
	}
	l.d.cfg.Counters.retries.Add(1)
	l.problem.Store(problemText(err))
	var after *sinks.RetryAfterError
	if errors.As(err, &after) && after.After > 0 {
		// The destination is reachable, so the breaker stays as it is.
		l.d.cfg.Logger.Log(ctx, l.loudness(slog.LevelWarn), "dispatch: the sink asks for a pause",
			"position", l.position(), "error", err)
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
		"position", l.position(), "error", err, "attempts", l.tries.count, "wait", wait.String())
	pause(ctx, wait)
}

// trip opens the breaker, waits, and leaves it half open.
func (l *lane) trip(ctx context.Context, err error) {
	wait := jittered(l.d.cfg.Breaker.Pause, l.d.cfg.Jitter())
	if was := State(l.breaker.Swap(int32(Open))); was == Closed {
		l.quiet = false
	}
	l.d.cfg.Logger.Log(ctx, l.loudness(slog.LevelError), "dispatch: the sink keeps failing; trying one event now and then",
		"position", l.position(), "error", err, "attempts", l.tries.count, "wait", wait.String())
	if pause(ctx, wait) {
		l.breaker.Store(int32(HalfOpen))
		l.alone = true
	}
}

// loudness returns the log level for a problem: the given one the first time, then debug until the problem has changed.
func (l *lane) loudness(level slog.Level) slog.Level {
	if l.quiet {
		return slog.LevelDebug
	}
	l.quiet = true
	return level
}

// refused parks the first event ahead, or waits before it. Errors: ErrLost, sinks.ErrClosed, ctx's.
func (l *lane) refused(ctx, work context.Context, err error) error {
	l.answered()
	return l.setAside(ctx, work, err)
}

// setAside parks the first event ahead, or waits before it, without a conclusion about the destination. Errors: those of refused.
func (l *lane) setAside(ctx, work context.Context, err error) error {
	l.tries.add(err)
	if l.d.cfg.StrictOrder && !l.passed(ctx, err) {
		return nil
	}
	return l.park(ctx, work, err)
}

// passed waits before a refused event until it may be tried again. It reports true as soon as an operator lets it pass.
func (l *lane) passed(ctx context.Context, err error) bool {
	l.alone = true
	pass, added := l.d.blocked.add(l.head(), err, false)
	if added {
		l.d.cfg.Logger.Error("dispatch: event refused permanently; its lane waits until it is accepted or an operator lets it pass",
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

// disabled stops before the first event ahead: the destination wants no more events. A later run tries again, after an operator has
// resumed the sink, or Bridge was started again. An operator can let the event pass. Errors: ErrLost, sinks.ErrClosed, ctx's.
func (l *lane) disabled(ctx, work context.Context, err error) error {
	l.tries.add(err)
	pass, _ := l.d.blocked.add(l.head(), err, false)
	l.d.cfg.Logger.Error("dispatch: the destination wants no more events; its lane stops until an operator resumes the sink",
		"position", l.head(), "error", err)
	select {
	case <-pass:
		return l.park(ctx, work, err)
	case <-ctx.Done():
		return nil
	}
}

// park stores the first event ahead as a dead letter, and continues after it when that is durable. Errors: ErrLost,
// sinks.ErrClosed, ctx's.
func (l *lane) park(ctx, work context.Context, reason error) error {
	err := l.d.persist(ctx, work, "a refused event", l.head(), func(ctx context.Context) error {
		return l.d.cfg.Claim.Park(ctx, l.parked(reason))
	})
	if err != nil {
		return err
	}
	l.d.cfg.Counters.parked.Add(1)
	l.d.cfg.Logger.Error("dispatch: event refused permanently and parked", "position", l.head(), "error", reason)
	l.dropFirst(1)
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
