package pebble

import (
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Stats is the journal's state at one moment, with the engine's own figures.
type Stats struct {
	journal.Health
	// SizeOnDisk is the size of the folder, and FreeOnDisk the room that the disk had at the last look, in bytes.
	SizeOnDisk, FreeOnDisk uint64
	// Recoveries is how often a write failed and the folder was reopened.
	Recoveries uint64
	// Damaged is how many reads met damage. LostEvents and LostCommits are how many the disk lost, as far as is known, and
	// Losses how often.
	Damaged, LostEvents, LostCommits, Losses uint64
	Filter                                   FilterStats
}

// Stats returns the journal's state. It does not wait for the disk.
func (j *Journal) Stats() Stats {
	s := Stats{
		Health:     j.Health(),
		FreeOnDisk: j.free.Load(),
		Recoveries: j.reopens.Load(),
		Damaged:    j.damaged.Load(),
		Filter:     j.filter.stats(),
	}
	l := j.lost.Load()
	s.LostEvents, s.LostCommits = l.count()
	s.Losses = uint64(len(l.all))
	if st, release, err := j.borrowStore(); err == nil {
		s.SizeOnDisk = st.db.Metrics().DiskSpaceUsage()
		release()
	}
	return s
}

// Health implements [journal.Journal].
func (j *Journal) Health() journal.Health {
	h := journal.Health{Bounds: j.Bounds(), Available: j.queue.Available(), Queued: j.queue.Len()}
	if p := j.problem.Load(); p != nil {
		h.Problem = *p
	}
	if at := sinks.Position(j.damagedAt.Load()); at >= h.Earliest {
		h.Damaged = at
	}
	l := j.lost.Load()
	h.LostEvents, h.LostCommits = l.count()
	return h
}
