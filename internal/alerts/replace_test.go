package alerts

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/source"
)

// TestReplace: a source that keeps its name keeps its windows and its raised alerts. Others come and go.
func TestReplace(t *testing.T) {
	named := func(name string, silent time.Duration, quarantined int) source.Source {
		return source.Source{Name: name, Alerts: source.Alerts{SilentAfter: silent, Quarantined: quarantined}}
	}
	withMonitor(t, nil, []source.Source{named("a", time.Hour, 3), named("gone", 0, 1)}, func(r *rig) {
		r.quarantine("a", 2)
		r.quarantine("gone", 1)
		r.pass(10 * time.Second)
		r.expect("WARN alert raised gone quarantine 1 within 1h0m0s")

		r.monitor.Replace([]source.Source{named("new", time.Minute, 0), named("a", time.Hour, 3)})
		r.pass(10 * time.Second)
		r.expect()
		r.quarantine("a", 1)
		r.pass(10 * time.Second)
		r.expect("WARN alert raised a quarantine 3 within 1h0m0s")
		r.pass(time.Minute)
		r.expect("WARN alert raised new silent 1m0s")
		r.monitor.Replace([]source.Source{named("a", time.Hour, 3), named("new", time.Minute, 0)})
		r.pass(10 * time.Second)
		r.expect() // neither is raised again
		heard := "last_webhook_timestamp_seconds a  " + r.unix(25*time.Second) + "\nlast_webhook_timestamp_seconds new  0.000\n"
		r.metrics("alarm a quarantine 1.000\nalarm a silent 0.000\nalarm new silent 1.000\n" + heard)
		r.monitor.Replace([]source.Source{named("a", 0, 0), named("new", time.Hour, 0)})
		r.pass(10 * time.Second)
		r.expect("INFO alert cleared new silent 1m30s")
		r.metrics("alarm new silent 0.000\n" + heard)
	})
}
