package postgres

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// metrics measures group commits as they happen. The names are those of the embedded engine where they mean the same.
type metrics struct {
	latency, headWait, confirmation, webhooks prometheus.Histogram
	// unregister undoes the registration.
	unregister func()
}

// newMetrics registers the journal's metrics, unless r is nil.
func newMetrics(j *Journal, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		latency: newSeconds("bridge_journal_append_seconds",
			"Time of a group commit, from taking its webhooks to the confirmation that covers them."),
		headWait: newSeconds("bridge_journal_head_wait_seconds",
			"Time that a group commit waits for the log's head, which one replica at a time has, and for what is known of its webhooks."),
		confirmation: newSeconds("bridge_journal_confirm_seconds",
			"Time that the database and its standbys take to write and to confirm a group commit."),
		webhooks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "bridge_journal_commit_webhooks",
			Help:    "Webhooks in a group commit.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}),
	}
	m.unregister = func() {}
	if r == nil {
		return m, nil
	}
	var registered []prometheus.Collector
	m.unregister = func() {
		for _, c := range registered {
			r.Unregister(c)
		}
	}
	for _, c := range []prometheus.Collector{m.latency, m.headWait, m.confirmation, m.webhooks, newCollector(j)} {
		if err := r.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		registered = append(registered, c)
	}
	return m, nil
}

func newSeconds(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12)})
}

func (m *metrics) observe(c committed) {
	m.latency.Observe(c.took.Seconds())
	m.headWait.Observe(c.headWait.Seconds())
	m.confirmation.Observe(c.confirmation.Seconds())
	m.webhooks.Observe(float64(c.counts.Webhooks))
}

// reading is a metric that is read when metrics are scraped.
type reading struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*Journal, journal.Health) float64
}

// collector reads the journal's state when metrics are scraped, so that nothing is counted twice. It does not ask the database.
type collector struct {
	journal  *Journal
	readings []reading
}

func newCollector(j *Journal) *collector {
	c := &collector{journal: j}
	c.add("bridge_journal_available", "1 while the journal can commit.", prometheus.GaugeValue,
		func(_ *Journal, h journal.Health) float64 { return float64(boolByte(h.Available)) })
	c.add("bridge_journal_queued_webhooks", "Webhooks that wait for a group commit.", prometheus.GaugeValue,
		func(_ *Journal, h journal.Health) float64 { return float64(h.Queued) })
	c.add("bridge_journal_events", "Events that are kept.", prometheus.GaugeValue,
		func(_ *Journal, h journal.Health) float64 { return float64(h.Next - h.Earliest) })
	c.add("bridge_journal_position", "Position of the last event: how many there ever were.", prometheus.GaugeValue,
		func(_ *Journal, h journal.Health) float64 { return float64(h.Next - 1) })
	c.add("bridge_journal_reopened_total", "How often a commit failed and the journal recovered, or still tries to.", prometheus.CounterValue,
		func(j *Journal, _ journal.Health) float64 { return float64(j.failures.Load()) })
	c.add("bridge_journal_lost_events", "Events that the database lost after they were confirmed, as far as is known.",
		prometheus.GaugeValue, func(_ *Journal, h journal.Health) float64 { return float64(h.LostEvents) })
	c.add("bridge_journal_replicated", "0 if the configuration says that nothing replicates the database.", prometheus.GaugeValue,
		func(j *Journal, _ journal.Health) float64 { return float64(boolByte(j.cfg.ReplicatedBy != ByNothing)) })
	return c
}

func (c *collector) add(name, help string, kind prometheus.ValueType, read func(*Journal, journal.Health) float64) {
	c.readings = append(c.readings, reading{prometheus.NewDesc(name, help, nil, nil), kind, read})
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, r := range c.readings {
		out <- r.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	h := c.journal.Health()
	for _, r := range c.readings {
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.read(c.journal, h))
	}
}

// Health implements [journal.Journal]. While nothing is appended, the readers' look at the head tells whether the database is there.
func (j *Journal) Health() journal.Health {
	h := journal.Health{Bounds: j.Bounds(), Available: j.queue.Available(), Queued: j.queue.Len(), LostEvents: j.lostEvents.Load()}
	if p := cmp.Or(j.problem.Load(), j.tail.problem.Load()); p != nil {
		h.Problem = *p
		h.Available = h.Available && j.tail.problem.Load() == nil
	}
	if at := sinks.Position(j.damagedAt.Load()); at >= h.Earliest {
		h.Damaged = at
	}
	return h
}
