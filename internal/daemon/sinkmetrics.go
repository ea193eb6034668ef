package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/dispatch"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// sinkGauge is a metric of a sink that is read when it is asked for.
type sinkGauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(dispatch.Stats) float64
}

// sinkCollector reads the state of the sinks when metrics are scraped.
type sinkCollector struct {
	journal readers
	pushes  *pushes
	gauges  []sinkGauge
	parked  *prometheus.Desc
	resumes *prometheus.Desc
}

// readers tells how far each sink has come, and how many events it has parked.
type readers interface {
	Readers(ctx context.Context) ([]journal.ReaderState, error)
}

func newSinkCollector(j readers, pushes *pushes) *sinkCollector {
	c := &sinkCollector{journal: j, pushes: pushes}
	c.parked = prometheus.NewDesc("bridge_sink_parked_events",
		"Events that the sink refused permanently, and that are kept for operators.", []string{"sink"}, nil)
	c.resumes = prometheus.NewDesc("bridge_sink_resumes_total",
		"Times that a destination which stores its position was asked for it, by result.", []string{"sink", "result"}, nil)
	c.add("bridge_sink_lag_events", "Events that the sink has not had.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return float64(s.LagEvents) })
	c.add("bridge_sink_lag_seconds", "Age of the oldest event that the sink has not had.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return s.Lag.Seconds() })
	c.add("bridge_sink_delivered_total", "Events delivered, repeated ones again.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Delivered) })
	c.add("bridge_sink_retries_total", "Failed attempts that are tried again.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Retries) })
	c.add("bridge_sink_parked_total", "Events set aside because the sink refuses them for good.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Parked) })
	c.add("bridge_sink_skipped_total", "Events given up before the sink had them.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Skipped) })
	c.add("bridge_sink_left_out_total", "Events that the sink's route left out.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.LeftOut) })
	c.add("bridge_sink_undecided_total", "Events for which the expression of the sink's route failed. They are parked.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Undecided) })
	c.add("bridge_sink_replayed_total", "Events that replays delivered once more.", prometheus.CounterValue,
		func(s dispatch.Stats) float64 { return float64(s.Replayed) })
	c.add("bridge_sink_held", "Refused events that the sink's order waits at.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return float64(len(s.Blocked)) })
	c.add("bridge_sink_breaker", "0 while attempts are made, 1 while one is tried, 2 while none is made.", prometheus.GaugeValue,
		func(s dispatch.Stats) float64 { return float64(s.Breaker) })
	return c
}

func (c *sinkCollector) add(name, help string, kind prometheus.ValueType, read func(dispatch.Stats) float64) {
	c.gauges = append(c.gauges, sinkGauge{prometheus.NewDesc(name, help, []string{"sink"}, nil), kind, read})
}

// Describe implements [prometheus.Collector].
func (c *sinkCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.parked
	out <- c.resumes
	for _, g := range c.gauges {
		out <- g.desc
	}
}

// Collect implements [prometheus.Collector]. A sink without deliveries has no metrics while the journal cannot be read.
func (c *sinkCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	states := map[string]journal.ReaderState{}
	all, _ := c.journal.Readers(ctx) // while the journal recovers there are none
	for _, r := range all {
		states[r.Name] = r
	}
	for _, p := range c.pushes.list() {
		state, known := states[p.name()]
		if known {
			out <- prometheus.MustNewConstMetric(c.parked, prometheus.GaugeValue, float64(state.Parked), p.name())
		}
		s, running := p.stats(ctx, state.Position)
		if !running && !known {
			continue
		}
		for _, g := range c.gauges {
			out <- prometheus.MustNewConstMetric(g.desc, g.kind, g.read(s), p.name())
		}
		for result, n := range s.Resumed {
			out <- prometheus.MustNewConstMetric(c.resumes, prometheus.CounterValue, float64(n), p.name(), dispatch.Resumed(result).String())
		}
	}
}
