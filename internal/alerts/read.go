package alerts

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counts are the counters of one source.
type counts struct {
	received, accepted, unauthorized, quarantined, pings float64
}

func (c counts) minus(d counts) counts {
	return counts{
		c.received - d.received, c.accepted - d.accepted, c.unauthorized - d.unauthorized, c.quarantined - d.quarantined, c.pings - d.pings,
	}
}

// readCounts reads the counters of all sources. It ignores errors: they concern other metrics.
func readCounts(g prometheus.Gatherer) map[string]counts {
	families, _ := g.Gather()
	all := map[string]counts{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			source := label(m, "source")
			c, value := all[source], m.GetCounter().GetValue()
			switch family.GetName() {
			case "bridge_webhooks_received_total":
				c.received += value
			case "bridge_webhooks_taken_total":
				c.accepted += value
			case "bridge_webhooks_refused_total":
				if label(m, "reason") == "unauthorized" {
					c.unauthorized += value
				}
			case "bridge_quarantined_total":
				c.quarantined += value
			case "bridge_pings_total":
				c.pings += value
			default:
				continue
			}
			all[source] = c
		}
	}
	return all
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
