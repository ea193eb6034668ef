package pebble

import (
	"errors"
	"fmt"
	"time"
)

// Opening the folder anew is tried after firstRetry, then ever more rarely.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// tripped is called when a write failed, from within Pebble.
func (j *Journal) tripped(cause error) {
	j.cfg.Logger.Error("journal: a write failed; closing the store to recover", "error", cause)
	j.signal()
}

// run owns the store: it commits until a write fails or the journal closes, closes the store, and opens it anew.
func (j *Journal) run(st *store) {
	defer close(j.done)
	for st != nil {
		cause := j.commit(st)
		j.fail(cause)
		err := j.retire(st)
		if cause == nil {
			j.closeErr = err
			break
		}
		st = j.reopen()
	}
	j.workers.Wait()
	if err := j.lock.Close(); err != nil {
		j.closeErr = errors.Join(j.closeErr, err)
	}
	j.fail(nil)
}

// fail refuses all who wait, and all to come, because of cause, or because the journal closes.
func (j *Journal) fail(cause error) {
	down := ErrClosed
	if cause != nil && !j.isClosing() {
		down = fmt.Errorf("%w: %w", ErrUnavailable, cause)
	}
	j.mu.Lock()
	j.down = down
	queue := j.queue
	j.queue = nil
	j.mu.Unlock()
	for _, p := range queue {
		p.finish(Receipt{}, down)
	}
}

// retire closes a store when nobody uses it any more. Readers stay at the durable position.
func (j *Journal) retire(st *store) error {
	j.storeMu.Lock()
	j.store = nil
	j.storeMu.Unlock()
	j.notify()
	err := st.close()
	if st.fence.err() != nil {
		return nil //nolint:nilerr // the store was lost, which has been reported
	}
	return err
}

// reopen recovers the folder, however often that takes. It returns nil when the journal closes.
func (j *Journal) reopen() *store {
	j.reopens.Add(1)
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		if j.isClosing() {
			return nil
		}
		st, err := j.openStore()
		if err == nil {
			j.up(st)
			j.cfg.Logger.Info("journal: recovered", "next", st.next)
			return st
		}
		j.cfg.Logger.Error("journal: recover", "error", err, "retry", retry)
		select {
		case <-j.closing:
			return nil
		case <-time.After(retry):
		}
	}
}

// up makes a recovered store the one in use. All that was recovered is durable: Pebble wrote it anew.
func (j *Journal) up(st *store) {
	if lost := Position(j.durable.Load()); st.next < lost {
		// The disk confirmed what it did not keep. Positions that were shown are not used again all the same.
		j.cfg.Logger.Error("journal: the disk lost events that it had confirmed", "from", st.next, "to", lost)
		st.next = lost
	}
	j.durable.Store(uint64(st.next))
	j.earliest.Store(uint64(max(st.kept.earliest, Position(j.earliest.Load()))))
	j.synced.Store(j.applied.Load())
	j.storeMu.Lock()
	j.store = st
	j.storeMu.Unlock()
	j.mu.Lock()
	j.down = nil
	if j.isClosing() {
		j.down = ErrClosed
	}
	j.mu.Unlock()
	j.notify()
}
