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
	// floor is the clock's reading when the epoch began, in Unix nanoseconds, and before its last known reading in the epoch
	// before. 0 says that there is none, as in records of an older version.
	floor, before int64
}

const (
	epochValueLen    = 8 + 8 + 8 + 8
	oldEpochValueLen = 8 + 8 + 8
)

// excursion is how far the clock goes back at least for an excursion: a part of the log in which it was wrong, and then was
// put right. A clock that is put back by less is believed for good. Otherwise a clock that comes to the old time again by
// running would be taken for one that was put right, and contents whose windows have passed would be alive again.
const excursion = 24 * time.Hour

// back returns how far the clock went back where the epoch begins, if that is enough for an excursion, and 0 otherwise.
func (e epoch) back() int64 {
	if e.before == 0 || e.before-e.floor <= int64(excursion) {
		return 0
	}
	return e.before - e.floor
}

// undoes reports whether a reading of the clock undoes the excursion that began with the epoch: the clock is past the time
// that it went back from, and came there by a step of at least half the way. last is the reading before.
func (e epoch) undoes(reading, last int64) bool {
	return e.back() > 0 && reading >= e.before && reading-last >= e.back()/2
}

func epochKey(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixEpoch}, number)
}

func (e epoch) value() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, epochValueLen), uint64(e.id))
	b = binary.BigEndian.AppendUint64(b, uint64(e.first))
	b = binary.BigEndian.AppendUint64(b, uint64(e.floor))
	return binary.BigEndian.AppendUint64(b, uint64(e.before))
}

func parseEpoch(k, v []byte) (epoch, error) {
	if len(k) != 1+4 || len(v) != epochValueLen && len(v) != oldEpochValueLen {
		return epoch{}, errCorrupt
	}
	e := epoch{
		number: binary.BigEndian.Uint32(k[1:]),
		id:     sinks.Epoch(binary.BigEndian.Uint64(v)),
		first:  sinks.Position(binary.BigEndian.Uint64(v[8:])),
		floor:  int64(binary.BigEndian.Uint64(v[16:])),
	}
	if len(v) == epochValueLen {
		e.before = int64(binary.BigEndian.Uint64(v[oldEpochValueLen:]))
	}
	return e, nil
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
	// least[i] is the time that no time of the i-th counts as earlier than. It is 0 unless the i-th is within an excursion:
	// then it is the time that the clock went back from.
	least []int64
	// limits[i] is the least floor of the epochs behind the i-th, where least raises the floors. No time of the i-th counts
	// as later.
	limits []int64
}

func newEpochs(all []epoch) *epochs {
	e := &epochs{all: all, least: make([]int64, len(all)), limits: make([]int64, len(all))}
	for i := range all {
		for k := i; k < e.undone(i); k++ {
			e.least[k] = max(e.least[k], all[i].before)
		}
	}
	limit := int64(math.MaxInt64)
	for i, one := range slices.Backward(all) {
		e.limits[i] = limit
		limit = min(limit, max(one.floor, e.least[i]))
	}
	return e
}

// undone returns the index of the epoch that began when the clock was put right after an excursion that began with the i-th,
// or 0. A clock that later is behind again was not put right: it had been ahead.
func (e *epochs) undone(i int) int {
	if e.all[i].back() == 0 {
		return 0
	}
	for k := len(e.all) - 1; k > i && e.all[k].floor >= e.all[i].before; k-- {
		if e.all[i].undoes(e.all[k].floor, e.all[k].before) {
			return k
		}
	}
	return 0
}

// undoes reports whether a reading undoes an excursion that the clock is on. last is the reading before.
func (e *epochs) undoes(reading, last int64) bool {
	return slices.ContainsFunc(e.all, func(one epoch) bool { return one.floor <= last && last < one.before && one.undoes(reading, last) })
}

// corrected returns the time that a time of the i-th epoch counts as.
func (e *epochs) corrected(i int, at int64) int64 { return min(max(at, e.least[i]), e.limits[i]) }

func (e *epochs) last() epoch { return e.all[len(e.all)-1] }

// next returns the epoch that follows the last one. before is the last known reading of the clock.
func (e *epochs) next(first sinks.Position, floor, before int64) epoch {
	return epoch{number: e.last().number + 1, id: randomEpoch(), first: first, floor: floor, before: before}
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

// numbered returns the index of the epoch with this number, or -1 if it was pruned.
func (e *epochs) numbered(number uint32) int {
	if number < e.all[0].number {
		return -1
	}
	return min(int(number-e.all[0].number), len(e.all)-1)
}

// bounds returns the times that no time of an epoch with this number counts as earlier, and as later than.
func (e *epochs) bounds(number uint32) (least, limit int64) {
	i := e.numbered(number)
	if i < 0 {
		return 0, min(max(e.all[0].floor, e.least[0]), e.limits[0])
	}
	return e.least[i], e.limits[i]
}

// lowest returns the least floor of the epochs behind the one with this number, as the clock showed it.
func (e *epochs) lowest(number uint32) int64 {
	least := int64(math.MaxInt64)
	for _, one := range e.all {
		if one.number > number {
			least = min(least, one.floor)
		}
	}
	return least
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
// was put back, and when it was put right after an excursion. The committer alone calls it.
func (s *store) advance(reading int64, b *pebble.Batch) (int64, error) {
	last := s.lastCommit.Load()
	if reading >= last-int64(tolerance) && !s.epochs.Load().undoes(reading, last) {
		last = max(last, reading)
		s.lastCommit.Store(last)
		return last, nil
	}
	next := s.epochs.Load().next(s.next, reading, last)
	if err := b.Set(epochKey(next.number), next.value(), nil); err != nil {
		return 0, err
	}
	// Readers may see it before it is durable: it holds no event that they may see.
	s.changeEpochs(func(e *epochs) *epochs { return e.with(next) })
	s.lastCommit.Store(reading)
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
	for n > 0 && e.least[n] > 0 { // an excursion's epochs go at once
		n--
	}
	return n
}

func (e *epochs) without(n int) *epochs { return newEpochs(e.all[n:]) }
