package groupstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/webhook-bridge/bridge/sinks"
)

// Explain returns what happened to the events at the given positions, and all faults and seeks, for people.
func (h *History) Explain(positions ...sinks.Position) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := map[int]string{}
	add := func(m moment, format string, args ...any) {
		lines[m.seq] = fmt.Sprintf("%5d %s ", m.seq, m.at.Format("04:05.000")) + fmt.Sprintf(format, args...)
	}
	for member, m := range h.suspect {
		add(m, "suspect %s", member)
	}
	for member, m := range h.left {
		add(m, "%s leaves", member)
	}
	for _, s := range h.seeks {
		add(s.begin, "seek to %d, or up to %d", s.low, s.high)
		if s.ended {
			add(s.end, "the seek to %d has ended", s.low)
		}
	}
	for _, p := range positions {
		h.explainEvent(p, add)
	}
	var all []string
	for _, seq := range slices.Sorted(maps.Keys(lines)) {
		all = append(all, lines[seq])
	}
	return strings.Join(all, "\n")
}

func (h *History) explainEvent(p sinks.Position, add func(moment, string, ...any)) {
	e := h.events[p]
	if e == nil {
		return
	}
	if e.expired != nil {
		add(*e.expired, "%d expires", p)
	}
	if e.discarded != nil {
		add(*e.discarded, "%d is discarded", p)
	}
	for _, d := range e.deliveries {
		add(d.moment, "%d of %q to %s, attempt %d, replayed %t, id %s", p, e.subject, d.member, d.Attempt, d.Replayed, d.ID)
		for _, r := range d.answers {
			add(r.sent, "%d is answered by %s: %s", p, d.member, [...]string{"ack", "retry", "park", "skip"}[r.action])
			if r.outcome != Unknown {
				add(r.got, "%d: the result for %s: %s", p, d.member, [...]string{"", "accepted", "stale"}[r.outcome])
			}
		}
	}
}
