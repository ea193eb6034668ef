package pebble

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// retainEvery: retention runs at every sixth look at the disk.
	retainEvery = 6
	// flushDeletes bounds how long removed data occupy the disk.
	flushDeletes = 10 * time.Second
	// webhookSlack is how much longer webhooks stay than their events: their ids tell when they were received, which is a
	// little before their events were committed.
	webhookSlack = 10 * time.Minute
)

// spaceFactor is how many bytes of disk a byte of entries takes, at most, until the next measurement: once in Pebble's log, once in a
// table or value file, and once more while that is compacted and the old files are still there. Measured with random bodies, the
// folder grew by 2.2 bytes for each at most: see TestBurstKeepsMinFree.
const spaceFactor = 3

// checkDisk measures how much of the disk is free. It gives the queue room for as many bytes as fit above MinFree, and refuses appends
// while there is none. It is called at intervals, and when the room is spent, so that no burst gets past MinFree.
func (j *Journal) checkDisk() {
	j.measuring.Lock()
	defer j.measuring.Unlock()
	usage, err := j.cfg.FS.GetDiskUsage(j.cfg.Dir)
	if err != nil {
		return // not every file system can tell
	}
	j.free.Store(usage.AvailBytes)
	if j.cfg.MinFree == 0 {
		return
	}
	reserve := j.cfg.MinFree + j.unwritten()
	var low error
	if usage.AvailBytes < reserve {
		low = fmt.Errorf("%w: disk has %d bytes free, and must keep %d", journal.ErrUnavailable, usage.AvailBytes, reserve)
	}
	j.queue.SetRoom(int64(min(less(usage.AvailBytes, reserve), math.MaxInt64) / spaceFactor))
	before := j.queue.SetLow(low)
	switch {
	case before == nil && low != nil:
		j.cfg.Logger.Error("journal: disk is nearly full; refusing webhooks", "free", usage.AvailBytes, "keep", reserve)
	case before != nil && low == nil:
		j.cfg.Logger.Info("journal: disk has room again", "free", usage.AvailBytes)
	}
}

// largestCompaction is how many bytes a compaction may write before it removes what it has read: the tables of level 0 that begin one, with
// their value files.
const largestCompaction = 8 * memTableSize

// unwritten is how many bytes the store may write though nothing is appended: what is in no table yet, and a compaction. A small
// journal is compacted as a whole.
func (j *Journal) unwritten() uint64 {
	st, release, err := j.borrowStore()
	if err != nil {
		return 0
	}
	defer release()
	m := st.db.Metrics()
	return m.MemTable.Size + min(m.DiskSpaceUsage(), largestCompaction)
}

