package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/internal/alerts"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// alertsClaim is the name that the instance claims that evaluates the alerts. Sinks cannot have it.
const alertsClaim = "_alerts"

// runAlerts evaluates the alerts while this instance has the claim, until ctx is done or the journal closes. So several
// instances over one log raise an alert once.
func (a *Server) runAlerts(ctx context.Context) {
	backoff := claimBackoff{log: a.log, what: []any{"task", "alerts"}}
	for {
		backoff.begin()
		claim, err := a.journal.Claim(ctx, alertsClaim)
		switch {
		case err == nil:
			backoff.begin()
			backoff.recovered()
			a.evaluateAlerts(ctx, claim)
			backoff.lost()
		case errors.Is(err, sinks.ErrClosed), ctx.Err() != nil:
			return
		default:
			backoff.failed(err)
		}
		if !backoff.pause(ctx) {
			return
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
	a.alerts.Run(held, sharedLog{a}, claim)
	if err := claim.Release(context.WithoutCancel(ctx)); err != nil {
		a.log.Warn("alerts: claim cannot be released", "error", err)
	}
}

// reportInterval is how often an instance reports its counters to the log.
const reportInterval = 5 * time.Second

// reportCounts reports the counters of this instance until ctx is done.
func (a *Server) reportCounts(ctx context.Context) {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := a.report(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			a.log.Warn("alerts: the counters cannot be reported to the other replicas", "error", err)
		}
		failed = err != nil
	}
}

// report reports the counters of this instance. The last report is made when nothing is received any more: whoever evaluates the
// alerts then counts what came until the end.
func (a *Server) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reportInterval)
	defer cancel()
	return a.journal.Report(ctx, journal.Report{Counts: alerts.ReadCounts(a.metrics), Config: a.fingerprint()})
}

// sharedLog is the journal as the alerts see it.
type sharedLog struct{ *Server }

// Newest implements [alerts.Log].
func (s sharedLog) Newest(ctx context.Context) (map[string]time.Time, error) {
	return s.journal.Newest(ctx, sourceNames(s.config()))
}

// Instances implements [alerts.Log].
func (s sharedLog) Instances(ctx context.Context) ([]alerts.Instance, error) {
	replicas, err := s.journal.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]alerts.Instance, 0, len(replicas))
	for _, r := range replicas {
		all = append(all, alerts.Instance{ID: r.ID, Started: r.Started, Self: r.Self, Ended: r.Ended, Counts: r.Counts})
	}
	return all, nil
}
