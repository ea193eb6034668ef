package groups

import (
	"errors"
	"slices"
	"sort"

	"github.com/webhook-bridge/bridge/sinks"
)

// span is the positions from one up to, not including, another.
type span struct{ from, to sinks.Position }

// ranges is a set of positions: spans in order, of which no two touch.
type ranges []span

// has reports whether a position is in the set.
func (r ranges) has(p sinks.Position) bool {
	i := r.after(p)
	return i < len(r) && r[i].from <= p
}

// after returns the index of the first span that ends behind p.
func (r ranges) after(p sinks.Position) int {
	return sort.Search(len(r), func(i int) bool { return r[i].to > p })
}

// add returns the set with the positions from one up to another. It may change r.
func (r ranges) add(from, to sinks.Position) ranges {
	if from >= to {
		return r
	}
	first := sort.Search(len(r), func(i int) bool { return r[i].to >= from })
	last := first
	for last < len(r) && r[last].from <= to {
		from, to = min(from, r[last].from), max(to, r[last].to)
		last++
	}
	return slices.Replace(r, first, last, span{from, to})
}

// count returns how many positions are in the set.
func (r ranges) count() (n uint64) {
	for _, s := range r {
		n += uint64(s.to - s.from)
	}
	return n
}

// atMost returns the set with at most so many spans. It closes the smallest distances, so it may have more positions than r.
func (r ranges) atMost(spans int) ranges {
	for len(r) > spans {
		least := 1
		for i := 2; i < len(r); i++ {
			if r[i].from-r[i-1].to < r[least].from-r[least-1].to {
				least = i
			}
		}
		r = r.add(r[least-1].to, r[least].from)
	}
	return r
}

// pairs returns the set as its spans' ends.
func (r ranges) pairs() []uint64 {
	pairs := make([]uint64, 0, 2*len(r))
	for _, s := range r {
		pairs = append(pairs, uint64(s.from), uint64(s.to))
	}
	return pairs
}

var errRanges = errors.New("ranges are not in order")

func rangesOf(pairs []uint64) (ranges, error) {
	if len(pairs)%2 != 0 {
		return nil, errRanges
	}
	var r ranges
	var end uint64
	for i := 0; i+1 < len(pairs); i += 2 {
		from, to := pairs[i], pairs[i+1]
		if from >= to || i > 0 && from <= end {
			return nil, errRanges
		}
		r, end = append(r, span{sinks.Position(from), sinks.Position(to)}), to
	}
	return r, nil
}
