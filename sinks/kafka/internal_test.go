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
