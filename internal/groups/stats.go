package groups

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/webhook-bridge/bridge/sinks"
)

// maxCounted is how many groups have counts of their own. The others share one that has no name.
const maxCounted = 200

// counters count what happened to a group at this instance.
type counters struct {
	delivered, redelivered, acknowledged, failed, stale, parked, skipped, missed atomic.Uint64
}

// Stats is what happened to a group at this instance, and where it stands, for metrics.
type Stats struct {
	// Group is empty for the groups beyond the first 200 together.
	Group string
	// Delivered counts deliveries, Redelivered those of a second and later attempt among them. Acknowledged, Failed, Parked and Skipped count what became of them,
	// Stale answers for deliveries that were not outstanding, and Missed positions that were no longer kept.
	Delivered, Redelivered, Acknowledged, Failed, Stale, Parked, Skipped, Missed uint64
	// Members, Shares and Outstanding are those of this instance.
	Members, Shares, Outstanding int
	// Lag is how many positions lie between the group's position, as far as this instance knows, and the log's end. 0 without members here.
	Lag uint64
}

// countersOf returns the counters of a group.
func (m *Manager) countersOf(name string) *counters {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counted[name]
	if c == nil && len(m.counted) >= maxCounted {
		return &m.others
	}
	if c == nil {
		c = &counters{}
		m.counted[name] = c
	}
	return c
}

// Stats returns what happened so far, ordered by group.
func (m *Manager) Stats() []Stats {
	m.mu.Lock()
	stats := make([]Stats, 0, len(m.counted)+1)
	at := map[*counters]int{}
	for name, c := range m.counted {
		at[c] = len(stats)
		stats = append(stats, c.stats(name))
	}
	if len(m.counted) >= maxCounted {
		at[&m.others] = len(stats)
		stats = append(stats, m.others.stats(""))
	}
	r, next := m.run, m.cfg.Log.Bounds().Next
	m.mu.Unlock()
	if r != nil {
		for _, g := range r.all() {
			if i, ok := at[g.counts]; ok {
				g.addTo(&stats[i], next)
			}
		}
	}
	slices.SortFunc(stats, func(a, b Stats) int { return cmp.Compare(a.Group, b.Group) })
	return stats
}

func (c *counters) stats(name string) Stats {
	return Stats{
		Group: name, Delivered: c.delivered.Load(), Redelivered: c.redelivered.Load(), Acknowledged: c.acknowledged.Load(),
		Failed: c.failed.Load(), Stale: c.stale.Load(), Parked: c.parked.Load(), Skipped: c.skipped.Load(), Missed: c.missed.Load(),
	}
}

// addTo adds where the group stands.
func (g *group) addTo(s *Stats, next sinks.Position) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Members += len(g.members)
	for _, m := range g.members {
		s.Outstanding += m.sent.Len()
	}
	for _, share := range g.shares {
		if share != nil {
			s.Shares++
		}
	}
	if p := g.position(); p != 0 && next > p {
		s.Lag = max(s.Lag, uint64(next-p))
	}
}
