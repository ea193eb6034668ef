package intake

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/source"
)

// maxDriftSeries is how many label sets a connector's drift may have. Later ones are counted under the label other.
const maxDriftSeries = 500

// maxDriftField is the longest field, in bytes, that gets a label of its own.
const maxDriftField = 256

const other = "other"

type metrics struct {
	duplicates, quarantined, revisions, released, stale, pings *prometheus.CounterVec

	drift *prometheus.CounterVec
	mu    sync.Mutex
	// drifts by connector: sources of one connector share the cap.
	drifts map[string]*driftCounter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		duplicates:  counter("bridge_duplicates_total", "Webhooks that had been received before.", "source"),
		quarantined: counter("bridge_quarantined_total", "Webhooks kept without having become events.", "source"),
		revisions:   counter("bridge_revisions_total", "Webhooks whose keys knew only other contents.", "source"),
		released:    counter("bridge_released_total", "Quarantined webhooks that were translated after all.", "source"),
		stale:       counter("bridge_events_stale_total", "Events that are older than one published before, by the vendor's version.", "source"),
		pings:       counter("bridge_pings_total", "Webhooks that tell no fact: the vendor tested the address.", "source", "ping"),
		drift: counter("bridge_drift_total", "Differences between webhooks and what their vendor documents.",
			"connector", "event", "field", "kind"),
		drifts: make(map[string]*driftCounter),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.duplicates), r.Register(m.quarantined), r.Register(m.revisions),
		r.Register(m.released), r.Register(m.stale), r.Register(m.pings), r.Register(m.drift))
}

// pingsOf returns a counter for each ping that a source may receive.
func (m *metrics) pingsOf(s *source.Source) map[string]prometheus.Counter {
	counters := make(map[string]prometheus.Counter)
	for _, p := range commonPings {
		counters[p.Name] = m.pings.WithLabelValues(s.Name, p.Name)
	}
	for _, p := range s.Connector.Pings {
		counters[p.Name] = m.pings.WithLabelValues(s.Name, p.Name)
	}
	return counters
}

func (m *metrics) driftOf(connector string) *driftCounter {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.drifts[connector]
	if !ok {
		c = &driftCounter{
			connector: connector,
			vec:       m.drift,
			series:    make(map[driftKey]prometheus.Counter),
		}
		m.drifts[connector] = c
	}
	return c
}

// driftCounter counts one connector's drift. The number of its labels is bounded for any input.
type driftCounter struct {
	connector string
	vec       *prometheus.CounterVec

	mu     sync.RWMutex
	series map[driftKey]prometheus.Counter
}

type driftKey struct {
	event, field string
	kind         journalv1.DriftKind
}

// count counts a stored webhook's drift, which shows nothing personal.
func (c *driftCounter) count(w *journalv1.Webhook, drift []*journalv1.Drift) {
	for _, d := range drift {
		c.counter(driftKey{event: w.GetVendorEvent(), field: d.GetPath(), kind: d.GetKind()}).Inc()
	}
}

func (c *driftCounter) counter(k driftKey) prometheus.Counter {
	c.mu.RLock()
	counter, ok := c.series[k]
	full := len(c.series) >= maxDriftSeries || len(k.field) > maxDriftField
	c.mu.RUnlock()
	switch {
	case ok:
		return counter
	case full:
		return c.vec.WithLabelValues(c.connector, other, other, other)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if counter, ok := c.series[k]; ok {
		return counter
	}
	if len(c.series) >= maxDriftSeries {
		return c.vec.WithLabelValues(c.connector, other, other, other)
	}
	counter = c.vec.WithLabelValues(c.connector, k.event, k.field, kindLabel(k.kind))
	c.series[k] = counter
	return counter
}

func kindLabel(k journalv1.DriftKind) string {
	switch k {
	case journalv1.DriftKind_DRIFT_KIND_UNKNOWN:
		return "unknown"
	case journalv1.DriftKind_DRIFT_KIND_TYPE:
		return "type"
	case journalv1.DriftKind_DRIFT_KIND_MISSING:
		return "missing"
	case journalv1.DriftKind_DRIFT_KIND_VALUE:
		return "value"
	}
	return other
}
