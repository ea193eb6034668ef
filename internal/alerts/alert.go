package alerts

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// alert is raised or not. A nil alert is turned off and never raised.
type alert struct {
	name   string
	log    *slog.Logger
	gauge  prometheus.Gauge
	raised bool
	logged time.Time
}

func (a *alert) isRaised() bool { return a != nil && a.raised }

// update raises the alert if bad, and clears it otherwise. The log line has the attributes, which give the reason.
func (a *alert) update(now time.Time, bad bool, attributes ...any) {
	switch {
	case a == nil:
	case bad && !a.raised:
		a.raised, a.logged = true, now
		a.gauge.Set(1)
		a.log.Warn("alert raised", attributes...)
	case bad && now.Sub(a.logged) >= reminder:
		a.logged = now
		a.log.Warn("alert lasts", attributes...)
	case !bad && a.raised:
		a.raised = false
		a.gauge.Set(0)
		a.log.Info("alert cleared", attributes...)
	}
}
