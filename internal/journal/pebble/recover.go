package pebble

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

// The folder is reopened after firstRetry. When that fails, the wait doubles up to lastRetry.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// writeFailed is called when a write failed, from within Pebble.
func (j *Journal) writeFailed(cause error) {
	j.cfg.Logger.Error("journal: a write failed; closing the store to recover", "error", cause)
	j.queue.Wake()
}

// run owns the store: it commits until a write fails or the journal closes, closes the store, and opens it again.
func (j *Journal) run(st *store) {
	defer close(j.done)
	for st != nil {
		cause := j.commit(st)
		if cause != nil {
			j.problem.Store(&cause)
		}
		j.refuseAppends(cause)
		err := j.closeStore(st)
		if cause == nil {
			j.closeErr = err
			break
		}
		st = j.reopen()
	}
	j.workers.Wait()
	j.markDurable()
	j.metrics.unregister()
	if err := j.lock.Close(); err != nil {
		j.closeErr = errors.Join(j.closeErr, err)
	}
	j.refuseAppends(nil)
}

// refuseAppends answers the appends that wait, and all later ones, with an error: cause, or ErrClosed when the journal closes.
func (j *Journal) refuseAppends(cause error) {
	if cause != nil && !j.isClosing() {
		j.queue.Fail(fmt.Errorf("%w: %w", journal.ErrUnavailable, cause))
		return
	}
	j.queue.Fail(sinks.ErrClosed)
}

// closeStore closes a store once it is no longer used. Readers stay at the durable position.
func (j *Journal) closeStore(st *store) error {
	j.storeMu.Lock()
	j.store = nil
	j.storeMu.Unlock()
	j.notify()
	err := st.close()
	if st.fs.err() != nil {
		return nil //nolint:nilerr // the failed write has been reported
	}
	return err
}

// reopen tries to recover the folder until it succeeds. It returns nil when the journal closes.
func (j *Journal) reopen() *store {
	j.reopens.Add(1)
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		if j.isClosing() {
			return nil
		}
		st, err := j.openStore()
		if err == nil {
			j.activate(st)
			j.cfg.Logger.Info("journal: recovered", "next", st.next)
			return st
		}
		j.problem.Store(&err)
		j.cfg.Logger.Error("journal: recover", "error", err, "retry", retry)
		select {
		case <-j.closing:
			return nil
		case <-time.After(retry):
		}
	}
}

// activate puts a recovered store into use. Everything in it is durable: Pebble has written it again.
func (j *Journal) activate(st *store) {
	j.durable.Store(uint64(st.next))
	j.earliest.Store(uint64(max(st.retained.earliest, sinks.Position(j.earliest.Load()))))
	j.synced.Store(j.applied.Load())
	j.lost.Store(st.lost)
	j.storeMu.Lock()
	j.store = st
	j.storeMu.Unlock()
	j.problem.Store(nil)
	j.queue.Admit()
	if j.isClosing() {
		j.queue.Refuse(sinks.ErrClosed)
	}
	j.notify()
}

// recover reads the folder's identity, its bounds and its counts of drift, and begins an epoch. It records a loss that is
// accepted.
func (j *Journal) recover(s *store, accepted *lossError) error {
	version, err := s.identify()
	if err != nil {
		return err
	}
	k, err := s.get(keyRetained)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		s.retained = retained{earliest: 1}
	case err != nil:
		return err
	default:
		if s.retained, err = parseRetained(k); err != nil {
			return err
		}
	}
	if s.drift, err = s.loadDrift(); err != nil {
		return err
	}
	found, err := s.ending()
	if err != nil {
		return err
	}
	s.next = found.next
	s.numbering.position = s.next
	first := s.next
	if accepted != nil {
		if err := j.acceptLoss(s, accepted); err != nil {
			return err
		}
	}
	if s.lost, err = s.loadLosses(); err != nil {
		return err
	}
	s.next = s.lost.pass(s.next)
	return s.beginEpoch(version, first, j.cfg.Now().UnixNano())
}

// identify reads the folder's format and identity. A new folder has format 0, and gets an identity.
func (s *store) identify() (version uint32, err error) {
	v, err := s.get(keyFormat)
	if errors.Is(err, pebble.ErrNotFound) {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		s.id = hex.EncodeToString(id[:])
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(v) != 4 {
		return 0, errCorrupt
	}
	version = binary.BigEndian.Uint32(v)
	if version > format && version != formatMoving {
		return 0, fmt.Errorf("%w: %d, this program knows up to %d", ErrNewerFormat, version, format)
	}
	id, err := s.get(keyID)
	s.id = string(id)
	if err == nil && version == formatMoving {
		return 0, s.refuseMoving()
	}
	return version, err
}

// beginEpoch writes durably that the folder was opened. A new folder, or one of an older format, becomes one of this format
// with the same write. The epoch begins at the position first: positions that were lost just now belong to it, so that a mark
// behind them is one of a state that is gone.
func (s *store) beginEpoch(version uint32, first sinks.Position, now int64) error {
	all, err := s.loadEpochs()
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	if version != format {
		err = errors.Join(
			b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, format), nil),
			b.Set(keyID, []byte(s.id), nil),
		)
	}
	before := len(all)
	if before == 0 && version == 1 {
		all = append(all, epoch.Epoch{ID: epoch.NewID(), First: 1})
	}
	opened := epoch.Epoch{ID: epoch.NewID(), First: first, Floor: now}
	if len(all) > 0 {
		opened = epoch.NewList(all).Next(first, now)
	}
	all = append(all, opened)
	for _, e := range all[before:] {
		err = errors.Join(err, b.Set(epochKey(e.Number), epochValue(e), nil))
	}
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := s.write(b); err != nil {
		return err
	}
	s.epochs.Store(epoch.NewList(all))
	s.lastCommit = now
	return nil
}

// lastPosition returns the position of the last event, 0 if there is none.
func (s *store) lastPosition() (p sinks.Position, err error) {
	lower, upper := span(prefixEvent)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Last() {
		return 0, it.Error()
	}
	return parseEventKey(it.Key())
}
