package dispatch

import (
	"hash/fnv"

	"github.com/webhook-bridge/bridge/sinks"
)

// laneOf returns the number of the lane, out of lanes, that an event belongs to: the same one for all events of a source and
// subject.
func laneOf(h *sinks.Header, lanes int) int {
	if lanes == 1 {
		return 0
	}
	sum := fnv.New32a()
	_, _ = sum.Write(h.Source) // Never fails.
	_, _ = sum.Write([]byte{0})
	_, _ = sum.Write(h.Subject)
	return int(sum.Sum32() % uint32(lanes))
}
