package pebble

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// verdict says what an entry's key makes of it.
type verdict int

const (
	fresh verdict = iota
	duplicate
	revised
)

func judge(was, is Hash) verdict {
	if was == is {
		return duplicate
	}
	return revised
}

// lookup finds out what was committed under an entry's key within its window. It is called by the committer alone, which
// owns found. Pebble is asked for the buckets that the filter names, the newest first: an older record under the same key
// counts no more once there is a newer one.
func (s *store) lookup(p *pending, now time.Time) (verdict, error) {
	from, to := bucketAt(hourOf(now.Add(-p.window))), bucketAt(hourOf(now.Add(time.Hour))+1)
	s.found = s.filter.find(s.found[:0], from, to-1, &p.key)
	for _, at := range s.found {
		s.key = appendDedupeKey(s.key[:0], at, p.key)
		v, closer, err := s.db.Get(s.key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return fresh, err
		}
		at, body, err := parseDedupeValue(v)
		err = errors.Join(err, closer.Close())
		if err != nil {
			return fresh, err
		}
		// The clock may have been put back since, hence the absolute.
		if now.Sub(at).Abs() >= p.window {
			return fresh, nil
		}
		return judge(body, p.body), nil
	}
	return fresh, nil
}

// turn chooses the bucket for the next keys.
func (s *store) turn(now time.Time) {
	if hour := hourOf(now); s.bucket.hour() != hour {
		s.bucket, s.bucketKeys = s.filter.latest(hour), 0
	}
	if s.bucketKeys >= bucketKeys {
		s.bucket, s.bucketKeys = s.bucket.next(), 0
	}
}

// dedupeBuckets returns the buckets that have keys on disk, newest first, by one seek a bucket.
func dedupeBuckets(db *pebble.DB) (all []bucket, err error) {
	lower, upper := span(prefixDedupe)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok; {
		at, _, err := parseDedupeKey(it.Key())
		if err != nil {
			return nil, err
		}
		all = append(all, at)
		ok = it.SeekLT(bucketKey(at))
	}
	return all, it.Error()
}

// learnChunk is how many keys are read from disk at once. Closing the store waits for at most one chunk.
const learnChunk = 1 << 15

// learner fills the filter with the keys on disk, the newest first.
type learner struct {
	j      *Journal
	filter *filter
	seg    *segment
	// complete are the buckets that end in seg.
	complete []bucket
}

// learn runs until the filter knows all buckets, or until ctx is done.
func (j *Journal) learn(ctx context.Context, f *filter) error {
	l := &learner{j: j, filter: f}
	for _, at := range f.pending() {
		if err := l.bucket(ctx, at); err != nil {
			return err
		}
	}
	l.publish()
	return nil
}

func (l *learner) bucket(ctx context.Context, at bucket) error {
	from := bucketKey(at)
	for from != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if from, err = l.chunk(at, from); err != nil {
			return err
		}
	}
	l.extend(at)
	l.complete = append(l.complete, at)
	return nil
}

// chunk reads one chunk of a bucket's keys and returns where the next one starts, nil at the end.
func (l *learner) chunk(at bucket, from []byte) (next []byte, err error) {
	st, release, err := l.j.use()
	if err != nil {
		return nil, err
	}
	defer release()
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: bucketKey(at + 1)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n > learnChunk {
			return append([]byte(nil), it.Key()...), nil
		}
		_, key, err := parseDedupeKey(it.Key())
		if err != nil {
			return nil, err
		}
		l.extend(at).add(&key)
	}
	return nil, it.Error()
}

// extend returns a segment that may take another key in a bucket.
func (l *learner) extend(at bucket) *segment {
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
		l.filter.learn(l.seg, l.complete)
	}
	l.seg, l.complete = nil, nil
}
