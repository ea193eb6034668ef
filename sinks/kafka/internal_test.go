package kafka

import "testing"

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
