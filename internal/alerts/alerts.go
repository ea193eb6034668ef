package alerts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/source"
)

// How often the counters are read, how far back an alert looks, and how often a lasting alert is logged again.
const (
	interval         = 5 * time.Second
	requestWindow    = 5 * time.Minute
	requestLookBack  = 24 * time.Hour
	quarantineWindow = time.Hour
	reminder         = time.Hour
	// askInterval is how often the newest webhooks are asked for, at most.
	askInterval = 30 * time.Second
)

// minRequests is the number of requests that a percentage needs. If the window has fewer, older requests are added.
const minRequests = 10

// Config configures a [Monitor].
type Config struct {
	// Sources have their alerts in [source.Alerts].
	Sources []source.Source
	// Gatherer has the counters of received, accepted, refused and quarantined webhooks.
	Gatherer prometheus.Gatherer
	// Registerer registers the monitor's own metrics. nil registers them nowhere.
	Registerer prometheus.Registerer
	// Logger receives the alerts. nil discards them.
	Logger *slog.Logger
}

// Monitor evaluates the alerts of all sources while it runs.
type Monitor struct {
	gatherer prometheus.Gatherer
	log      *slog.Logger
	sources  []*sourceMonitor
	// ran says that Run was called before.
	ran bool
}

// New registers the metrics, with no alert raised. It starts nothing.
func New(c Config) (*Monitor, error) {
	m := &Monitor{gatherer: c.Gatherer, log: c.Logger}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	raised := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bridge_source_alarm", Help: "1 while an alert about the source is raised. An alert that is turned off has no series.",
	}, []string{"source", "alarm"})
	last := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bridge_source_last_webhook_timestamp_seconds", Help: "When the last webhook was accepted, since 1970. 0 while none is known.",
	}, []string{"source"})
	for _, s := range c.Sources {
		m.sources = append(m.sources, newSourceMonitor(s, m.log, raised, last))
	}
	if c.Registerer == nil {
		return m, nil
	}
	if err := errors.Join(c.Registerer.Register(raised), c.Registerer.Register(last)); err != nil {
		return nil, fmt.Errorf("alerts: metrics: %w", err)
	}
	return m, nil
}

// Newest returns when the newest stored webhook of each source was received, by whichever instance. A source without a known
// webhook is left out.
type Newest func(ctx context.Context) (map[string]time.Time, error)

// Run evaluates the alerts until ctx is done. It asks newest at the start, and before it calls a source silent: another
// instance may have received the source's webhooks. Run may be called again after it has returned.
func (m *Monitor) Run(ctx context.Context, newest Newest) {
	last, ok := m.ask(ctx, newest)
	now := time.Now()
	var all map[string]counts // at the first start the counters are 0
	if m.ran {
		all = readCounts(m.gatherer)
	}
	m.ran = true
	for _, s := range m.sources {
		s.start(now, last[s.Name], all[s.Name])
	}
	defer m.stop()
	asked, answered := now, time.Time{}
	if ok {
		answered = now
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all := readCounts(m.gatherer)
		now := time.Now()
		for _, s := range m.sources {
			s.count(now, all[s.Name])
		}
		if m.mustAsk(now, asked, answered) {
			last, ok := m.ask(ctx, newest)
			if asked = now; ok {
				answered = now
			}
			for _, s := range m.sources {
				s.heard(now, last[s.Name])
			}
		}
		for _, s := range m.sources {
			s.evaluate(now, answered, all[s.Name])
		}
	}
}

// mustAsk reports whether to ask for the newest webhooks: at once for a source that became silent since the last answer, and now
// and then while a source is silent. After a failure it waits.
func (m *Monitor) mustAsk(now, asked, answered time.Time) bool {
	failed := answered.Before(asked)
	return slices.ContainsFunc(m.sources, func(s *sourceMonitor) bool {
		return s.isSilent(now) && (now.Sub(asked) >= askInterval || !failed && answered.Before(s.silentFrom()))
	})
}

// stop takes back the alerts that are raised: from now on another instance evaluates them, or none.
func (m *Monitor) stop() {
	for _, s := range m.sources {
		for _, a := range []*alert{s.silent, s.unauthorized, s.quarantine} {
			if a.isRaised() {
				a.raised = false
				a.gauge.Set(0)
			}
		}
	}
}

// ask reports whether newest answered.
func (m *Monitor) ask(ctx context.Context, newest Newest) (last map[string]time.Time, ok bool) {
	last, err := newest(ctx)
	if err != nil && ctx.Err() == nil {
		m.log.Warn("alerts: the newest webhooks cannot be read", "error", err)
	}
	return last, err == nil
}

