package ingress

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Limits bounds what a source may cost. Zeros are defaults.
type Limits struct {
	// Body is the largest body in bytes, also after decompression. Default: what the connector needs, at least 1 MiB;
	// without authentication 64 KiB.
	Body int64
	// Rate is requests a second, averaged over about a second; an array of webhooks is one. Default: no limit; without
	// authentication 20.
	Rate int
	// InFlight is bytes of bodies held at once. Default: 64 MiB. It is raised to what one body needs, compressed and not. Bodies
	// whose signature is not verified yet have a quarter of as much, at least one body, besides, and their first 4 KiB for
	// nothing.
	InFlight int64
	// Daily is bytes a day, in UTC. Default: no limit; without authentication 64 MiB. Counted from the program's start.
	Daily int64
}

const (
	kibi = 1 << 10
	mebi = 1 << 20
)

// roomTimeout is how long a webhook waits for room before it is answered 503.
const roomTimeout = 500 * time.Millisecond

func (l Limits) orDefault(needed int64, unauthenticated bool) Limits {
	defaults := Limits{Body: max(mebi, needed), InFlight: 64 * mebi}
	if unauthenticated {
		defaults = Limits{Body: 64 * kibi, Rate: 20, InFlight: 64 * mebi, Daily: 64 * mebi}
	}
	l.Body = positive(l.Body, defaults.Body)
	l.Rate = positive(l.Rate, defaults.Rate)
	l.InFlight = max(positive(l.InFlight, defaults.InFlight), 2*l.largest())
	l.Daily = positive(l.Daily, defaults.Daily)
	return l
}

// largest is the room that the largest body takes.
func (l Limits) largest() int64 { return max(l.Body, smallBody) + 1 }

func positive[T int | int64](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// limits enforces a source's Limits.
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

func newLimits(l Limits) *limits {
	e := &limits{
		body: l.Body, room: semaphore.NewWeighted(l.InFlight), daily: l.Daily,
		unverified: semaphore.NewWeighted(max(l.InFlight/4, l.largest())),
	}
	if l.Rate > 0 {
		e.rate = rate.NewLimiter(rate.Limit(l.Rate), l.Rate)
	}
	return e
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
