package alerts

import (
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/source"
)

// Replace puts other sources in the place of the current ones, at the next look at the latest. A source that keeps its name keeps its windows
// and the alerts that are raised; another threshold applies from then on. An alert that is turned off, and those of a source that is gone,
// have no series any more.
func (m *Monitor) Replace(sources []source.Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = slices.Clone(sources)
	if !m.running {
		m.apply(nil)
	}
}

// begin says that Run uses the sources from now on.
func (m *Monitor) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apply(nil)
	m.running = true
}

// refresh applies the last Replace, if there was one.
func (m *Monitor) refresh(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apply(func(s *sourceMonitor) { s.start(now, time.Time{}, nil, m.sums.total[s.Name]) })
}

// end says that Run does not use the sources any more.
func (m *Monitor) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
	m.apply(nil)
}

// apply makes the next sources the current ones. It calls start for each new one. The caller holds mu.
func (m *Monitor) apply(start func(*sourceMonitor)) {
	if m.next == nil {
		return
	}
	old := map[string]*sourceMonitor{}
	for _, s := range m.sources {
		old[s.Name] = s
	}
	m.sources = nil
	for _, s := range m.next {
		monitor, known := old[s.Name]
		if known {
			delete(old, s.Name)
			monitor.configure(s, m.log, m.alarms)
		} else if monitor = newSourceMonitor(s, m.log, m.alarms, m.last); start != nil {
			start(monitor)
		}
		m.sources = append(m.sources, monitor)
	}
	for name := range old {
		m.alarms.DeletePartialMatch(prometheus.Labels{"source": name})
		m.last.DeleteLabelValues(name)
	}
	m.next = nil
}

// configure sets the source's thresholds, and turns its alerts on and off.
func (m *sourceMonitor) configure(s source.Source, log *slog.Logger, raised *prometheus.GaugeVec) {
	m.Source = s
	log = log.With("source", s.Name)
	for _, x := range []struct {
		alert **alert
		name  string
		on    bool
	}{
		{&m.silent, "silent", s.Alerts.SilentAfter > 0},
		{&m.unauthorized, "unauthorized", s.Alerts.UnauthorizedPercent > 0},
		{&m.quarantine, "quarantine", s.Alerts.Quarantined > 0},
	} {
		switch {
		case x.on && *x.alert == nil:
			*x.alert = &alert{name: x.name, log: log.With("alert", x.name), gauge: raised.WithLabelValues(s.Name, x.name)}
		case !x.on && *x.alert != nil:
			*x.alert = nil
			raised.DeleteLabelValues(s.Name, x.name)
		}
	}
}
