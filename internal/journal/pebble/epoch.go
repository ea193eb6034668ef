package pebble

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/sinks"
)

// tolerance bounds how far the clock may go back within an epoch. Time then stands still until the clock has caught up.
const tolerance = time.Second

// epoch is a part of the log in which the clock did not go back.
type epoch struct {
	// number orders the epochs. They are consecutive.
	number uint32
	id     sinks.Epoch
	// first is the position of the first event, or where it would be.
	first sinks.Position
	// floor is the clock's reading when the epoch began, in Unix nanoseconds.
	floor int64
}

const epochValueLen = 8 + 8 + 8

func epochKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixEpoch}, number)
}

func (e epoch) value() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, epochValueLen), uint64(e.id))
	b = binary.BigEndian.AppendUint64(b, uint64(e.first))
	return binary.BigEndian.AppendUint64(b, uint64(e.floor))
}

func parseEpoch(k, v []byte) (epoch, error) {
	if len(k) != 1+4 || len(v) != epochValueLen {
		return epoch{}, errCorrupt
	}
	return epoch{
		number: binary.BigEndian.Uint32(k[1:]),
		id:     sinks.Epoch(binary.BigEndian.Uint64(v)),
		first:  sinks.Position(binary.BigEndian.Uint64(v[8:])),
		floor:  int64(binary.BigEndian.Uint64(v[16:])),
	}, nil
}

func randomEpoch() sinks.Epoch {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if id := binary.BigEndian.Uint64(b[:]); id != 0 {
			return sinks.Epoch(id)
		}
	}
}

// epochs are the epochs of a log, in order, at least one. They are not changed: a new epoch makes new ones.
type epochs struct {
	all []epoch
	// limits[i] is the least floor of the epochs behind the i-th. No time of the i-th counts as later.
	limits []int64
}

func newEpochs(all []epoch) *epochs {
	e := &epochs{all: all, limits: make([]int64, len(all))}
	limit := int64(math.MaxInt64)
	for i, one := range slices.Backward(all) {
		e.limits[i] = limit
		limit = min(limit, one.floor)
	}
	return e
}

func (e *epochs) last() epoch { return e.all[len(e.all)-1] }

// next returns the epoch that follows the last one.
func (e *epochs) next(first sinks.Position, floor int64) epoch {
	return epoch{number: e.last().number + 1, id: randomEpoch(), first: first, floor: floor}
}

func (e *epochs) with(another epoch) *epochs { return newEpochs(append(slices.Clone(e.all), another)) }

// of returns the index of the epoch that holds a position.
func (e *epochs) of(p sinks.Position) int {
	return max(sort.Search(len(e.all), func(i int) bool { return e.all[i].first > p })-1, 0)
}

// end returns the position behind the last event of the i-th epoch, at most next.
func (e *epochs) end(i int, next sinks.Position) sinks.Position {
	if i+1 < len(e.all) {
		return min(e.all[i+1].first, next)
	}
	return next
}

// limit returns the time that no time of an epoch with this number counts as later than.
func (e *epochs) limit(number uint32) int64 {
	first := e.all[0]
	if number < first.number { // it was pruned
		return min(first.floor, e.limits[0])
	}
	return e.limits[min(int(number-first.number), len(e.limits)-1)]
}

// Mark implements [sinks.Log].
func (j *Journal) Mark(p sinks.Position) sinks.Mark {
	e := j.epochs.Load()
	if p <= 1 {
		return sinks.Mark{Epoch: e.all[0].id, Position: p}
	}
	return sinks.Mark{Epoch: e.all[e.of(p-1)].id, Position: p}
}

// Resolve implements [sinks.Log].
func (j *Journal) Resolve(ctx context.Context, m sinks.Mark) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.isClosing() {
		return sinks.ErrClosed
	}
	e, b := j.epochs.Load(), j.Bounds()
	switch {
	case m.Position < b.Earliest:
		return sinks.ErrExpired
	case m.Position > b.Next:
		return sinks.ErrFuture
	case m.Epoch == 0:
		return nil
	}
	i := slices.IndexFunc(e.all, func(one epoch) bool { return one.id == m.Epoch })
	if i < 0 || i+1 < len(e.all) && m.Position > e.all[i+1].first {
		return sinks.ErrForked
	}
	return nil
}

// loadEpochs reads the epochs in the folder.
func (s *store) loadEpochs() (all []epoch, err error) {
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
	if reading >= s.lastCommit-int64(tolerance) {
		s.lastCommit = max(s.lastCommit, reading)
		return s.lastCommit, nil
	}
	next := s.epochs.Load().next(s.next, reading)
	if err := b.Set(epochKey(next.number), next.value(), nil); err != nil {
		return 0, err
	}
	// Readers may see it before it is durable: it holds no event that they may see.
	s.changeEpochs(func(e *epochs) *epochs { return e.with(next) })
	s.lastCommit = reading
	return reading, nil
}

// changeEpochs replaces the epochs. The committer and retention may do so at the same time.
func (s *store) changeEpochs(change func(*epochs) *epochs) {
	for {
		before := s.epochs.Load()
		if s.epochs.CompareAndSwap(before, change(before)) {
			return
		}
	}
}

// obsolete returns how many epochs neither a mark nor a time needs: all their positions are below earliest, and everything
// that was committed in them is older than a time.
func (e *epochs) obsolete(earliest sinks.Position, before int64) (n int) {
	for n+1 < len(e.all) && e.all[n+1].first < earliest && e.limits[n] < before {
		n++
	}
	return n
}

func (e *epochs) without(n int) *epochs { return newEpochs(e.all[n:]) }
