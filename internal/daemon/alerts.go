package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// lookBack is among how many of the latest webhooks a source's last one is looked for at the start.
const lookBack = 10_000

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

// newestWebhooks returns when each source's last webhook was received, for those that have one among the latest of all.
func (a *Server) newestWebhooks(ctx context.Context) (map[string]time.Time, error) {
	wanted := make(map[string]bool, len(a.cfg.Sources))
	for i := range a.cfg.Sources {
		wanted[a.cfg.Sources[i].Name] = true
	}
	last := make(map[string]time.Time, len(wanted))
	_, err := a.journal.Find(ctx, journal.Query{
		Backwards: true,
		Scan:      lookBack,
		Limit:     1,
		Match: func(w *journalv1.Webhook) bool {
			if name := w.GetSource(); wanted[name] {
				last[strings.Clone(name)] = w.GetReceivedAt().AsTime()
				delete(wanted, name)
			}
			return len(wanted) == 0 // and then the search ends
		},
	})
	return last, err
}
