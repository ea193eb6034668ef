package alerts

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// counts are the counters of one source.
type counts struct {
	received, accepted, unauthorized, quarantined, pings float64
}

func (c counts) plus(d counts) counts {
	return counts{
		c.received + d.received, c.accepted + d.accepted, c.unauthorized + d.unauthorized, c.quarantined + d.quarantined, c.pings + d.pings,
	}
}

func (c counts) minus(d counts) counts {
	return counts{
		c.received - d.received, c.accepted - d.accepted, c.unauthorized - d.unauthorized, c.quarantined - d.quarantined, c.pings - d.pings,
	}
}

// positive replaces negative counts by 0.
func (c counts) positive() counts {
	return counts{max(c.received, 0), max(c.accepted, 0), max(c.unauthorized, 0), max(c.quarantined, 0), max(c.pings, 0)}
}

func (c counts) message(source string) *journalv1.SourceCounts {
	return &journalv1.SourceCounts{
		Source: source, Received: uint64(c.received), Accepted: uint64(c.accepted), Unauthorized: uint64(c.unauthorized),
		Quarantined: uint64(c.quarantined), Pings: uint64(c.pings),
	}
}

func countsOf(m *journalv1.SourceCounts) counts {
	return counts{
		received: float64(m.GetReceived()), accepted: float64(m.GetAccepted()), unauthorized: float64(m.GetUnauthorized()),
		quarantined: float64(m.GetQuarantined()), pings: float64(m.GetPings()),
	}
}

func countsBySource(all []*journalv1.SourceCounts) map[string]counts {
	by := make(map[string]counts, len(all))
	for _, m := range all {
		by[m.GetSource()] = countsOf(m)
	}
	return by
}

// ReadCounts reads the counters of all sources, in the order of their names. It ignores errors: they concern other metrics.
func ReadCounts(g prometheus.Gatherer) []*journalv1.SourceCounts {
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
	list := make([]*journalv1.SourceCounts, 0, len(all))
	for _, source := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[source].message(source))
	}
	return list
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
