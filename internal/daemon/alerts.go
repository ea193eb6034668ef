package daemon

import (
	"context"
	"strings"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// lookBack is among how many of the latest webhooks a source's last one is looked for at the start.
const lookBack = 10_000

// lastWebhooks returns when each source's last webhook was received, for those that have one among the latest of all.
func (a *Server) lastWebhooks(ctx context.Context) map[string]time.Time {
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
	if err != nil && ctx.Err() == nil {
		a.log.Warn("silence of sources is counted from now", "error", err)
	}
	return last
}
