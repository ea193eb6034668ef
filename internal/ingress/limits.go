package ingress

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

const (
	kibi = 1 << 10
	mebi = 1 << 20
)

// roomTimeout is how long a webhook waits for room before it is answered 503.
const roomTimeout = 500 * time.Millisecond

// largest is the room that the largest body takes.
func largest(body int64) int64 { return max(body, smallBody) + 1 }

// limits enforces a source's limits.
type limits struct {
	body int64
	rate *rate.Limiter // nil: no limit
	room *semaphore.Weighted
	// unverified is the room of bodies that are read before it is known whose they are. It is apart, so that strangers cannot
	// take up that of the source.
	unverified *semaphore.Weighted

	daily int64 // 0: no limit
	mu    sync.Mutex
	day   int64 // days since 1970 in UTC that spent is about
	spent int64
}

func newLimits(body int64, perSecond int, room, daily int64) *limits {
	l := &limits{
		body: body, room: semaphore.NewWeighted(room), daily: daily,
		unverified: semaphore.NewWeighted(max(room/4, largest(body))),
	}
	if perSecond > 0 {
		l.rate = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	return l
}

// limited says that the sender has had its share, and when there is more.
type limited struct {
	reason reason
	after  time.Duration
}

func (e *limited) Error() string { return "ingress: over the limit: " + e.reason.String() }

// admit counts one webhook. The error is a *limited.
func (l *limits) admit(now time.Time) error {
	if l.rate != nil && !l.rate.AllowN(now, 1) {
		return &limited{reason: reasonRate, after: time.Second}
	}
	return l.charge(now, 0)
}

// charge counts n bytes towards the day's share. The error is a *limited: nothing was counted.
func (l *limits) charge(now time.Time, n int64) error {
	if l.daily == 0 {
		return nil
	}
	const day = 24 * 60 * 60
	today := now.Unix() / day
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.day != today {
		l.day, l.spent = today, 0
	}
	if l.spent+n > l.daily || l.spent == l.daily {
		return &limited{reason: reasonQuota, after: time.Unix((today+1)*day, 0).Sub(now)}
	}
	l.spent += n
	return nil
}

// lease is the room that one webhook's body takes, out of its source's. The zero value with a room holds nothing.
type lease struct {
	room *semaphore.Weighted
	held int64
	// free is how much more it has for nothing.
	free int64
	// until is when waiting ends, set by the first wait.
	until time.Time
}

// grow takes n more bytes. It waits, over all calls, at most roomTimeout; then the error is errBusy. If ctx ends first it is
// ctx's.
func (l *lease) grow(ctx context.Context, n int64) error {
	free := min(n, l.free)
	if l.free, n = l.free-free, n-free; n == 0 {
		return nil
	}
	if !l.room.TryAcquire(n) {
		if err := l.wait(ctx, n); err != nil {
			return err
		}
	}
	l.held += n
	return nil
}

func (l *lease) wait(ctx context.Context, n int64) error {
	if l.until.IsZero() {
		l.until = time.Now().Add(roomTimeout)
	}
	bounded, cancel := context.WithDeadline(ctx, l.until)
	defer cancel()
	if err := l.room.Acquire(bounded, n); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errBusy
	}
	return nil
}

func (l *lease) release() {
	if l.held > 0 {
		l.room.Release(l.held)
		l.held = 0
	}
}
