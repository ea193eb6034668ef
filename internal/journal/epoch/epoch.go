// Package epoch is the part of the journal's clock and of its marks that all engines share.
//
// An epoch is a part of the log in which the clock did not go back. Engines store the epochs, and store times as the clock showed
// them, beside the number of the epoch in which it did. A stored time counts as the least of itself and the floors of all later
// epochs. So times need no change when the clock was put back, and they never decrease with the position. A mark names its
// epoch, so a log that was restored from an older copy refuses the marks of the state that was lost.
package epoch

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// Tolerance bounds how far the clock may go back within an epoch. Time then stands still until the clock has caught up.
const Tolerance = time.Second

// Epoch is a part of the log in which the clock did not go back.
type Epoch struct {
	// Number orders the epochs. They are consecutive.
	Number uint32
	ID     sinks.Epoch
	// First is the position of the first event, or where it would be.
	First sinks.Position
	// Floor is the clock's reading when the epoch began, in Unix nanoseconds.
	Floor int64
}

// NewID returns a random id.
func NewID() sinks.Epoch {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if id := binary.BigEndian.Uint64(b[:]); id != 0 {
			return sinks.Epoch(id)
		}
	}
}

// List has the epochs of a log, in order, at least one. It is not changed: a new epoch makes a new list.
type List struct {
	all []Epoch
	// limits[i] is the least floor of the epochs behind the i-th. No time of the i-th counts as later.
	limits []int64
}

// NewList returns the list of all epochs, which must be consecutive. It keeps the slice.
func NewList(all []Epoch) *List {
	e := &List{all: all, limits: make([]int64, len(all))}
	limit := int64(math.MaxInt64)
	for i, one := range slices.Backward(all) {
		e.limits[i] = limit
		limit = min(limit, one.Floor)
	}
	return e
}

// Len is the number of epochs.
func (e *List) Len() int { return len(e.all) }

// At returns the i-th epoch.
func (e *List) At(i int) Epoch { return e.all[i] }

// Last returns the epoch that the next commit belongs to.
func (e *List) Last() Epoch { return e.all[len(e.all)-1] }

// Next returns a new epoch that follows the last one. It is not in the list.
func (e *List) Next(first sinks.Position, floor int64) Epoch {
	return Epoch{Number: e.Last().Number + 1, ID: NewID(), First: first, Floor: floor}
}

// With returns a list that has another epoch behind the last one.
func (e *List) With(another Epoch) *List { return NewList(append(slices.Clone(e.all), another)) }

// Without returns a list that lacks the first n epochs.
func (e *List) Without(n int) *List { return NewList(e.all[n:]) }

// Of returns the index of the epoch that holds a position.
func (e *List) Of(p sinks.Position) int {
	return max(sort.Search(len(e.all), func(i int) bool { return e.all[i].First > p })-1, 0)
}

// End returns the position behind the last event of the i-th epoch, at most next.
func (e *List) End(i int, next sinks.Position) sinks.Position {
	if i+1 < len(e.all) {
		return min(e.all[i+1].First, next)
	}
	return next
}

// LimitAt returns the time that no time of the i-th epoch counts as later than, in Unix nanoseconds.
func (e *List) LimitAt(i int) int64 { return e.limits[i] }

// Limit returns the time that no time of the epoch with this number counts as later than, in Unix nanoseconds.
func (e *List) Limit(number uint32) int64 {
	first := e.all[0]
	if number < first.Number { // it was pruned
		return min(first.Floor, e.limits[0])
	}
	return e.limits[min(int(number-first.Number), len(e.limits)-1)]
}

// Advance returns the time for a commit at a reading of the clock, given the time of the commit before. fresh says that the clock
// was put back by more than [Tolerance]: then a new epoch must begin with this time.
func Advance(reading, last int64) (now int64, fresh bool) {
	if reading >= last-int64(Tolerance) {
		return max(last, reading), false
	}
	return reading, true
}

// Mark returns the mark of a reader that has dealt with all events before p.
func (e *List) Mark(p sinks.Position) sinks.Mark {
	if p <= 1 {
		return sinks.Mark{Epoch: e.all[0].ID, Position: p}
	}
	return sinks.Mark{Epoch: e.all[e.Of(p-1)].ID, Position: p}
}

// Resolve reports whether a log with these epochs and bounds contains a mark. Errors: [sinks.ErrExpired], [sinks.ErrFuture],
// [sinks.ErrForked].
func (e *List) Resolve(m sinks.Mark, b sinks.Bounds) error {
	switch {
	case m.Position < b.Earliest:
		return sinks.ErrExpired
	case m.Position > b.Next:
		return sinks.ErrFuture
	case m.Epoch == 0:
		return nil
	}
	i := slices.IndexFunc(e.all, func(one Epoch) bool { return one.ID == m.Epoch })
	if i < 0 || i+1 < len(e.all) && m.Position > e.all[i+1].First {
		return sinks.ErrForked
	}
	return nil
}

// Obsolete returns how many epochs neither a mark nor a time needs: all their positions are below earliest, and everything that
// was committed in them is older than a time.
func (e *List) Obsolete(earliest sinks.Position, before int64) (n int) {
	for n+1 < len(e.all) && e.all[n+1].First < earliest && e.limits[n] < before {
		n++
	}
	return n
}
