package pebble

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestDuplicatesAtOnce(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	const n = 32
	receipts := make([]Receipt, n)
	var wg sync.WaitGroup
	for round := range 10 {
		for i := range n {
			wg.Go(func() {
				var err error
				if receipts[i], err = j.Append(t.Context(), entry(round, 10, 1)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		added := 0
		for _, r := range receipts {
			if !r.Duplicate {
				added++
				diff(t, "position", r.First, Position(round+1))
			}
		}
		diff(t, "added", added, 1)
	}
	diff(t, "events", len(readAll(t, j)), 10)
}

// TestRevisedAtOnce: two bodies under one key at the same instant, one of which must go elsewhere.
func TestRevisedAtOnce(t *testing.T) {
	j := open(t, testConfig(vfs.NewMem()))
	for round := range 20 {
		var errs [2]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				e := entry(2*round+i, 10, 1)
				e.Keys[0].Hash = hash("shared", round)
				_, errs[i] = j.Append(t.Context(), e)
			})
		}
		wg.Wait()
		if err := errors.Join(errs[:]...); !errors.Is(err, ErrRevised) || errs[0] != nil && errs[1] != nil {
			t.Errorf("got %v", errs)
		}
	}
	diff(t, "events", len(readAll(t, j)), 20)
}

// TestWindow follows one key through time, with the filter as it was built and as it was read from disk.
func TestWindow(t *testing.T) {
	const again, dup, rev = "again", "duplicate", "revised"
	steps := []struct {
		after  time.Duration
		window time.Duration
		body   string
		want   string
	}{
		{0, 10 * time.Second, "a", again},
		{0, 10 * time.Second, "a", dup},
		{10*time.Second - 1, 10 * time.Second, "a", dup}, // a duplicate does not prolong the window
		{1, 10 * time.Second, "a", again},
		{9 * time.Second, 10 * time.Second, "b", rev},
		{time.Second, 10 * time.Second, "b", again},
		{59 * time.Minute, 96 * time.Hour, "b", dup},
		{96*time.Hour - 59*time.Minute - 1, 96 * time.Hour, "b", dup},
		{0, 96 * time.Hour, "c", rev},
		{1, 96 * time.Hour, "c", again},
		{95 * time.Hour, 96 * time.Hour, "b", rev},   // the newest under the key counts
		{-190 * time.Hour, 96 * time.Hour, "b", dup}, // the clock was put back: what lies far ahead does not count
		{30 * time.Minute, time.Hour, "b", again},
		{-time.Hour + 1, time.Hour, "b", dup}, // put back by less than the window
	}
	for _, mode := range []string{"running", "restarted", "restarted, filter read"} {
		t.Run(mode, func(t *testing.T) {
			c := newClock()
			cfg := testConfig(vfs.NewMem())
			cfg.Now = c.Now
			j := open(t, cfg)
			for i, s := range steps {
				c.Advance(s.after)
				e := entry(i, 10, 1)
				e.Keys[0].Hash, e.Bytes, e.Keys[0].Window = hash("key"), hash(s.body), s.window
				r, err := j.Append(t.Context(), e)
				got := again
				if r.Duplicate {
					got = dup
				}
				if errors.Is(err, ErrRevised) {
					got = rev
				} else if err != nil {
					t.Fatal(err)
				}
				if got != s.want {
					t.Errorf("step %d: %s, want %s", i, got, s.want)
				}
				if mode == "running" {
					continue
				}
				shut(t, j)
				j = open(t, cfg)
				if mode == "restarted, filter read" {
					if err := j.learn(t.Context(), j.filter); err != nil {
						t.Fatal(err)
					}
					diff(t, "unread", j.Stats().Filter.Unread, 0)
				}
			}
		})
	}
}

func TestDedupeKeysExpire(t *testing.T) {
	c := newClock()
	cfg := testConfig(vfs.NewMem())
	cfg.Now = c.Now
	cfg.DedupeAge = 100 * time.Hour
	j := open(t, cfg)
	for i := range 200 {
		appendAll(t, j, entry(i, 10, 0))
		c.Advance(time.Hour)
		if err := j.retain(); err != nil {
			t.Fatal(err)
		}
	}
	buckets, err := dedupeBuckets(j.store.db)
	if err != nil {
		t.Fatal(err)
	}
	// The hour that the age ends in is kept whole.
	diff(t, "buckets", len(buckets), 100)
	diff(t, "newest", buckets[0], bucketAt(hourOf(c.Now())-1))
	if f := j.Stats().Filter; f.Keys < 100 || f.Keys > 100+2*maxHours {
		t.Errorf("filter %+v", f)
	}
}

func TestFilter(t *testing.T) {
	f := newFilter(nil)
	const hours, perHour = 200, 2000
	at := func(h int) bucket { return bucketAt(uint32(h/4)) + bucket(h%4) }
	key := func(h, i int) *Hash {
		k := hash(h, i)
		return &k
	}
	for h := 1; h <= hours; h++ {
		for i := range perHour {
			f.add(at(h), key(h, i))
		}
	}
	wrong, asked := 0, 0
	for h := 1; h <= hours; h++ {
		found := f.find(nil, at(1), at(hours), key(h, 0))
		ok := false
		for i, b := range found {
			ok = ok || b == at(h)
			if i > 0 && found[i-1] <= b {
				t.Fatalf("buckets %v are not newest first", found)
			}
		}
		if !ok {
			t.Fatalf("bucket %d is not among %v", at(h), found)
		}
		for i := range 50 {
			asked++
			if len(f.find(nil, at(1), at(hours), key(h, -1-i))) > 0 {
				wrong++
			}
		}
	}
	if s := f.stats(); s.Keys != hours*perHour || s.Bytes > 2<<20 {
		t.Errorf("stats %+v", s)
	}
	// 25 segments and more, of which each is wrong once in 200 when full.
	if rate := float64(wrong) / float64(asked); rate > 0.15 {
		t.Errorf("%.3f of the answers are wrong", rate)
	}
	f.forget(at(hours - 10))
	diff(t, "buckets left", f.buckets[len(f.buckets)-1], at(hours-10))
	if got := f.find(nil, at(1), at(hours), key(5, 0)); len(got) > 11 {
		t.Errorf("buckets %v after forgetting", got)
	}
}

// TestFilterIsBounded fills a small filter with eight times what it is meant for.
func TestFilterIsBounded(t *testing.T) {
	f := newFilter(nil)
	f.limit, f.largest = filterBlocks/128, maxBlocks/128
	const hours = 2 * filterSegments * maxHours
	keys := 8 * f.limit * blockKeys
	var k Hash
	fill := func(i int) *Hash {
		for b := range 8 {
			x := uint64(i+1) * 0x9e3779b97f4a7c15
			x ^= x >> 29
			k[b], k[8+b] = byte(x>>(8*b)), byte((x*0xbf58476d1ce4e5b9)>>(8*b))
		}
		return &k
	}
	hour := func(i int) bucket { return bucketAt(uint32(i*hours/keys + 1)) }
	for i := range keys {
		f.add(hour(i), fill(i))
		if i%1000 == 0 && (f.blocks > f.limit || len(f.segments) > filterSegments) {
			t.Fatalf("%d blocks in %d segments", f.blocks, len(f.segments))
		}
	}
	held := 0
	for _, s := range f.segments {
		held += len(s.blocks)
	}
	diff(t, "blocks", f.blocks, held)
	for i := 0; i < keys; i += 999 {
		ok := false
		for _, h := range f.find(nil, 0, bucketAt(hours+1), fill(i)) {
			ok = ok || h == hour(i)
		}
		if !ok {
			t.Fatalf("key %d was forgotten", i)
		}
	}
}
