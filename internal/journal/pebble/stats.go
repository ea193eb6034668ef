package pebble

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Stats is the journal's state at one moment.
type Stats struct {
	sinks.Bounds
	// Available is whether an append would be tried now.
	Available bool
	// Queued is how many appends wait for the committer.
	Queued int
	// SizeOnDisk is what the folder takes, and FreeOnDisk what the disk has left, as last looked at, in bytes.
	SizeOnDisk, FreeOnDisk uint64
	// Recoveries is how often a write failed and the folder was opened anew.
	Recoveries uint64
	Filter     FilterStats
}

// Stats returns the journal's state. It does not wait for the disk.
func (j *Journal) Stats() Stats {
	s := Stats{
		Bounds:     j.Bounds(),
		FreeOnDisk: j.free.Load(),
		Recoveries: j.reopens.Load(),
		Filter:     j.filter.stats(),
	}
	s.Available, s.Queued = j.queue.Available(), j.queue.Len()
	if st, release, err := j.use(); err == nil {
		s.SizeOnDisk = st.db.Metrics().DiskSpaceUsage()
		release()
	}
	return s
}

// Health implements journal.Journal.
func (j *Journal) Health() journal.Health {
	return journal.Health{Bounds: j.Bounds(), Available: j.queue.Available(), Queued: j.queue.Len()}
}

// Checkpoint writes a copy of the journal to a folder that must not exist, while the journal runs. The copy holds all that
// was durable when Checkpoint was called, is a journal itself, and has the same identity. On the same file system it is
// made of links, and takes hardly any room at first.
//
// Errors: ErrUnavailable, ErrClosed, the disk's.
func (j *Journal) Checkpoint(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st, release, err := j.use()
	if err != nil {
		return err
	}
	defer release()
	if err := st.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("journal: checkpoint: %w", err)
	}
	if st.fs.err() != nil {
		return journal.ErrUnavailable // what was copied may be what was never written
	}
	return nil
}
