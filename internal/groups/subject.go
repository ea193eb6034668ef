package groups

import (
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// subjectHash is a hash of what orders an event: its source and subject. Two subjects with one hash are ordered with each other, which is
// harmless. The hash decides an event's share, and shares are stored, so it never changes.
type subjectHash uint64

// subjectOf returns the hash, and whether the event has a subject at all. An event without one is ordered with no other.
func subjectOf(h *sinks.Header) (s subjectHash, ordered bool) {
	if len(h.Subject) == 0 {
		return hashOf(h.Source, h.ID), false
	}
	return hashOf(h.Source, h.Subject), true
}

// share returns the index of the subject's share.
func (s subjectHash) share() int { return int(uint64(s) >> 56 % journal.GroupShares) }

// The constants of FNV-1a with 64 bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func hashOf(source, subject []byte) subjectHash {
	h := uint64(fnvOffset)
	for _, c := range source {
		h = (h ^ uint64(c)) * fnvPrime
	}
	h *= fnvPrime // A zero byte between both.
	for _, c := range subject {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return subjectHash(mix(h))
}

// mix spreads the differences of similar values over all bits. It is the finalizer of MurmurHash3.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