// sourceMonitor evaluates the alerts of one source.
type sourceMonitor struct {
	source.Source

	silent, unauthorized, quarantine *alert

	// lastAt is the time of the last accepted webhook, or of the start. gauge shows it, unless it is the start.
	lastAt time.Time
	gauge  prometheus.Gauge
	// accepted is the number of accepted webhooks when the counters were last read, without pings: a ping says nothing of the
	// webhooks that a silent source lacks. verifiedAtRaise is the number with pings when the alert unauthorized was raised: a ping
	// proves the secret.
	accepted, verifiedAtRaise float64

	requests, quarantines window
}

func newSourceMonitor(s source.Source, log *slog.Logger, raised, last *prometheus.GaugeVec) *sourceMonitor {
	m := &sourceMonitor{
		Source:      s,
		gauge:       last.WithLabelValues(s.Name),
		requests:    window{span: requestWindow, minRequests: minRequests, maxAge: requestLookBack},
		quarantines: window{span: quarantineWindow},
	}
	log = log.With("source", s.Name)
	for _, x := range []struct {
		to   **alert
		name string
		set  bool
	}{
		{&m.silent, "silent", s.Alerts.SilentAfter > 0},
		{&m.unauthorized, "unauthorized", s.Alerts.UnauthorizedPercent > 0},
		{&m.quarantine, "quarantine", s.Alerts.Quarantined > 0},
	} {
		if x.set {
			*x.to = &alert{log: log.With("alert", x.name), gauge: raised.WithLabelValues(s.Name, x.name)}
		}
	}
	return m
}

// start sets the first readings.
func (m *sourceMonitor) start(now, last time.Time, c counts) {
	m.lastAt = now
	if !last.IsZero() && !last.After(now) {
		m.setLastAccepted(last)
	}
	m.accepted = c.accepted
	m.requests.readings, m.quarantines.readings = nil, nil
	m.requests.add(now, c)
	m.quarantines.add(now, c)
}

func (m *sourceMonitor) setLastAccepted(t time.Time) {
	m.lastAt = t
	m.gauge.Set(float64(t.UnixMilli()) / 1000)
}

// count notes the webhooks that this instance accepted.
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

	hour, within := m.quarantines.add(now, c)
	m.quarantine.update(now, hour.quarantined >= float64(m.Alerts.Quarantined),
		"quarantined", int(hour.quarantined), "within", within.String())
}

// evaluateUnauthorized updates the alert about requests that were refused for a wrong secret.
func (m *sourceMonitor) evaluateUnauthorized(now time.Time, c counts) {
	if !m.unauthorized.isRaised() {
		m.verifiedAtRaise = c.accepted + c.pings
	}
	latest, within := m.requests.add(now, c)
	bad := latest.received >= minRequests && latest.unauthorized*100 >= latest.received*float64(m.Alerts.UnauthorizedPercent)
	lockedOut := m.unauthorized.isRaised() && c.accepted+c.pings == m.verifiedAtRaise
	m.unauthorized.update(now, bad || lockedOut,
		"unauthorized", int(latest.unauthorized), "requests", int(latest.received), "within", within.String())
}

// alert is raised or not. A nil alert is turned off and never raised.
type alert struct {
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

// window measures how much counters grew lately: within span or, if that has fewer than minRequests, within the time of the
// last minRequests requests, but at most within maxAge.
type window struct {
	span        time.Duration
	minRequests float64
	maxAge      time.Duration
	// readings has the last reading before the window and all readings in it, the oldest first. Two neighbours always differ.
	readings []reading
}

type reading struct {
	at time.Time
	counts
}

// add adds a reading of the counters. It returns how much the counters grew, and within which time.
func (w *window) add(now time.Time, c counts) (growth counts, within time.Duration) {
	if n := len(w.readings); n == 0 || w.readings[n-1].counts != c {
		w.readings = append(w.readings, reading{now, c})
	}
	within = w.span
	// The counts of the oldest reading were made before the window.
	old := len(w.readings) - 1
	for ; old > 0; old-- {
		age := now.Sub(w.readings[old].at)
		if age >= w.span && (c.received-w.readings[old].received >= w.minRequests || age >= w.maxAge) {
			break
		}
		within = max(within, age.Round(time.Second))
	}
	w.readings = w.readings[old:]
	return c.minus(w.readings[0].counts), within
}
