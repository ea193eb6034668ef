package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/sinks/grpcstream"
	"github.com/webhook-bridge/bridge/sinks/tail"
)

// gauge is a metric that is read when it is asked for.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(streamStats) float64
}

// streamStats are the streams and the events in memory that they share.
type streamStats struct {
	grpcstream.Stats

	tail tail.Stats
}

// collector reads the streams when metrics are scraped, so that nothing is counted twice.
type collector struct {
	streams *grpcstream.Server
	tail    *tail.Log
	gauges  []gauge
}

func newCollector(s *grpcstream.Server, t *tail.Log) *collector {
	c := &collector{streams: s, tail: t}
	c.add("bridge_streams_open", "Open subscriptions.", prometheus.GaugeValue,
		func(s streamStats) float64 { return float64(s.Open) })
	c.add("bridge_streams_lag_events", "Events that the subscription furthest behind has yet to see.", prometheus.GaugeValue,
		func(s streamStats) float64 { return float64(s.MaxLag) })
	c.add("bridge_streams_cel_failures_total", "Events that did not pass a filter because its CEL expression failed for them.",
		prometheus.CounterValue, func(s streamStats) float64 { return float64(s.CELFailures) })
	c.add("bridge_streams_tail_bytes", "Memory for the newest events, which subscriptions share.", prometheus.GaugeValue,
		func(s streamStats) float64 { return float64(s.tail.Bytes) })
	c.add("bridge_streams_tail_events", "Newest events that are in memory.", prometheus.GaugeValue,
		func(s streamStats) float64 { return float64(s.tail.Events) })
	c.add("bridge_streams_tail_reads_total", "Reads of subscriptions that memory answered.", prometheus.CounterValue,
		func(s streamStats) float64 { return float64(s.tail.Hits) })
	c.add("bridge_streams_journal_reads_total", "Reads of subscriptions that the journal answered, since they were further behind.",
		prometheus.CounterValue, func(s streamStats) float64 { return float64(s.tail.Misses) })
	return c
}

func (c *collector) add(name, help string, kind prometheus.ValueType, read func(streamStats) float64) {
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
	stats := streamStats{c.streams.Stats(), c.tail.Stats()}
	for _, g := range c.gauges {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, g.read(stats))
	}
}

// handoverMetrics registers what a hand-over cost vendors.
func handoverMetrics(r prometheus.Registerer) (waited, waiting prometheus.Gauge) {
	waited = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bridge_handover_wait_seconds",
		Help: "How long webhooks waited while this process took over from its predecessor; 0 if it did not.",
	})
	waiting = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bridge_handover_waiting_connections",
		Help: "Connections to the webhooks listener that waited when this process had taken over from its predecessor.",
	})
	r.MustRegister(waited, waiting)
	return waited, waiting
}
