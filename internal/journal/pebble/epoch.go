package pebble

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

const epochValueLen = 8 + 8 + 8

func epochKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixEpoch}, number)
}

func epochValue(e epoch.Epoch) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, epochValueLen), uint64(e.ID))
	b = binary.BigEndian.AppendUint64(b, uint64(e.First))
	return binary.BigEndian.AppendUint64(b, uint64(e.Floor))
}

func parseEpoch(k, v []byte) (epoch.Epoch, error) {
	if len(k) != 1+4 || len(v) != epochValueLen {
		return epoch.Epoch{}, errCorrupt
	}
	return epoch.Epoch{
		Number: binary.BigEndian.Uint32(k[1:]),
		ID:     sinks.Epoch(binary.BigEndian.Uint64(v)),
		First:  sinks.Position(binary.BigEndian.Uint64(v[8:])),
		Floor:  int64(binary.BigEndian.Uint64(v[16:])),
	}, nil
}

// Mark implements [sinks.Log].
func (j *Journal) Mark(p sinks.Position) sinks.Mark { return j.epochs.Load().Mark(p) }

// Resolve implements [sinks.Log].
func (j *Journal) Resolve(ctx context.Context, m sinks.Mark) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.isClosing() {
		return sinks.ErrClosed
	}
	e, b := j.epochs.Load(), j.Bounds()
	return e.Resolve(m, b)
}

// loadEpochs reads the epochs in the folder.
func (s *store) loadEpochs() (all []epoch.Epoch, err error) {
	lower, upper := span(prefixEpoch)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		e, err := parseEpoch(it.Key(), v)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, it.Error()
}

// advance returns the time for a commit at a reading of the clock. It begins an epoch, in the commit's batch, when the clock
// was put back. The committer alone calls it.
func (s *store) advance(reading int64, b *pebble.Batch) (int64, error) {
	now, fresh := epoch.Advance(reading, s.lastCommit)
	if fresh {
		next := s.epochs.Load().Next(s.next, reading)
		if err := b.Set(epochKey(next.Number), epochValue(next), nil); err != nil {
			return 0, err
		}
		// Readers may see it before it is durable: it holds no event that they may see.
		s.changeEpochs(func(e *epoch.List) *epoch.List { return e.With(next) })
	}
	s.lastCommit = now
	return now, nil
}

// changeEpochs replaces the epochs. The committer and retention may do so at the same time.
func (s *store) changeEpochs(change func(*epoch.List) *epoch.List) {
	for {
		before := s.epochs.Load()
		if s.epochs.CompareAndSwap(before, change(before)) {
			return
		}
	}
}