// retain removes data that are older or larger than the configuration allows. It measures ages by the clock's reading at the
// pass before, if that is earlier, so that a clock that is ahead for a moment removes nothing. Errors: ErrUnavailable,
// ErrClosed, the disk's.
func (j *Journal) retain() error {
	now := j.cfg.Now()
	believed := earlier(j.lastPass, now)
	j.lastPass = now
	if err := j.touchReaders(now); err != nil {
		return err
	}
	if err := j.retainParked(believed); err != nil && !errors.Is(err, journal.ErrUnavailable) && j.ctx.Err() == nil {
		j.cfg.Logger.Error("journal: retention", "error", err) // the events' retention goes on
	}
	st, release, err := j.borrowStore()
	if err != nil {
		return err
	}
	defer release()
	if err := st.pruneCommits(j.cfg.Dir); err != nil {
		return fmt.Errorf("journal: retention: commits: %w", err)
	}
	r := retention{j: j, st: st, bounds: j.Bounds(), now: now, believed: believed}
	if err := r.run(); err != nil {
		return fmt.Errorf("journal: retention: %w", err)
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// retention is one pass.
type retention struct {
	j      *Journal
	st     *store
	bounds sinks.Bounds
	// now is the clock's reading, and believed the time that ages are measured by.
	now, believed time.Time
}

func (r *retention) run() error {
	r.st.retained = r.st.retained.advanced(retained{earliest: r.st.retained.earliest}, r.believed)
	k, err := r.moveEarliest()
	if err != nil {
		return err
	}
	oldest := r.believed.Add(-r.j.cfg.DedupeAge)
	stray, err := r.strayBuckets(oldest)
	if err != nil {
		return err
	}
	return r.removeOlder(k, bucketAt(hourOf(oldest)), stray, oldest)
}

// moveEarliest moves the first position that readers may read to the new limit, and returns the limits. The position moves
// before the events go, so that a reader never meets a hole: it gets ErrExpired.
func (r *retention) moveEarliest() (retained, error) {
	r.j.readers.needed.Lock()
	defer r.j.readers.needed.Unlock()
	k, err := r.limits()
	if err == nil && k.earliest > sinks.Position(r.j.earliest.Load()) {
		r.j.earliest.Store(uint64(k.earliest))
		r.j.notify()
	}
	return k, err
}

// limits returns the first event and the first webhooks to keep.
func (r *retention) limits() (retained, error) {
	k := r.st.retained
	earliest, webhooks, err := r.byAge()
	if err != nil {
		return k, err
	}
	p, t, err := r.bySize()
	if err != nil {
		return k, err
	}
	needed := r.j.readers.firstNeeded(r.bounds.Next, r.believed, r.j.queue.Low())
	earliest, webhooks = min(max(earliest, p), needed), later(webhooks, t)
	// Webhooks are kept for as long as their events.
	if earliest < r.bounds.Next {
		at, err := r.st.commitTime(earliest)
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			return k, err
		}
		if err == nil {
			webhooks = earlier(webhooks, at)
		}
	}
	k.earliest = max(k.earliest, earliest)
	// Limits of time are not kept from pass to pass: a clock that was ahead moved them too far.
	k.webhooks, k.quarantine = max(webhooks.Add(-webhookSlack).UnixMilli(), 0), 0
	if age := r.j.cfg.Retention.QuarantineAge; age > 0 {
		k.quarantine = max(r.believed.Add(-age).UnixMilli(), 0)
	}
	return k, nil
}

func (r *retention) byAge() (sinks.Position, time.Time, error) {
	age := r.j.cfg.Retention.Age
	if age <= 0 {
		return 0, time.Time{}, nil
	}
	t := r.believed.Add(-age)
	p, err := r.st.committedSince(r.bounds, t)
	return p, t, err
}

// bySize selects the oldest part of events and webhooks, as large as the excess of their files. Data that were removed before
// do not count, also while their files still exist.
func (r *retention) bySize() (sinks.Position, time.Time, error) {
	limit := r.j.cfg.Retention.Size
	if limit <= 0 {
		return 0, time.Time{}, nil
	}
	size, err := r.st.size()
	if err != nil || size <= uint64(limit) {
		return 0, time.Time{}, err
	}
	excess := 1 - float64(limit)/float64(size)
	p := r.st.lost.pass(r.bounds.Earliest + sinks.Position(excess*float64(r.bounds.Next-r.bounds.Earliest)))
	if p < r.bounds.Next {
		at, err := r.st.commitTime(p)
		return p, at, err
	}
	// There are no events: the webhooks go by time.
	oldest, err := r.st.oldestWebhook()
	if err != nil || oldest.IsZero() {
		return p, time.Time{}, err
	}
	return p, oldest.Add(time.Duration(excess * float64(r.believed.Sub(oldest)))), nil
}

// size is the size on disk of the retained events and webhooks, in bytes. It leaves out the log and the memtables.
func (s *store) size() (uint64, error) {
	_, events := span(prefixEvent)
	a, err := s.db.EstimateDiskUsage(eventKey(s.retained.earliest), events)
	if err != nil {
		return 0, err
	}
	_, webhooks := span(prefixWebhook)
	b, err := s.db.EstimateDiskUsage(webhookKeyAt(prefixWebhook, time.UnixMilli(s.retained.webhooks)), webhooks)
	return a + b, err
}

func (s *store) oldestWebhook() (t time.Time, err error) {
	lower, upper := span(prefixWebhook)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return t, it.Error()
	}
	return webhookTime(it.Key())
}

