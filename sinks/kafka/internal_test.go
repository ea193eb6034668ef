package kafka

import (
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
)

// The hashes are the expected values of murmur2 in Apache Kafka's own UtilsTest.
func TestPartitionIsJavas(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		for _, count := range []int{1, 6, 1009} {
			partitions := make([]int, count)
			for i := range partitions {
				partitions[i] = i
			}
			if got, want := partition([]byte(key), partitions), int(hash&0x7fffffff)%count; got != want {
				t.Errorf("%q of %d partitions: %d, want %d", key, count, got, want)
			}
		}
	}
}

// TestHistoryCommits has what settle decides about the rest of a transaction: never one that loses an event.
func TestHistoryCommits(t *testing.T) {
	at := topicPartition{"orders", 3}
	h := history{settled: true}
	h.begin([]topicPartition{at})
	h.written[at] = 100
	h.committed()
	h.begin([]topicPartition{at})
	h.written[at] = 120 // Open.
	for _, c := range []struct {
		what    string
		outcome outcome
		settled bool
		from    int64
		commit  bool
	}{
		{"the latest was committed", committed, true, 100, true},
		{"the latest was aborted", aborted, true, 100, false},
		{"the latest was aborted, and one before it has a rest", aborted, true, 90, true},
		{"the one that was aborted may be another process's", aborted, false, 100, true},
		{"nothing is known", unknown, true, 100, true},
	} {
		h.outcome, h.settled = c.outcome, c.settled
		if got := h.commits(at, c.from); got != c.commit {
			t.Errorf("%s: commit %t, want %t", c.what, got, c.commit)
		}
	}
}

// TestPlace has the forms of a place, and their order: a move comes after all positions before it.
func TestPlace(t *testing.T) {
	at := func(moves uint64, p sinks.Position) place {
		return place{moves, sinks.Mark{Epoch: 1<<63 + 5, Position: p}}
	}
	p := at(3, 1<<63+7)
	if got, ok := parsePlace(p.append(nil)); !ok || got != p {
		t.Errorf("%s is read as %+v, %v", p.append(nil), got, ok)
	}
	for _, text := range []string{"", "3", "3-8", "3-8-", "-8-1", "x-8-1", "3-8-1x"} {
		if got, ok := parsePlace([]byte(text)); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
	for _, ascending := range [][2]place{{at(0, 1), at(0, 2)}, {at(0, 9), at(1, 2)}} {
		if !ascending[1].isAfter(ascending[0]) || ascending[0].isAfter(ascending[1]) {
			t.Errorf("%+v is not after %+v", ascending[1], ascending[0])
		}
	}
	for metadata, moves := range map[string]uint64{"log=a-b epoch=8000000000000005": 0, "log=a-b epoch=8000000000000005 moves=4": 4} {
		log, got, ok := parsePosition(storedOffset{position: 12, metadata: metadata})
		if want := at(moves, 12); log != "a-b" || got != want || !ok {
			t.Errorf("%q: %s %+v, %v; want %+v", metadata, log, got, ok, want)
		}
	}
	if _, _, ok := parsePosition(storedOffset{position: 12, metadata: "of a tool"}); ok {
		t.Error("a tool's offset is a position")
	}
}
