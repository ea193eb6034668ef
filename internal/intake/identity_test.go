package intake

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// TestElementIDs: they are right behind the array's own, in the array's order.
func TestElementIDs(t *testing.T) {
	array := journal.IDAt(time.Now())
	last := array
	for n := 1; n <= MaxElements; n++ {
		id := elementID(uuid.MustParse(array), n)
		if id.String() <= last || id.Version() != 7 || id.Variant() != 1 {
			t.Fatalf("element %d: %s after %s", n, id, last)
		}
		last = id.String()
	}
}
