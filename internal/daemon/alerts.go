package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// alertsClaim is the name that the instance claims that evaluates the alerts. Sinks cannot have it.
const alertsClaim = "_alerts"

// runAlerts evaluates the alerts while this instance has the claim, until ctx is done or the journal closes. So several
// instances over one log raise an alert once.
func (a *Server) runAlerts(ctx context.Context) {
	for ctx.Err() == nil {
		claim, err := a.journal.Claim(ctx, alertsClaim)
		switch {
		case err == nil:
			a.evaluateAlerts(ctx, claim)
			continue
		case errors.Is(err, sinks.ErrClosed), ctx.Err() != nil:
			return
		}
		a.log.Warn("alerts: cannot be claimed now", "error", err)
		select {
		case <-time.After(claimRetry):
		case <-ctx.Done():
		}
	}
}

// evaluateAlerts evaluates the alerts until the claim is lost or ctx is done, and releases the claim.
func (a *Server) evaluateAlerts(ctx context.Context, claim journal.Claim) {
	held, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-claim.Lost():
			cancel()
		case <-held.Done():
		}
	}()
	a.alerts.Run(held, a.newestWebhooks)
	if err := claim.Release(context.WithoutCancel(ctx)); err != nil {
		a.log.Warn("alerts: claim cannot be released", "error", err)
	}
}

// newestWebhooks returns when each source's newest webhook was received.
func (a *Server) newestWebhooks(ctx context.Context) (map[string]time.Time, error) {
	names := make([]string, 0, len(a.cfg.Sources))
	for i := range a.cfg.Sources {
		names = append(names, a.cfg.Sources[i].Name)
	}
	return a.journal.Newest(ctx, names)
}