// strayMargin is how far ahead of the clock a bucket is that the committer cannot come to fill during a pass.
const strayMargin = 2 * time.Hour

// strayBuckets returns the buckets well ahead of the clock whose contents are all older than a time: a clock that was ahead
// filled them, and came back.
func (r *retention) strayBuckets(oldest time.Time) (stray []bucket, err error) {
	for _, at := range r.j.filter.bucketsAfter(bucketAt(hourOf(r.now.Add(strayMargin))+1) - 1) {
		old, err := r.st.olderThan(at, oldest)
		if err != nil {
			return nil, err
		}
		if old {
			stray = append(stray, at)
		}
	}
	return stray, nil
}

// olderThan reports whether everything in a bucket counts as committed before a time. It stops at the first that does not.
func (s *store) olderThan(at bucket, t time.Time) (bool, error) {
	for _, prefix := range bucketPrefixes {
		if old, err := s.prefixOlderThan(prefix, at, t); err != nil || !old {
			return false, err
		}
	}
	return true, nil
}

func (s *store) prefixOlderThan(prefix byte, at bucket, t time.Time) (_ bool, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: bucketKey(prefix, at), UpperBound: bucketKey(prefix, at+1)})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	e := s.epochs.Load()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		number, err := bucketEpoch(prefix, v)
		if err != nil || e.Limit(number) >= t.UnixNano() {
			return false, err
		}
	}
	return true, it.Error()
}

// removeOlder removes the data before the limits.
func (r *retention) removeOlder(k retained, keys bucket, stray []bucket, oldest time.Time) error {
	r.j.filter.dropBuckets(keys, stray)
	b := r.st.db.NewBatch()
	webhooks := webhookKeyAt(prefixWebhook, time.UnixMilli(k.webhooks))
	quarantined := webhookKeyAt(prefixQuarantine, time.UnixMilli(k.quarantine))
	ranges := [][2][]byte{
		{{prefixEvent}, eventKey(k.earliest)},
		{{prefixWebhook}, webhooks},
		{{prefixQuarantine}, quarantined},
		{{prefixCorrection, prefixWebhook}, append([]byte{prefixCorrection}, webhooks...)},
		{{prefixCorrection, prefixQuarantine}, append([]byte{prefixCorrection}, quarantined...)},
	}
	for _, prefix := range bucketPrefixes {
		ranges = append(ranges, [2][]byte{{prefix}, bucketKey(prefix, keys)})
		for _, at := range stray {
			ranges = append(ranges, [2][]byte{bucketKey(prefix, at), bucketKey(prefix, at+1)})
		}
	}
	e := r.st.epochs.Load()
	obsolete := e.Obsolete(k.earliest, oldest.UnixNano())
	if obsolete > 0 {
		ranges = append(ranges, [2][]byte{{prefixEpoch}, epochKey(e.At(obsolete).Number)})
	}
	for _, gone := range ranges {
		if err := r.st.deleteRange(b, gone[0], gone[1]); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	if b.Empty() {
		return b.Close()
	}
	k = r.st.retained.advanced(k, r.believed)
	if err := b.Set(keyRetained, k.append(nil), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := r.st.write(b); err != nil {
		return err
	}
	r.st.retained = k
	r.st.changeEpochs(func(e *epoch.List) *epoch.List { return e.Without(obsolete) })
	return nil
}

// deleteRange removes the keys from lower up to, not including, upper. It adds nothing to the batch if there are none.
func (s *store) deleteRange(b *pebble.Batch, lower, upper []byte) (err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return it.Error()
	}
	return b.DeleteRange(lower, upper, nil)
}
