package daemon

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// claimRetry is how long to wait when a claim cannot be had now: claimRetry at first, doubled after each failure up to
	// claimRetryMost, with jitter.
	claimRetry     = time.Second
	claimRetryMost = 8 * time.Second
	// claimHeld is how long a claim must last for the wait to start again with claimRetry.
	claimHeld = 30 * time.Second
	// claimReminder is how often a failure that lasts is logged again.
	claimReminder = 10 * time.Minute
)

// claimBackoff is the wait between two attempts to have a claim. While they fail, it logs the first failure, and then a reminder now
// and then.
type claimBackoff struct {
	log *slog.Logger
	// what is claimed, for the log.
	what []any

	wait time.Duration
	// now says that the next attempt is made at once.
	now     bool
	began   time.Time
	failing bool
	logged  time.Time
}

// begin says that an attempt begins.
func (b *claimBackoff) begin() { b.began = time.Now() }

// lost notes that a claim was had, and was lost. Then the next attempt is made at once, unless claims are lost again and again.
func (b *claimBackoff) lost() {
	b.recovered()
	if time.Since(b.began) >= claimHeld {
		b.wait = 0
	}
	b.now = b.wait == 0
}

// recovered notes that a claim was had.
func (b *claimBackoff) recovered() {
	if b.failing {
		b.log.Info("claimed again", b.what...)
	}
	b.failing = false
}

// failed notes that no claim was to be had.
func (b *claimBackoff) failed(err error) {
	if b.failing && time.Since(b.logged) < claimReminder {
		return
	}
	b.failing, b.logged = true, time.Now()
	b.log.Warn("cannot be claimed now; trying again", append(b.what, "error", err)...)
}

// pause waits before the next attempt. It reports false when ctx is done.
func (b *claimBackoff) pause(ctx context.Context) bool {
	now := b.now
	b.now, b.wait = false, min(max(2*b.wait, claimRetry), claimRetryMost)
	if now {
		return ctx.Err() == nil
	}
	t := time.NewTimer(b.wait/2 + rand.N(b.wait/2+1)) //nolint:gosec // it only spreads attempts
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
