package ingress

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	kibi = 1 << 10
	mebi = 1 << 20
)

// limits enforces a source's limits on single bodies, rate and bytes a day.
type limits struct {
	body int64
	rate *rate.Limiter // nil: no limit

	daily int64 // 0: no limit
	*quota
}

// quota counts the bytes of a day.
type quota struct {
	mu    sync.Mutex
	day   int64 // days since 1970 in UTC that spent is about
	spent int64
}

func newLimits(body int64, perSecond int, daily int64) *limits {
	l := &limits{body: body, daily: daily, quota: &quota{}}
	if perSecond > 0 {
		l.rate = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	return l
}

// continueFrom makes the limits go on with what others have counted. A new rate has as much left as the old one, if it may.
func (l *limits) continueFrom(old *limits, now time.Time) {
	l.quota = old.quota
	switch {
	case l.rate == nil || old.rate == nil:
	case l.rate.Limit() == old.rate.Limit() && l.rate.Burst() == old.rate.Burst():
		l.rate = old.rate
	default:
		left := max(0, min(int(old.rate.TokensAt(now)), l.rate.Burst()))
		l.rate.ReserveN(now, l.rate.Burst()-left)
	}
}

// limited says that the sender is over its rate or its daily quota, and when it may send again.
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

// charge counts n bytes towards the daily quota. The error is a *limited: nothing was counted.
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
