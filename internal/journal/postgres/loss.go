package postgres

import (
	"sync"

	"github.com/webhook-bridge/bridge/sinks"
)

// highWater is the position behind the last event that this instance has shown or acknowledged. A log that ends before it has lost data.
type highWater struct {
	mu   sync.Mutex
	next sinks.Position
	// losses counts how often that was noticed.
	losses uint64
}

// raise notes that everything before a position was shown or acknowledged.
func (w *highWater) raise(next sinks.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = max(w.next, next)
}

// covers reports whether everything before a position was shown or acknowledged, and is not known as lost.
func (w *highWater) covers(next sinks.Position) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next >= next
}

// lower notes the log's end. It returns how many events are lost that were not known as lost.
func (w *highWater) lower(next sinks.Position) (lost uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if next >= w.next {
		return 0
	}
	lost = uint64(w.next - next)
	w.next = next
	w.losses++
	return lost
}

// noticed is how often a loss was noticed.
func (w *highWater) noticed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.losses
}

// noticeLoss compares a head with what this instance has shown and acknowledged. Readers and the committer call it: each loss counts once.
func (j *Journal) noticeLoss(h *head) {
	lost := j.tail.water.lower(h.next)
	if lost == 0 {
		return
	}
	j.lostEvents.Add(lost)
	j.cfg.Logger.Error("journal: the database lost events that it had confirmed; readers may have seen them",
		"events", lost, "from", uint64(h.next), "to", uint64(h.next)+lost-1, "server", h.now)
}
