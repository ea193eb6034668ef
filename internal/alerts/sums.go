package alerts

import (
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// How long the counts of an instance that is no longer listed are remembered. One that has not ended may only have been cut off from
// the log, and come back with the same counters.
const (
	rememberEnded = 2 * time.Hour
	rememberGone  = 25 * time.Hour
)

// sums are the counters of all instances together. An instance's counters only grow, so each look adds what is new.
type sums struct {
	// total is by source.
	total map[string]counts
	// known is how much of each instance's counters is in the sums, by the instance's id.
	known map[string]*knownInstance
	// began says that the first look is over. At the first one an instance that has run for long has counted before anything that
	// matters now.
	began bool
}

type knownInstance struct {
	seen   time.Time
	ended  bool
	counts map[string]counts
}

// newSums continues those of a note, which may be nil.
func newSums(note *journalv1.AlertsNote, now time.Time) *sums {
	s := &sums{total: map[string]counts{}, known: map[string]*knownInstance{}, began: note != nil}
	for _, a := range note.GetSources() {
		s.total[a.GetSource()] = countsOf(a.GetSums())
	}
	for _, r := range note.GetReplicas() {
		s.known[r.GetReplica()] = &knownInstance{seen: notAfter(r.GetSeenAt(), now), counts: countsBySource(r.GetCounts())}
	}
	return s
}

// add adds what the instances counted since the last look.
func (s *sums) add(now time.Time, all []Instance) {
	for _, in := range all {
		k := s.known[in.ID]
		counted := countsBySource(in.Counts)
		switch {
		case k == nil && !s.began && now.Sub(in.Started) > requestWindow:
			k = &knownInstance{counts: counted}
		case k == nil:
			k = &knownInstance{counts: map[string]counts{}}
		}
		s.known[in.ID] = k
		k.seen, k.ended = now, in.Ended
		for source, c := range counted {
			grown := c.minus(k.counts[source]).positive()
			k.counts[source] = k.counts[source].plus(grown)
			s.total[source] = s.total[source].plus(grown)
		}
	}
	s.began = true
	for id, k := range s.known {
		if age := now.Sub(k.seen); age > rememberGone || k.ended && age > rememberEnded {
			delete(s.known, id)
		}
	}
}
