package pebble

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/commit"
)

// TestHotKey: under a key with many contents in every hour, a look-up reads the newest full record, and finds the contents
// that are kept: also across a start, and when the clock was put back.
func TestHotKey(t *testing.T) {
	j, c, cfg := clocked(t, vfs.NewMem())
	key := journal.Key{Hash: hash("hot"), Window: 96 * time.Hour}
	const atOnce = 64 // of these any may be dropped first: they are equally old
	const newest = commit.MaxContents - atOnce
	n := 0
	send := func(count int) {
		t.Helper()
		for count > 0 {
			var all []journal.Entry
			for range min(count, atOnce) {
				n++
				e := entry(n, 10, 0)
				e.Keys = []journal.Key{key}
				all = append(all, e)
			}
			count -= len(all)
			appendAll(t, j, all...)
			c.Advance(time.Millisecond)
		}
	}
	look := func(step string, count, most int) {
		t.Helper()
		k := newKnown(j.store)
		k.Now = c.Now()
		if err := k.loadContents(&key); err != nil {
			t.Fatal(err)
		}
		known := make(map[journal.Hash]bool)
		for _, s := range k.Contents[key.Hash] {
			known[s.Bytes] = true
		}
		for i := n - count + 1; i <= n; i++ {
			if !known[hash("bytes", i)] {
				t.Errorf("%s: content %d of %d is not known", step, i, n)
				break
			}
		}
		if k.reads > most || len(k.Contents[key.Hash]) > 3*commit.MaxContents {
			t.Errorf("%s: %d records read, %d contents", step, k.reads, len(k.Contents[key.Hash]))
		}
	}
	for range 10 {
		send(commit.MaxContents)
		c.Advance(time.Hour)
	}
	look("many hours", newest, 1)
	shut(t, j)
	j = open(t, cfg)
	look("another start", newest, 1)
	send(1)
	look("and one more", newest, 1)
	// What was recorded before counts as no older than the next content.
	c.Advance(-5 * time.Hour)
	send(1)
	send(10)
	look("the clock was put back", 10, 7)
	c.Advance(2 * time.Hour)
	send(1)
	look("and goes on", 11, 7)
}
