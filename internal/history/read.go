package history

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// read takes from the metrics what is kept. It ignores errors: they concern other metrics.
func read(metrics prometheus.Gatherer, now time.Time) *reading {
	families, _ := metrics.Gather()
	r := &reading{at: now, sources: map[string]Counts{}, refused: map[string]map[string]float64{}, alerts: map[string][]string{}}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			switch name := family.GetName(); name {
			case "bridge_ingest_seconds":
				r.addIngest(m.GetHistogram())
			case "bridge_source_alarm":
				if source := label(m, "source"); m.GetGauge().GetValue() > 0 {
					r.alerts[source] = append(r.alerts[source], label(m, "alarm"))
				}
			default:
				r.addCounter(name, m)
			}
		}
	}
	for _, all := range r.alerts {
		slices.Sort(all)
	}
	return r
}

func (r *reading) addIngest(h *dto.Histogram) {
	for _, b := range h.GetBucket() {
		r.bounds = append(r.bounds, b.GetUpperBound())
		r.cumulative = append(r.cumulative, b.GetCumulativeCount())
	}
	r.count = h.GetSampleCount()
}

func (r *reading) addCounter(name string, m *dto.Metric) {
	var c Counts
	value := m.GetCounter().GetValue()
	switch name {
	case "bridge_webhooks_received_total":
		c.Received = value
	case "bridge_webhooks_taken_total":
		c.Accepted = value
	case "bridge_webhooks_refused_total":
		c.Refused = value
	case "bridge_duplicates_total":
		c.Duplicates = value
	case "bridge_quarantined_total":
		c.Quarantined = value
	default:
		return
	}
	r.total = r.total.plus(c)
	source := label(m, "source")
	old, known := r.sources[source]
	if !known && len(r.sources) >= maxSources {
		return
	}
	r.sources[source] = old.plus(c)
	if name == "bridge_webhooks_refused_total" && value > 0 {
		if r.refused[source] == nil {
			r.refused[source] = map[string]float64{}
		}
		r.refused[source][label(m, "reason")] += value
	}
}

func (c Counts) plus(d Counts) Counts {
	return Counts{
		c.Received + d.Received, c.Accepted + d.Accepted, c.Refused + d.Refused,
		c.Duplicates + d.Duplicates, c.Quarantined + d.Quarantined,
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
