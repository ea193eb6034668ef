package secret

import (
	"testing"
	"time"
)

// TestBecome: a value and its copies follow their successors, however many there are, and so does what is derived from them.
func TestBecome(t *testing.T) {
	first := At("sinks[0].kafka.sasl.password", "old", true)
	held := first
	digests := NewDigests([]Value{held})
	first.Use(time.Unix(100, 0))

	same := At("sinks[1].kafka.sasl.password", "old", true)
	first.Become(same)
	if got := same.LastUsed(); got != time.Unix(100, 0) {
		t.Errorf("a successor with the same text was used at %v", got)
	}
	if held.Place() != "sinks[1].kafka.sasl.password" {
		t.Errorf("the place is %s", held.Place())
	}
	last := same
	for range 1000 {
		next := At("sinks[1].kafka.sasl.password", "new", true)
		last.Become(next)
		last = next
	}
	if held.Reveal() != "new" || !held.LastUsed().IsZero() {
		t.Errorf("after 1000 successors: text %q, used %v", held.Reveal(), held.LastUsed())
	}
	if digests.Match("old", time.Now()) || !digests.Match("new", time.Unix(200, 0)) {
		t.Error("the digests are not those of the last successor")
	}
	if last.LastUsed() != time.Unix(200, 0) {
		t.Errorf("a use of the held value is not one of its successor: %v", last.LastUsed())
	}
	if held.cell.next.Load() != last.cell {
		t.Error("the chain was not shortened")
	}
	last.Become(held) // itself
	held.Replace("newest")
	if last.Reveal() != "newest" {
		t.Errorf("the successor has the text %q", last.Reveal())
	}
}
