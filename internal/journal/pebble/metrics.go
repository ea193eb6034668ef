package pebble

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics measures group commits as they happen.
type metrics struct {
	latency, webhooks prometheus.Histogram
	// unregister undoes the registration.
	unregister func()
}

// newMetrics registers the journal's metrics, unless r is nil.
func newMetrics(j *Journal, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
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
	m.unregister = func() {}
	if r == nil {
		return m, nil
	}
	collectors := []prometheus.Collector{m.latency, m.webhooks, newCollector(j)}
	m.unregister = func() {
		for _, c := range collectors {
			r.Unregister(c)
		}
	}
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(c committed) {
	m.latency.Observe(c.Took.Seconds())
	m.webhooks.Observe(float64(c.Webhooks))
}

// reading is a metric that is read when metrics are scraped.
type reading struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(Stats) float64
}

// collector reads the journal's state when metrics are scraped, so that nothing is counted twice.
type collector struct {
	journal  *Journal
	readings []reading
}

func newCollector(j *Journal) *collector {
	c := &collector{journal: j}
	c.add("bridge_journal_available", "1 while the journal can commit.", prometheus.GaugeValue,
		func(s Stats) float64 {
			if s.Available {
				return 1
			}
			return 0
		})
	c.add("bridge_journal_queued_webhooks", "Webhooks that wait for a group commit.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.Queued) })
	c.add("bridge_journal_size_bytes", "What the journal's folder takes on disk.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.SizeOnDisk) })
	c.add("bridge_journal_disk_free_bytes", "What the journal's disk has left.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.FreeOnDisk) })
	c.add("bridge_journal_events", "Events that are kept.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.Next - s.Earliest) })
	c.add("bridge_journal_position", "Position of the last event: how many there ever were.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.Next - 1) })
	c.add("bridge_journal_reopened_total", "How often a write failed and the journal was opened again.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.Recoveries) })
	c.add("bridge_journal_lost_events", "Events that the disk lost after they were confirmed, as far as is known.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.LostEvents) })
	c.add("bridge_journal_lost_commits", "Commits that the disk lost after they were confirmed, as far as is known.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.LostCommits) })
	c.add("bridge_journal_losses", "Losses that an operator accepted.", prometheus.GaugeValue,
		func(s Stats) float64 { return float64(s.Losses) })
	c.add("bridge_journal_damaged_reads_total", "Reads that met data which are not as they were written.", prometheus.CounterValue,
		func(s Stats) float64 { return float64(s.Damaged) })
	return c
}

func (c *collector) add(name, help string, kind prometheus.ValueType, read func(Stats) float64) {
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
	s := c.journal.Stats()
	for _, r := range c.readings {
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.read(s))
	}
}
