package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// commitMetrics measures the journal's group commits as they happen.
type commitMetrics struct {
	latency  prometheus.Histogram
	webhooks prometheus.Histogram
}

func newCommitMetrics(r prometheus.Registerer) *commitMetrics {
	m := &commitMetrics{
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "bridge_journal_append_seconds",
			Help:    "Time of a group commit, from taking its webhooks to the end of the sync that covers them.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		webhooks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "bridge_journal_commit_webhooks",
			Help:    "Webhooks in a group commit.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}),
	}
	r.MustRegister(m.latency, m.webhooks)
	return m
}

func (m *commitMetrics) observe(c pebble.Commit) {
	m.latency.Observe(c.Took.Seconds())
	m.webhooks.Observe(float64(c.Webhooks))
}

// gauge is a metric that is read when it is asked for.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(pebble.Stats, grpcstream.Stats) float64
}

// collector reads journal and streams when metrics are scraped, so that nothing is counted twice.
type collector struct {
	journal *pebble.Journal
	streams *grpcstream.Server
	gauges  []gauge
}

func newCollector(j *pebble.Journal, s *grpcstream.Server) *collector {
	c := &collector{journal: j, streams: s}
	c.add("bridge_journal_available", "1 while the journal can commit.", prometheus.GaugeValue,
		func(j pebble.Stats, _ grpcstream.Stats) float64 { return truth(j.Available) })
	c.add("bridge_journal_queued_webhooks", "Webhooks that wait for a group commit.", prometheus.GaugeValue,
		func(j pebble.Stats, _ grpcstream.Stats) float64 { return float64(j.Queued) })
	c.add("bridge_journal_size_bytes", "What the journal's folder takes on disk.", prometheus.GaugeValue,
		func(j pebble.Stats, _ grpcstream.Stats) float64 { return float64(j.SizeOnDisk) })
	c.add("bridge_journal_disk_free_bytes", "What the journal's disk has left.", prometheus.GaugeValue,
		func(j pebble.Stats, _ grpcstream.Stats) float64 { return float64(j.FreeOnDisk) })
	c.add("bridge_journal_events", "Events that are kept.", prometheus.GaugeValue,
		func(j pebble.Stats, _ grpcstream.Stats) float64 { return float64(j.Next - j.Earliest) })
	c.add("bridge_journal_position", "Position of the next event: how many there ever were.", prometheus.CounterValue,
		func(j pebble.Stats, _ grpcstream.Stats) float64 { return float64(j.Next - 1) })
	c.add("bridge_journal_reopened_total", "How often a write failed and the journal was opened anew.", prometheus.CounterValue,
		func(j pebble.Stats, _ grpcstream.Stats) float64 { return float64(j.Recoveries) })
	c.add("bridge_streams_open", "Open subscriptions.", prometheus.GaugeValue,
		func(_ pebble.Stats, s grpcstream.Stats) float64 { return float64(s.Open) })
	c.add("bridge_streams_lag_events", "Events that the subscription furthest behind has yet to see.", prometheus.GaugeValue,
		func(_ pebble.Stats, s grpcstream.Stats) float64 { return float64(s.MaxLag) })
	return c
}

func (c *collector) add(name, help string, kind prometheus.ValueType, read func(pebble.Stats, grpcstream.Stats) float64) {
	c.gauges = append(c.gauges, gauge{prometheus.NewDesc(name, help, nil, nil), kind, read})
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		out <- g.desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	js, ss := c.journal.Stats(), c.streams.Stats()
	for _, g := range c.gauges {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, g.read(js, ss))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
