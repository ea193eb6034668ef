package groups

import (
	"cmp"
	"hash/fnv"

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
	m := matching{members: members, hashes: make([]uint64, len(members)), room: maxShares(len(members)), has: make([][]int, len(members))}
	for i, id := range members {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(id)) // Never fails.
		m.hashes[i] = mix(sum.Sum64())
	}
	for first := range m.asked {
		for s := first; s >= 0; {
			s = m.ask(s)
		}
	}
	owner := make([]int, journal.GroupShares)
	for i, shares := range m.has {
		for _, s := range shares {
			owner[s] = i
		}
	}
	return owner
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

// matching is a matching of shares and members that is being made.
type matching struct {
	members []string
	hashes  []uint64
	room    int
	// has are the shares of each member. asked is the last wish of each share, if it has asked at all.
	has   [][]int
	asked [journal.GroupShares]wish
	begun [journal.GroupShares]bool
}

// ask lets a share ask the best member that it has not asked. It returns the share that has no member now, or -1.
func (m *matching) ask(s int) int {
	w := m.best(s)
	m.asked[s], m.begun[s] = w, true
	shares := m.has[w.member]
	if len(shares) < m.room {
		m.has[w.member] = append(shares, s)
		return -1
	}
	least := 0
	for i, other := range shares {
		if m.lighter(other, shares[least]) {
			least = i
		}
	}
	if m.lighter(s, shares[least]) {
		return s
	}
	out := shares[least]
	shares[least] = s
	return out
}

// best returns the greatest wish of a share below the last one. There is one: the members have room for all shares. Shares ask few times, so
// to look through the members for each wish costs less than to sort them.
func (m *matching) best(s int) wish {
	salt := mix(uint64(s) + 1)
	best := wish{member: -1}
	for i, h := range m.hashes {
		w := wish{i, mix(h ^ salt)}
		if m.begun[s] && m.compare(w, m.asked[s]) >= 0 {
			continue
		}
		if best.member < 0 || m.compare(w, best) > 0 {
			best = w
		}
	}
	return best
}

func (m *matching) compare(a, b wish) int {
	if c := cmp.Compare(a.weight, b.weight); c != 0 {
		return c
	}
	return cmp.Compare(m.members[a.member], m.members[b.member])
}

// lighter compares two shares that have asked the same member.
func (m *matching) lighter(a, b int) bool {
	return cmp.Or(cmp.Compare(m.asked[a].weight, m.asked[b].weight), cmp.Compare(a, b)) < 0
}
