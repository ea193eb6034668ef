package pebble

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// retainEvery is how many looks at the disk go to one run of retention.
	retainEvery = 6
	// flushDeletes is when space given up is really taken back, at the latest.
	flushDeletes = 10 * time.Second
	// webhookSlack is how much longer webhooks are kept than the events made of them: their ids tell when they were
	// received, which is a little before their events were committed.
	webhookSlack = 10 * time.Minute
)

// checkDisk looks at how much of the disk is free, and refuses appends while that is too little.
func (j *Journal) checkDisk() {
	usage, err := j.cfg.FS.GetDiskUsage(j.cfg.Dir)
	if err != nil {
		return // not every file system can tell
	}
	j.free.Store(usage.AvailBytes)
	var low error
	if usage.AvailBytes < j.cfg.MinFree {
		low = fmt.Errorf("%w: disk has %d bytes free, and must keep %d", ErrUnavailable, usage.AvailBytes, j.cfg.MinFree)
	}
	j.mu.Lock()
	was := j.low
	j.low = low
	j.mu.Unlock()
	switch {
	case was == nil && low != nil:
		j.cfg.Logger.Error("journal: disk is nearly full; refusing webhooks", "free", usage.AvailBytes, "keep", j.cfg.MinFree)
	case was != nil && low == nil:
		j.cfg.Logger.Info("journal: disk has room again", "free", usage.AvailBytes)
	}
}

func (j *Journal) isLow() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.low != nil
}

// retain gives up what is no longer to be kept. Errors: ErrUnavailable, ErrClosed, the disk's.
func (j *Journal) retain() error {
	now := j.cfg.Now()
	for _, c := range j.staleCursors(now) {
		if err := c.touch(); err != nil {
			return err
		}
	}
	st, release, err := j.use()
	if err != nil {
		return err
	}
	defer release()
	r := retention{st: st, cfg: j.cfg, bounds: j.Bounds(), now: now}
	r.hold = j.cursors.hold(r.bounds.Next, now, j.isLow())
	keep, err := r.keep()
	if err != nil {
		return fmt.Errorf("journal: retention: %w", err)
	}
	if err := j.giveUp(st, keep, bucketAt(hourOf(now.Add(-j.cfg.DedupeAge)))); err != nil {
		return fmt.Errorf("journal: retention: %w", err)
	}
	return nil
}

// retention works out what to keep.
type retention struct {
	st     *store
	cfg    Config
	bounds Bounds
	now    time.Time
	// hold is the first position that some reader still needs.
	hold Position
}

func (r *retention) keep() (kept, error) {
	k := r.st.kept
	earliest, webhooks, err := r.byAge()
	if err != nil {
		return k, err
	}
	p, t, err := r.bySize()
	if err != nil {
		return k, err
	}
	earliest, webhooks = min(max(earliest, p), r.hold), later(webhooks, t)
	// The webhooks of the events that stay stay too.
	if earliest < r.bounds.Next {
		at, err := r.st.commitTime(earliest)
		if err != nil && !errors.Is(err, pebble.ErrNotFound) {
			return k, err
		}
		if err == nil && at.Before(webhooks) {
			webhooks = at
		}
	}
	k.earliest = max(k.earliest, earliest)
	k.webhooks = max(k.webhooks, webhooks.Add(-webhookSlack).UnixMilli())
	if age := r.cfg.Retention.QuarantineAge; age > 0 {
		k.quarantine = max(k.quarantine, r.now.Add(-age).UnixMilli())
	}
	return k, nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (r *retention) byAge() (Position, time.Time, error) {
	if r.cfg.Retention.Age <= 0 {
		return 0, time.Time{}, nil
	}
	t := r.now.Add(-r.cfg.Retention.Age)
	p, err := r.st.committedAt(r.bounds, t)
	return p, t, err
}

// bySize takes the oldest share of events and webhooks by which their files are too large. What was given up before does
// not count, whether or not its files are gone.
func (r *retention) bySize() (Position, time.Time, error) {
	limit := r.cfg.Retention.Size
	if limit <= 0 {
		return 0, time.Time{}, nil
	}
	size, err := r.st.size()
	if err != nil || size <= uint64(limit) {
		return 0, time.Time{}, err
	}
	share := 1 - float64(limit)/float64(size)
	p := r.bounds.Earliest + Position(share*float64(r.bounds.Next-r.bounds.Earliest))
	if p < r.bounds.Next {
		at, err := r.st.commitTime(p)
		return p, at, err
	}
	// There are no events: the webhooks go by time.
	oldest, err := r.st.oldestWebhook()
	if err != nil || oldest.IsZero() {
		return p, time.Time{}, err
	}
	return p, oldest.Add(time.Duration(share * float64(r.now.Sub(oldest)))), nil
}

// size is what events and webhooks that are kept take on disk. It leaves out the log and what is only in memory.
func (s *store) size() (uint64, error) {
	_, events := span(prefixEvent)
	a, err := s.db.EstimateDiskUsage(eventKey(s.kept.earliest), events)
	if err != nil {
		return 0, err
	}
	_, webhooks := span(prefixWebhook)
	b, err := s.db.EstimateDiskUsage(webhookKeyAt(prefixWebhook, time.UnixMilli(s.kept.webhooks)), webhooks)
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

// giveUp removes what is not to be kept. Readers see that first: one that meets a hole finds its position expired.
func (j *Journal) giveUp(st *store, k kept, keys bucket) error {
	j.filter.forget(keys)
	b := st.db.NewBatch()
	webhooks := webhookKeyAt(prefixWebhook, time.UnixMilli(k.webhooks))
	quarantined := webhookKeyAt(prefixQuarantine, time.UnixMilli(k.quarantine))
	for _, gone := range [][2][]byte{
		{{prefixEvent}, eventKey(k.earliest)},
		{{prefixWebhook}, webhooks},
		{{prefixQuarantine}, quarantined},
		{{prefixCorrection, prefixWebhook}, append([]byte{prefixCorrection}, webhooks...)},
		{{prefixCorrection, prefixQuarantine}, append([]byte{prefixCorrection}, quarantined...)},
		{{prefixDedupe}, bucketKey(keys)},
	} {
		if err := st.remove(b, gone[0], gone[1]); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	if b.Empty() {
		return b.Close()
	}
	if err := b.Set(keyKept, k.append(nil), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	if k.earliest > st.kept.earliest {
		j.earliest.Store(uint64(k.earliest))
		j.notify()
	}
	if err := st.write(b); err != nil {
		return err
	}
	st.kept = k
	return nil
}

// remove removes the keys from lower up to, not including, upper, if there are any.
func (s *store) remove(b *pebble.Batch, lower, upper []byte) (err error) {
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
