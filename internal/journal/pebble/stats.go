package pebble

import (
	"github.com/webhook-bridge/bridge/internal/journal"
)

// Stats is the journal's state at one moment, with the engine's own figures.
type Stats struct {
	journal.Health
	// SizeOnDisk is the size of the folder, and FreeOnDisk the room that the disk had at the last look, in bytes.
	SizeOnDisk, FreeOnDisk uint64
	// Recoveries is how often a write failed and the folder was reopened.
	Recoveries uint64
	Filter     FilterStats
}

// Stats returns the journal's state. It does not wait for the disk.
func (j *Journal) Stats() Stats {
	s := Stats{
		Health:     j.Health(),
		FreeOnDisk: j.free.Load(),
		Recoveries: j.reopens.Load(),
		Filter:     j.filter.stats(),
	}
	if st, release, err := j.borrowStore(); err == nil {
		s.SizeOnDisk = st.db.Metrics().DiskSpaceUsage()
		release()
	}
	return s
}

// Health implements [journal.Journal].
func (j *Journal) Health() journal.Health {
	return journal.Health{Bounds: j.Bounds(), Available: j.queue.Available(), Queued: j.queue.Len()}
}
