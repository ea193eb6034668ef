package intake

import (
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// TestElementIDs: they are right behind the array's own, in the array's order.
func TestElementIDs(t *testing.T) {
	array := journal.IDAt(time.Now())
	last := array
	for n := 1; n <= MaxElements; n++ {
		id, err := elementID(array, n)
		if err != nil || id.String() <= last || id.Version() != 7 || id.Variant() != 1 {
			t.Fatalf("element %d: %s after %s, %v", n, id, last, err)
		}
		last = id.String()
	}
	if _, err := elementID("none", 1); err == nil {
		t.Error("an array without an id has elements")
	}
}
