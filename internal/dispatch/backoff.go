package dispatch

import (
	"context"
	"math/rand/v2"
	"time"
)

func random() float64 {
	return rand.Float64() //nolint:gosec // waits are spread out, not hidden
}

// after is the wait after so many failures in a row, the first being 1, before jitter.
func (b Backoff) after(failures int) time.Duration {
	d := b.Min
	for i := 1; i < failures && d < b.Max; i++ {
		d *= 2
	}
	return min(d, b.Max)
}

// jittered is between half of d and d.
func jittered(d time.Duration, jitter float64) time.Duration {
	return d - time.Duration(jitter*float64(d/2))
}

// pause waits. It reports false when ctx was done first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
