package pebble

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/webhook-bridge/bridge/internal/journal"
)

const (
	// blockKeys is how many keys a block of 512 bits is meant for: 16 bits a key make one answer in 500 a false "perhaps".
	blockKeys = 32
	// Segments start at minBlocks (16 KiB, 8 thousand keys) and double up to maxBlocks (4 MiB, 2 million).
	minBlocks = 1 << 8
	maxBlocks = 1 << 16
	// maxHours bounds the hours of a segment, since Pebble is asked for each of its buckets when it says "perhaps".
	maxHours = 8
	// filterBlocks (48 MiB) and filterSegments bound the filter as a whole.
	filterBlocks   = 48 << 20 / 64
	filterSegments = 96
)

// line is one cache line of a Bloom filter. A key sets its bits in one block only.
type line [8]uint64

// segment is a Bloom filter over the keys of some consecutive buckets.
type segment struct {
	// from and to are the first and the last bucket.
	from, to bucket
	keys     int
	// blocks are a power of two, so that a segment can be folded.
	blocks []line
}

func newSegment(at bucket, blocks int) *segment {
	return &segment{from: at, to: at, blocks: make([]line, blocks)}
}

func (s *segment) capacity() int { return len(s.blocks) * blockKeys }

// blockOf returns a key's block, and the places of seven bits in it, nine bits for each. Keys are hashes already.
func (s *segment) blockOf(key *journal.Hash) (b *line, places uint64) {
	return &s.blocks[binary.LittleEndian.Uint64(key[:8])&uint64(len(s.blocks)-1)], binary.LittleEndian.Uint64(key[8:])
}

func (s *segment) add(key *journal.Hash) {
	b, places := s.blockOf(key)
	for range 7 {
		b[places>>6&7] |= 1 << (places & 63)
		places >>= 9
	}
	s.keys++
}

func (s *segment) perhaps(key *journal.Hash) bool {
	b, places := s.blockOf(key)
	for range 7 {
		if b[places>>6&7]&(1<<(places&63)) == 0 {
			return false
		}
		places >>= 9
	}
	return true
}

// fold halves the segment. It then answers "perhaps" more often, and never wrongly "no".
func (s *segment) fold() {
	half := len(s.blocks) / 2
	for i, b := range s.blocks[half:] {
		for j := range b {
			s.blocks[i][j] |= b[j]
		}
	}
	s.blocks = slices.Clone(s.blocks[:half])
}

// join adds the keys and buckets of o, which cannot be used afterwards.
func (s *segment) join(o *segment) {
	for len(s.blocks) > len(o.blocks) {
		s.fold()
	}
	for len(o.blocks) > len(s.blocks) {
		o.fold()
	}
	for i, b := range o.blocks {
		for j := range b {
			s.blocks[i][j] |= b[j]
		}
	}
	s.keys += o.keys
	s.from, s.to = min(s.from, o.from), max(s.to, o.to)
}

// filter answers in which buckets a dedupe key was perhaps seen, from memory. It holds at most 48 MiB and 96 segments:
// beyond, it folds and joins its oldest, and says "perhaps" more often. It is safe for concurrent use.
type filter struct {
	mu sync.Mutex
	// segments lie newest first. The first takes the keys of now.
	segments []*segment
	blocks   int
	// buckets are the buckets that have keys, newest first. The segments do not have the keys of the unknown ones yet: the
	// answer is "perhaps" for every key.
	buckets, unknown []bucket
	// limit bounds blocks, and largest the blocks of a new segment.
	limit, largest int
}

func newFilter(unknown []bucket) *filter {
	return &filter{buckets: slices.Clone(unknown), unknown: unknown, limit: filterBlocks, largest: maxBlocks}
}

// add adds a key in this bucket.
func (f *filter) add(at bucket, key *journal.Hash) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.buckets) == 0 || f.buckets[0] != at {
		if i, ok := slices.BinarySearchFunc(f.buckets, at, newestFirst); !ok {
			f.buckets = slices.Insert(f.buckets, i, at)
		}
	}
	s := f.liveSegment(at)
	if s == nil {
		s = newSegment(at, f.nextBlocks())
		f.insertSegment(0, s)
	}
	s.add(key)
}

func newestFirst(a, b bucket) int { return cmp.Compare(b, a) }

// liveSegment returns the first segment, if that may take another key in this bucket.
func (f *filter) liveSegment(at bucket) *segment {
	if len(f.segments) == 0 {
		return nil
	}
	s := f.segments[0]
	from, to := min(s.from, at), max(s.to, at)
	if s.keys >= s.capacity() || to.hour()-from.hour() >= maxHours {
		return nil
	}
	s.from, s.to = from, to
	return s
}

