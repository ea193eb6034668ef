package journal

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
// owns hours. Pebble is asked for the hours that the filter names, the newest first: an older record under the same key
// counts no more once there is a newer one.
func (s *store) lookup(p *pending, now time.Time) (verdict, error) {
	from, to := hourOf(now.Add(-p.window)), hourOf(now.Add(time.Hour))
	s.hours = s.filter.hours(s.hours[:0], from, to, &p.key)
	for _, hour := range s.hours {
		s.key = appendDedupeKey(s.key[:0], hour, p.key)
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

// dedupeHours returns the hours that have keys on disk, newest first, by one seek an hour.
func dedupeHours(db *pebble.DB) (hours []uint32, err error) {
	lower, upper := span(prefixDedupe)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok; {
		hour, _, err := parseDedupeKey(it.Key())
		if err != nil {
			return nil, err
		}
		hours = append(hours, hour)
		ok = it.SeekLT(dedupeHourKey(hour))
	}
	return hours, it.Error()
}

// learnChunk is how many keys are read from disk at once. Closing the store waits for at most one chunk.
const learnChunk = 1 << 15

// learner fills the filter with the keys on disk, the newest hours first.
type learner struct {
	j      *Journal
	filter *filter
	seg    *segment
	// complete are the hours that end in seg.
	complete []uint32
}

// learn runs until the filter knows all hours, or until ctx is done.
func (j *Journal) learn(ctx context.Context, f *filter) error {
	l := &learner{j: j, filter: f}
	for _, hour := range f.pending() {
		if err := l.hour(ctx, hour); err != nil {
			return err
		}
	}
	l.publish()
	return nil
}

func (l *learner) hour(ctx context.Context, hour uint32) error {
	from := dedupeHourKey(hour)
	for from != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if from, err = l.chunk(hour, from); err != nil {
			return err
		}
	}
	l.extend(hour)
	l.complete = append(l.complete, hour)
	return nil
}

// chunk reads one chunk of an hour's keys and returns where the next one starts, nil at the end.
func (l *learner) chunk(hour uint32, from []byte) (next []byte, err error) {
	st, release, err := l.j.use()
	if err != nil {
		return nil, err
	}
	defer release()
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: dedupeHourKey(hour + 1)})
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
		l.extend(hour).add(&key)
	}
	return nil, it.Error()
}

// extend returns a segment that may take another key of an hour.
func (l *learner) extend(hour uint32) *segment {
	if l.seg != nil && (l.seg.keys >= l.seg.capacity() || l.seg.to-hour >= maxHours) {
		blocks := blocksFor(l.seg.keys)
		if l.seg.keys >= l.seg.capacity() {
			blocks = min(2*len(l.seg.blocks), maxBlocks)
		}
		l.publish()
		l.seg = newSegment(hour, blocks)
	}
	if l.seg == nil {
		l.seg = newSegment(hour, minBlocks)
	}
	l.seg.from = hour
	return l.seg
}

func (l *learner) publish() {
	if l.seg != nil {
		l.filter.learn(l.seg, l.complete)
	}
	l.seg, l.complete = nil, nil
}
