package alerts

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// sourceMonitor evaluates the alerts of one source.
type sourceMonitor struct {
	source.Source

	silent, unauthorized, quarantine *alert

	// lastAt is the time of the last accepted webhook, or of the first start. gauge shows it if it is that of a webhook: isHeard.
	lastAt  time.Time
	isHeard bool
	gauge   prometheus.Gauge
	// accepted is the number of accepted webhooks when the counters were last read, without pings: a ping says nothing of the
	// webhooks that a silent source lacks. verifiedAtRaise is the number with pings when the alert unauthorized was raised: a ping
	// proves the secret.
	accepted, verifiedAtRaise float64

	requests, quarantines window
}

func newSourceMonitor(s source.Source, log *slog.Logger, raised, last *prometheus.GaugeVec) *sourceMonitor {
	m := &sourceMonitor{
		gauge:       last.WithLabelValues(s.Name),
		requests:    window{span: requestWindow, minRequests: minRequests, maxAge: requestLookBack},
		quarantines: window{span: quarantineWindow},
	}
	m.configure(s, log, raised)
	return m
}

// start sets the first readings, from the note of the last holder if there is one.
func (m *sourceMonitor) start(now, last time.Time, note *journalv1.SourceAlerts, c counts) {
	m.lastAt, m.isHeard = now, false
	if note != nil {
		m.lastAt = notAfter(note.GetLastAt(), now)
	}
	if note.GetHeard() {
		m.setLastAccepted(m.lastAt)
	}
	if !last.IsZero() && !last.After(now) && (!m.isHeard || last.After(m.lastAt)) {
		m.setLastAccepted(last)
	}
	m.accepted, m.verifiedAtRaise = c.accepted, float64(note.GetVerifiedAtRaise())
	m.requests.restore(note.GetRequests(), now)
	m.quarantines.restore(note.GetQuarantines(), now)
	m.requests.add(now, c.ofRequests())
	m.quarantines.add(now, c.ofQuarantine())
	for _, r := range note.GetRaised() {
		for _, a := range m.alerts() {
			if a != nil && a.name == r.GetAlert() {
				a.raised, a.logged = true, notAfter(r.GetLoggedAt(), now)
				a.gauge.Set(1)
			}
		}
	}
}

// alerts returns the source's alerts. An alert that is turned off is nil.
func (m *sourceMonitor) alerts() []*alert { return []*alert{m.silent, m.unauthorized, m.quarantine} }

func (m *sourceMonitor) setLastAccepted(t time.Time) {
	m.lastAt, m.isHeard = t, true
	m.gauge.Set(float64(t.UnixMilli()) / 1000)
}

// count notes the webhooks that the instances accepted.
func (m *sourceMonitor) count(now time.Time, c counts) {
	if c.accepted > m.accepted {
		m.setLastAccepted(now)
	}
	m.accepted = c.accepted
}

// heard notes a webhook that some instance stored. A time that lies ahead is from a clock that was wrong.
func (m *sourceMonitor) heard(now, last time.Time) {
	if last.After(m.lastAt) && !last.After(now) {
		m.setLastAccepted(last)
	}
}

// isSilent reports whether no webhook is known for the configured time.
func (m *sourceMonitor) isSilent(now time.Time) bool {
	return m.silent != nil && !now.Before(m.silentFrom())
}

// silentFrom is when the source becomes silent if nothing is accepted.
func (m *sourceMonitor) silentFrom() time.Time { return m.lastAt.Add(m.Alerts.SilentAfter) }

// evaluate raises and clears the source's alerts. A silence is raised only if the newest webhooks were asked for, and answered,
// since the source became silent: another instance may have received some.
func (m *sourceMonitor) evaluate(now, answered time.Time, c counts) {
	silence := now.Sub(m.lastAt)
	silent := m.isSilent(now) && (m.silent.isRaised() || !answered.Before(m.silentFrom()))
	m.silent.update(now, silent, "silent_for", silence.Round(time.Second).String())

	m.evaluateUnauthorized(now, c)

	hour, within := m.quarantines.add(now, c.ofQuarantine())
	m.quarantine.update(now, hour.quarantined >= float64(m.Alerts.Quarantined),
		"quarantined", int(hour.quarantined), "within", within.String())
}

// evaluateUnauthorized updates the alert about requests that were refused for a wrong secret.
func (m *sourceMonitor) evaluateUnauthorized(now time.Time, c counts) {
	if !m.unauthorized.isRaised() {
		m.verifiedAtRaise = c.accepted + c.pings
	}
	latest, within := m.requests.add(now, c.ofRequests())
	bad := latest.received >= minRequests && latest.unauthorized*100 >= latest.received*float64(m.Alerts.UnauthorizedPercent)
	lockedOut := m.unauthorized.isRaised() && c.accepted+c.pings == m.verifiedAtRaise
	m.unauthorized.update(now, bad || lockedOut,
		"unauthorized", int(latest.unauthorized), "requests", int(latest.received), "within", within.String())
}
