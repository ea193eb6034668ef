package pebble

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestWindow follows one key through time, with the filter as it was built and as it was read from disk.
func TestWindow(t *testing.T) {
	const again, dup, rev = "again", "duplicate", "revised"
	steps := []struct {
		after  time.Duration
		window time.Duration
		bytes  string
		want   string
	}{
		{0, 10 * time.Second, "a", again},
		{0, 10 * time.Second, "a", dup},
		{10*time.Second - 1, 10 * time.Second, "a", dup}, // a duplicate does not prolong the window
		{1, 10 * time.Second, "a", again},
		{9 * time.Second, 10 * time.Second, "b", rev},
		{time.Second, 10 * time.Second, "b", dup},
		{0, 10 * time.Second, "a", rev}, // each content has a window of its own
		{59 * time.Minute, 96 * time.Hour, "b", dup},
		{96*time.Hour - 59*time.Minute - time.Second - 1, 96 * time.Hour, "b", dup},
		{1, 96 * time.Hour, "c", rev},
		{time.Second, 96 * time.Hour, "a", rev},
		{-50 * time.Hour, 96 * time.Hour, "a", dup}, // the clock was put back: all counts as committed now
		{time.Hour, 96 * time.Hour, "c", dup},
		{95*time.Hour - 1, 96 * time.Hour, "c", dup},
		{1, 96 * time.Hour, "c", again},
		{-30 * time.Minute, time.Hour, "c", dup}, // put back by less than the window
		{time.Hour, time.Hour, "c", again},
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
				e.Keys[0].Hash, e.Bytes, e.Meaning, e.Keys[0].Window = hash("key"), hash(s.bytes), hash(s.bytes), s.window
				r, err := j.Append(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				got := again
				switch {
				case r.Duplicate:
					got = dup
				case r.Revised:
					got = rev
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
					if err := j.learnBuckets(t.Context(), j.filter); err != nil {
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
	buckets, err := storedBuckets(j.store.db)
	if err != nil {
		t.Fatal(err)
	}
	// The hour that the age ends in is kept whole, and the hour since the last pass is not believed yet.
	diff(t, "buckets", len(buckets), 101)
	diff(t, "newest", buckets[0], bucketAt(hourOf(c.Now())-1))
	if f := j.Stats().Filter; f.Keys < 100 || f.Keys > 100+2*maxHours {
		t.Errorf("filter %+v", f)
	}
}

func TestFilter(t *testing.T) {
	f := newFilter(nil)
	const hours, perHour = 200, 2000
	at := func(h int) bucket { return bucketAt(uint32(h/4)) + bucket(h%4) }
	key := func(h, i int) *journal.Hash {
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
		found := f.findBuckets(nil, at(1), key(h, 0))
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
			if len(f.findBuckets(nil, at(1), key(h, -1-i))) > 0 {
				wrong++
			}
		}
	}
	if s := f.stats(); s.Keys != hours*perHour || s.Bytes > 2<<20 {
		t.Errorf("stats %+v", s)
	}
	// 25 segments and more. Each is wrong once in 200 when full.
	if rate := float64(wrong) / float64(asked); rate > 0.15 {
		t.Errorf("%.3f of the answers are wrong", rate)
	}
	f.dropBuckets(at(hours-10), nil)
	diff(t, "buckets left", f.buckets[len(f.buckets)-1], at(hours-10))
	if got := f.findBuckets(nil, at(1), key(5, 0)); len(got) > 11 {
		t.Errorf("buckets %v after forgetting", got)
	}
}

// TestFilterIsBounded adds eight times more keys to a small filter than it is meant for.
func TestFilterIsBounded(t *testing.T) {
	f := newFilter(nil)
	f.limit, f.largest = filterBlocks/128, maxBlocks/128
	const hours = 2 * filterSegments * maxHours
	keys := 8 * f.limit * blockKeys
	var k journal.Hash
	fill := func(i int) *journal.Hash {
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
		for _, h := range f.findBuckets(nil, 0, fill(i)) {
			ok = ok || h == hour(i)
		}
		if !ok {
			t.Fatalf("key %d was forgotten", i)
		}
	}
}

// TestArrayRace: an array of two contents under one key races with a single one of them. No content is added twice.
func TestArrayRace(t *testing.T) {
	runs := 5000
	if testing.Short() {
		runs = 300
	}
	j := open(t, testConfig(vfs.NewMem()))
	for run := range runs {
		part := func(content int) journal.Entry {
			e := entry(4*run+content, 10, 1)
			e.Keys = []journal.Key{{Hash: hash("shared", run), Window: time.Hour}}
			e.Bytes, e.Meaning = hash("bytes", run, content), hash("meaning", run, content)
			return e
		}
		single := part(run % 2)
		single.Webhook.Id = webhookID(4*run + 2)
		var array []journal.Receipt
		var alone journal.Receipt
		var wg sync.WaitGroup
		wg.Go(func() {
			var err error
			if array, err = j.AppendAll(t.Context(), []journal.Entry{part(0), part(1)}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			var err error
			if alone, err = j.Append(t.Context(), single); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if alone.Duplicate == array[run%2].Duplicate || array[1-run%2].Duplicate {
			t.Fatalf("run %d: array %+v, alone %+v", run, array, alone)
		}
	}
	diff(t, "events", j.Bounds().Next, sinks.Position(2*runs+1))
}

// TestContentsUnderOneKey follows the contents under two keys on disk, across starts.
func TestContentsUnderOneKey(t *testing.T) {
	fs := vfs.NewMem()
	natural := journal.Key{Hash: hash("natural"), Window: 96 * time.Hour}
	delivery := func(n int) journal.Key { return journal.Key{Hash: hash("delivery", n), Window: 96 * time.Hour} }
	i := 0
	send := func(j *Journal, bytes, meaning string, keys ...journal.Key) journal.Receipt {
		t.Helper()
		i++
		e := entry(i, 10, 1)
		e.Keys, e.Bytes, e.Meaning = keys, hash(bytes), hash(meaning)
		r := appendAll(t, j, e)[0]
		r.First = 0
		return r
	}
	j := open(t, testConfig(fs))
	for _, step := range []struct {
		what string
		got  func() journal.Receipt
		want journal.Receipt
	}{
		{"first", func() journal.Receipt { return send(j, "a", "A", natural, delivery(1)) }, journal.Receipt{}},
		{"another delivery", func() journal.Receipt { return send(j, "a", "A", natural, delivery(2)) }, journal.Receipt{Duplicate: true}},
		{"known by its delivery alone", func() journal.Receipt { return send(j, "a", "A", delivery(2)) }, journal.Receipt{Duplicate: true}},
		{"same meaning", func() journal.Receipt { return send(j, "a2", "A", natural, delivery(3)) }, journal.Receipt{Duplicate: true, Kept: true}},
		{"these bytes again", func() journal.Receipt { return send(j, "a2", "A", natural, delivery(4)) }, journal.Receipt{Duplicate: true}},
		{"a revision", func() journal.Receipt { return send(j, "b", "B", natural) }, journal.Receipt{Revised: true}},
		{"the first again", func() journal.Receipt { return send(j, "a", "A", natural) }, journal.Receipt{Duplicate: true}},
		{"the revision again", func() journal.Receipt { return send(j, "b", "B", natural) }, journal.Receipt{Duplicate: true}},
	} {
		diff(t, step.what, step.got(), step.want)
		shut(t, j)
		j = open(t, testConfig(fs))
	}
	diff(t, "events", j.Bounds().Next, sinks.Position(3))
	var kept []string
	for _, w := range allWebhooks(t, j) {
		if w.GetDuplicate() {
			kept = append(kept, w.GetId())
		}
	}
	diff(t, "kept beside the first", kept, webhookIDs(4))
}