// latestBucket returns the last bucket of an hour that has keys, or its first.
func (f *filter) latestBucket(hour uint32) bucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, at := range f.buckets {
		if at.hour() == hour {
			return at
		}
	}
	return bucketAt(hour)
}

// nextBlocks is how large the next segment should be: twice as large as a full one, or as large as the last one had to be.
func (f *filter) nextBlocks() int {
	if len(f.segments) == 0 {
		return minBlocks
	}
	s := f.segments[0]
	if s.keys >= s.capacity() {
		return min(2*len(s.blocks), f.largest)
	}
	return min(blocksFor(s.keys), f.largest)
}

func blocksFor(keys int) int {
	n := uint(keys/blockKeys + 1)
	return min(max(1<<bits.Len(n-1), minBlocks), maxBlocks)
}

// insertSegment inserts a segment. It joins and folds others to keep within the bounds.
func (f *filter) insertSegment(at int, s *segment) {
	f.segments = slices.Insert(f.segments, at, s)
	f.blocks += len(s.blocks)
	for len(f.segments) > filterSegments {
		last := len(f.segments) - 1
		before := len(f.segments[last].blocks) + len(f.segments[last-1].blocks)
		f.segments[last-1].join(f.segments[last])
		f.blocks += len(f.segments[last-1].blocks) - before
		f.segments = slices.Delete(f.segments, last, last+1)
	}
	for f.blocks > f.limit && f.foldSparsest() {
	}
}

// foldSparsest folds the segment with the most room for each key, the oldest of several. It never folds the live one.
func (f *filter) foldSparsest() bool {
	var best *segment
	for _, s := range f.segments[1:] {
		if len(s.blocks) > 1 && (best == nil || s.keys*len(best.blocks) <= best.keys*len(s.blocks)) {
			best = s
		}
	}
	if best == nil {
		return false
	}
	f.blocks -= len(best.blocks) / 2
	best.fold()
	return true
}

// findBuckets appends to found the buckets at from and later, newest first, in which the key was perhaps seen.
func (f *filter) findBuckets(found []bucket, from bucket, key *journal.Hash) []bucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.segments {
		if s.to >= from && s.perhaps(key) {
			found = appendBetween(found, f.buckets, max(s.from, from), s.to)
		}
	}
	if len(f.unknown) > 0 {
		found = appendBetween(found, f.unknown, from, math.MaxUint64)
	}
	if len(found) < 2 {
		return found
	}
	slices.SortFunc(found, newestFirst)
	return slices.Compact(found)
}

// appendBetween appends the buckets of all that lie between from and to, both inclusive.
func appendBetween(found, all []bucket, from, to bucket) []bucket {
	for _, at := range all {
		if at >= from && at <= to {
			found = append(found, at)
		}
	}
	return found
}

// addLearned adds a segment that was read from disk. The buckets in complete are then known.
func (f *filter) addLearned(s *segment, complete []bucket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unknown = slices.DeleteFunc(f.unknown, func(at bucket) bool { return slices.Contains(complete, at) })
	at := len(f.segments)
	for at > 1 && f.segments[at-1].to < s.to {
		at--
	}
	if at == 0 {
		// There is no live segment yet, and a full one must not become it.
		f.insertSegment(0, newSegment(s.to, minBlocks))
		at = 1
	}
	f.insertSegment(at, s)
}

// dropBuckets drops all buckets before one, and the buckets in gone. It drops the segments that have no bucket left.
func (f *filter) dropBuckets(before bucket, gone []bucket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := func(at bucket) bool { return at < before || slices.Contains(gone, at) }
	f.buckets, f.unknown = slices.DeleteFunc(f.buckets, old), slices.DeleteFunc(f.unknown, old)
	f.segments = slices.DeleteFunc(f.segments, func(s *segment) bool {
		if slices.ContainsFunc(f.buckets, func(at bucket) bool { return at >= s.from && at <= s.to }) {
			return false
		}
		f.blocks -= len(s.blocks)
		return true
	})
}

// bucketsAfter returns the buckets that are newer than one.
func (f *filter) bucketsAfter(at bucket) []bucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	return appendBetween(nil, f.buckets, at+1, math.MaxUint64)
}

// unlearned returns the buckets whose keys are still to be read from disk, newest first.
func (f *filter) unlearned() []bucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.unknown)
}

// FilterStats describes the filter of dedupe keys.
type FilterStats struct {
	// Keys is how many keys it has, and Bytes their memory.
	Keys, Bytes int
	// Unread is how many buckets of keys on disk it has not read yet. Until it is 0, appends are slower.
	Unread int
}

func (f *filter) stats() FilterStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := FilterStats{Bytes: f.blocks * 64, Unread: len(f.unknown)}
	for _, seg := range f.segments {
		s.Keys += seg.keys
	}
	return s
}
