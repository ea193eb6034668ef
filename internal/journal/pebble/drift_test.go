package pebble

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

const (
	unknown  = journalv1.DriftKind_DRIFT_KIND_UNKNOWN
	mistyped = journalv1.DriftKind_DRIFT_KIND_TYPE
)

func drift(t *testing.T, j *Journal) []*journalv1.DriftCount {
	t.Helper()
	all, err := j.Drift(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// driftOf is a count whose first and last webhooks are the i-th and the k-th.
func driftOf(kind journalv1.DriftKind, path string, n, i, k int) *journalv1.DriftCount {
	first, last := entry(i, 0, 0).Webhook, entry(k, 0, 0).Webhook
	return &journalv1.DriftCount{
		Connector: "kasafik", VendorEvent: "orders", Kind: kind, Path: path, Count: uint64(n),
		FirstAt: first.GetReceivedAt(), LastAt: last.GetReceivedAt(), Sample: []byte(first.GetId()),
		FirstWebhookId: first.GetId(), LastWebhookId: last.GetId(),
	}
}

func TestDrift(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	diff(t, "none", drift(t, j), []*journalv1.DriftCount(nil))
	other := drifted(entry(5, 10, 1), unknown, "$.new")
	other.Webhook.Connector = "acme"
	acme := driftOf(unknown, "$.new", 1, 5, 5)
	acme.Connector = "acme"
	appendAll(t, j,
		entry(1, 10, 1),
		drifted(drifted(entry(2, 10, 1), unknown, "$.new"), mistyped, "$.new"),
		drifted(quarantined(3), unknown, "$.new"),
		drifted(entry(4, 10, 0), unknown, "$.a"),
		other,
		drifted(entry(2, 10, 1), unknown, "$.new"), // a duplicate
	)
	want := []*journalv1.DriftCount{
		acme, driftOf(unknown, "$.a", 1, 4, 4), driftOf(unknown, "$.new", 2, 2, 3), driftOf(mistyped, "$.new", 1, 2, 2),
	}
	for range 2 {
		diff(t, "drift", drift(t, j), want)
		shut(t, j)
		j = open(t, testConfig(fs))
	}
	_, err := j.AppendAll(t.Context(), []journal.Entry{drifted(entry(6, 10, 1), unknown, "$.new"), released(77, 1)})
	wantErr(t, "refused", err, journal.ErrNotFound)
	// Later operations on a webhook do not count its drift again.
	appendAll(t, j, drifted(released(3, 1), unknown, "$.new"), drifted(entry(7, 10, 1), unknown, "$.b"))
	want = []*journalv1.DriftCount{want[0], want[1], driftOf(unknown, "$.b", 1, 7, 7), want[2], want[3]}
	diff(t, "later", drift(t, j), want)
	appendAll(t, j, drifted(entry(8, 10, 1), mistyped, "$.new"))
	want[4] = driftOf(mistyped, "$.new", 2, 2, 8)
	diff(t, "counted on after a start", drift(t, j), want)
	// The webhooks of an array have the array's time of receipt, which is before later ones. The array counts once, for any
	// number of webhooks.
	old := drifted(drifted(entry(0, 10, 1), mistyped, "$.new"), mistyped, "$.new")
	appendAll(t, j, old)
	want[4].Count = 3
	diff(t, "seen before", drift(t, j), want)
}

// TestDriftIsBounded: a connector has at most 500 records of drift, and one for each kind for all others.
func TestDriftIsBounded(t *testing.T) {
	fs := vfs.NewMem()
	j := open(t, testConfig(fs))
	long := entry(0, 10, 0)
	long.Webhook.VendorEvent = strings.Repeat("x", 300)
	appendAll(t, j, drifted(long, unknown, "$.a"))
	const webhooks, each = 60, 10
	for i := 1; i <= webhooks; i++ {
		e := entry(i, 10, 1)
		for k := range each {
			drifted(e, unknown, fmt.Sprintf("$.field%d", i*each+k))
		}
		if i > 55 {
			drifted(e, mistyped, "$."+strings.Repeat("y", 300))
		}
		appendAll(t, j, e)
		if i == 52 { // the bound holds across a start
			shut(t, j)
			j = open(t, testConfig(fs))
		}
	}
	elsewhere := drifted(entry(99, 10, 0), unknown, "$.a")
	elsewhere.Webhook.Connector = "acme"
	appendAll(t, j, elsewhere)
	var rest []*journalv1.DriftCount
	told := make(map[string]int)
	for _, c := range drift(t, j) {
		if c.GetPath() == "" {
			rest = append(rest, c)
			continue
		}
		told[c.GetConnector()]++
		diff(t, "count", c.GetCount(), uint64(1))
	}
	diff(t, "told apart", told, map[string]int{"acme": 1, "kasafik": 500})
	want := []*journalv1.DriftCount{driftOf(unknown, "", 11, 0, 60), driftOf(mistyped, "", 5, 56, 60)}
	for _, w := range want {
		w.VendorEvent, w.Sample = "", nil
	}
	diff(t, "the rest", rest, want)
}
