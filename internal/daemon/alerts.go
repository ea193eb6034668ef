package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// alertsClaim is the name that the instance claims that evaluates the alerts. Sinks cannot have it.
const alertsClaim = "_alerts"

// runAlerts evaluates the alerts while this instance has the claim, until ctx is done. So several instances over one log raise
// an alert once.
func (a *Server) runAlerts(ctx context.Context) error {
	for {
		claim, err := a.journal.Claim(ctx, alertsClaim)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, sinks.ErrClosed) {
				return nil
			}
			return fmt.Errorf("alerts: %w", err)
		}
		held, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-claim.Lost():
				cancel()
			case <-held.Done():
			}
		}()
		a.alerts.Run(held, a.newestWebhooks)
		cancel()
		if err := claim.Release(context.WithoutCancel(ctx)); err != nil {
			a.log.Warn("alerts: claim cannot be released", "error", err)
		}
		if ctx.Err() != nil {
			return nil
		}
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
