package pebble

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/sinks"
)

// Every batch has a number, one more than the batch before it, and a record of that number. The records of all batches that
// may not be in tables yet are kept. So a file of Pebble's log that is gone leaves a hole among the numbers, wherever it was.

// numbering gives the batches of a store their numbers, in the order in which they are applied.
type numbering struct {
	// mu is held while a batch gets its number and is applied.
	mu sync.Mutex
	// position is the next position after the last batch.
	position sinks.Position

	// logs guards bounds, which has for each of Pebble's log files a number: the batches up to it are in earlier files.
	logs   sync.Mutex
	bounds []logBound
}

type logBound struct{ file, commit uint64 }

// commitKey is the key of a batch's record.
func commitKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixCommit}, n)
}

func parseCommit(k, v []byte) (n uint64, next sinks.Position, err error) {
	if len(k) != 1+8 || len(v) != 8 {
		return 0, 0, errCorrupt
	}
	return binary.BigEndian.Uint64(k[1:]), sinks.Position(binary.BigEndian.Uint64(v)), nil
}

// apply numbers a batch and applies it, without waiting for its sync. next is the position after the batch's events, or 0 for
// a batch without events.
func (s *store) apply(b *pebble.Batch, next sinks.Position) (n uint64, err error) {
	s.numbering.mu.Lock()
	defer s.numbering.mu.Unlock()
	n = s.number.Load() + 1
	next = max(next, s.numbering.position)
	op := b.SetDeferred(1+8, 8)
	op.Key[0] = prefixCommit
	binary.BigEndian.PutUint64(op.Key[1:], n)
	binary.BigEndian.PutUint64(op.Value, uint64(next))
	if err := s.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return 0, err
	}
	s.number.Store(n)
	s.numbering.position = next
	return n, nil
}

// write commits a batch and returns once it is durable. The batch cannot be used afterwards.
func (s *store) write(b *pebble.Batch) error {
	n, err := s.apply(b, 0)
	if err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		s.fs.isolate(err)
	}
	if err := s.fs.err(); err != nil {
		return err
	}
	s.noteDurable(n, b.Len())
	return b.Close()
}

// logCreated notes that a new file of Pebble's log begins. A batch that is being applied may go to either file; the batches
// that were applied before are in earlier ones.
func (s *store) logCreated(file uint64) {
	s.numbering.logs.Lock()
	defer s.numbering.logs.Unlock()
	s.numbering.bounds = append(s.numbering.bounds, logBound{file, s.number.Load()})
}

// flushedCommit returns a number: the batches up to it are in tables, since their log files are gone.
func (s *store) flushedCommit(dir string) (uint64, error) {
	names, err := logFiles(s.fs, dir)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	oldest, _ := logNumber(names[0])
	s.numbering.logs.Lock()
	defer s.numbering.logs.Unlock()
	var flushed uint64
	for len(s.numbering.bounds) > 0 && s.numbering.bounds[0].file <= oldest {
		flushed = s.numbering.bounds[0].commit
		if len(s.numbering.bounds) == 1 || s.numbering.bounds[1].file > oldest {
			break
		}
		s.numbering.bounds = s.numbering.bounds[1:]
	}
	return flushed, nil
}

// pruneCommits removes the records of batches that are in tables. The last of them stays, as the first that must be there.
func (s *store) pruneCommits(dir string) error {
	flushed, err := s.flushedCommit(dir)
	if err != nil || flushed < s.firstCommit+pruneAtLeast {
		return err
	}
	b := s.db.NewBatch()
	if err := errors.Join(b.DeleteRange(commitKey(0), commitKey(flushed), nil), b.Set(keyFirstCommit, commitKey(flushed)[1:], nil)); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := s.write(b); err != nil {
		return err
	}
	s.firstCommit = flushed
	return nil
}

// pruneAtLeast is how many records are removed at once, at least.
const pruneAtLeast = 1000
