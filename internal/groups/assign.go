package groups

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// assign gives each share to one of the members and returns, for each share, the member's index; nothing without members. Every
// instance gets the same from the same members, in any order.
//
// It is rendezvous hashing with bounded loads: each pair of a share and a member has a weight. A share goes to the member with the greatest
// weight that has room for it, and a member that is full keeps the shares with the greatest weights. That is a stable
// matching, so its result does not depend on the order of the steps, and a member that comes or goes moves few shares.
func assign(members []string) []int {
	if len(members) == 0 {
		return nil
	}
	room := maxShares(len(members))
	hashes := make([]uint64, len(members))
	for m, id := range members {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(id)) // Never fails.
		hashes[m] = mix(sum.Sum64())
	}
	wishes := make([][]wish, journal.GroupShares) // Of each share, the best last.
	for s := range wishes {
		wishes[s] = make([]wish, len(members))
		for m := range members {
			wishes[s][m] = wish{member: m, weight: mix(hashes[m] ^ mix(uint64(s)+1))}
		}
		slices.SortFunc(wishes[s], func(a, b wish) int {
			return cmp.Or(cmp.Compare(a.weight, b.weight), cmp.Compare(members[a.member], members[b.member]))
		})
	}
	return match(wishes, room, len(members))
}

// maxShares is the most shares that one of so many members has: one more than the average, rounded up.
func maxShares(members int) int {
	return (journal.GroupShares+members-1)/members + 1
}

// wish is a member that a share would have, and how much.
type wish struct {
	member int
	weight uint64
}

// match lets each share ask its members, the best first, until one has room or gives up a share with a smaller weight.
func match(wishes [][]wish, room, members int) []int {
	owner := make([]int, len(wishes))
	weights := make([]uint64, len(wishes))
	has := make([][]int, members)
	for first := range wishes {
		for s := first; s >= 0; {
			w := wishes[s][len(wishes[s])-1]
			wishes[s] = wishes[s][:len(wishes[s])-1]
			s = place(s, w, has, weights, room)
		}
	}
	for m, shares := range has {
		for _, s := range shares {
			owner[s] = m
		}
	}
	return owner
}

// place gives a share to a member, or not. It returns the share that has no member now, or -1.
func place(s int, w wish, has [][]int, weights []uint64, room int) int {
	weights[s] = w.weight
	if len(has[w.member]) < room {
		has[w.member] = append(has[w.member], s)
		return -1
	}
	least := 0
	for i, other := range has[w.member] {
		if lighter(other, has[w.member][least], weights) {
			least = i
		}
	}
	if lighter(s, has[w.member][least], weights) {
		return s
	}
	out := has[w.member][least]
	has[w.member][least] = s
	return out
}

func lighter(a, b int, weights []uint64) bool {
	return cmp.Or(cmp.Compare(weights[a], weights[b]), cmp.Compare(a, b)) < 0
}
