package pebble

import (
	"context"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
)

// writeKeys records the contents that a group adds under its keys, and the versions of its subjects.
func (c *committer) writeKeys(g *group) {
	plan := g.Plan()
	if plan.Records() == 0 && len(plan.Versions()) == 0 {
		return
	}
	c.st.chooseBucket(hourOf(c.known.Now))
	number := c.st.epochs.Load().Last().Number
	c.writeContents(g, number)
	c.writeVersions(g, number)
}

func (c *committer) writeContents(g *group, number uint32) {
	plan := g.Plan()
	for i := range plan.Records() {
		var key journal.Hash
		key, c.contents = plan.Record(i, c.contents[:0], &c.known.Known)
		c.keepCurrent(key)
		op := g.batch.SetDeferred(dedupeKeyLen, contentsLen(len(c.contents)))
		appendDedupeKey(op.Key[:0], c.st.bucket, key)
		putContents(op.Value, number, c.contents)
		c.st.filter.add(c.st.bucket, &key)
		c.st.bucketKeys++
	}
}

func (c *committer) writeVersions(g *group, number uint32) {
	for _, v := range g.Plan().Versions() {
		op := g.batch.SetDeferred(dedupeKeyLen, versionHeaderLen+len(v.Text))
		appendVersionKey(op.Key[:0], c.st.bucket, v.Subject)
		putVersion(op.Value, number, c.known.Now, v.Text)
		c.st.filter.add(c.st.bucket, &v.Subject)
		c.st.bucketKeys++
	}
}

// keepCurrent adds the contents that were recorded under the key within the hour, where the new record does not have them. They
// would be lost with the record that it replaces. A window may have passed by a clock that is ahead, or for an entry with a
// shorter one, and not for the next entry.
func (c *committer) keepCurrent(key journal.Hash) {
	for _, s := range c.known.current[key] {
		if len(c.contents) >= commit.MaxContents {
			return
		}
		known := slices.ContainsFunc(c.contents, func(one journal.Seen) bool {
			return one.Bytes == s.Bytes && one.Meaning == s.Meaning && !one.At.Before(s.At)
		})
		if !known {
			c.contents = append(c.contents, s)
		}
	}
}

// chooseBucket chooses the bucket for the keys of a group.
func (s *store) chooseBucket(hour uint32) {
	if s.bucket.hour() != hour {
		s.bucket, s.bucketKeys = s.filter.latestBucket(hour), 0
	}
	if s.bucketKeys >= bucketKeys {
		s.bucket, s.bucketKeys = s.bucket.next(), 0
	}
}

// storedBuckets returns the buckets that have keys on disk, newest first, by one seek a bucket.
func storedBuckets(db *pebble.DB) (all []bucket, err error) {
	for _, prefix := range bucketPrefixes {
		if all, err = appendStoredBuckets(all, db, prefix); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, newestFirst)
	return slices.Compact(all), nil
}

func appendStoredBuckets(all []bucket, db *pebble.DB, prefix byte) (_ []bucket, err error) {
	lower, upper := span(prefix)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok; {
		at, _, err := parseBucketKey(it.Key())
		if err != nil {
			return nil, err
		}
		all = append(all, at)
		ok = it.SeekLT(bucketKey(prefix, at))
	}
	return all, it.Error()
}

// chunkKeys is how many keys are read from disk at once. Closing the store waits for one chunk at most.
const chunkKeys = 1 << 15

// learner fills the filter with the keys on disk, the newest first.
type learner struct {
	j      *Journal
	filter *filter
	seg    *segment
	// complete are the buckets that end in seg.
	complete []bucket
}

// learnBuckets adds the keys on disk to the filter, until it knows all buckets or ctx is done.
func (j *Journal) learnBuckets(ctx context.Context, f *filter) error {
	l := &learner{j: j, filter: f}
	for _, at := range f.unlearned() {
		if err := l.learnBucket(ctx, at); err != nil {
			return err
		}
	}
	l.publish()
	return nil
}

func (l *learner) learnBucket(ctx context.Context, at bucket) error {
	for _, prefix := range bucketPrefixes {
		from := bucketKey(prefix, at)
		for from != nil {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if from, err = l.learnChunk(at, from); err != nil {
				return err
			}
		}
	}
	l.segmentFor(at)
	l.complete = append(l.complete, at)
	return nil
}

// learnChunk reads one chunk of a bucket's keys, and returns the first key of the next one, or nil at the end.
func (l *learner) learnChunk(at bucket, from []byte) (next []byte, err error) {
	st, release, err := l.j.borrowStore()
	if err != nil {
		return nil, err
	}
	defer release()
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: bucketKey(from[0], at+1)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n > chunkKeys {
			return append([]byte(nil), it.Key()...), nil
		}
		_, key, err := parseBucketKey(it.Key())
		if err != nil {
			return nil, err
		}
		l.segmentFor(at).add(&key)
	}
	return nil, it.Error()
}

// segmentFor returns a segment that has room for another key in a bucket.
func (l *learner) segmentFor(at bucket) *segment {
	if l.seg != nil && (l.seg.keys >= l.seg.capacity() || l.seg.to.hour()-at.hour() >= maxHours) {
		blocks := blocksFor(l.seg.keys)
		if l.seg.keys >= l.seg.capacity() {
			blocks = min(2*len(l.seg.blocks), maxBlocks)
		}
		l.publish()
		l.seg = newSegment(at, blocks)
	}
	if l.seg == nil {
		l.seg = newSegment(at, minBlocks)
	}
	l.seg.from = at
	return l.seg
}

func (l *learner) publish() {
	if l.seg != nil {
		l.filter.addLearned(l.seg, l.complete)
	}
	l.seg, l.complete = nil, nil
}
