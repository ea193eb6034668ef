package simulate

import (
	"math/bits"
	"time"
)

// latency counts durations in buckets with a width of about three percent.
type latency struct {
	buckets [64 << 5]int64
	count   int64
	max     time.Duration
}

func (l *latency) add(d time.Duration) {
	l.buckets[bucket(d)]++
	l.count++
	l.max = max(l.max, d)
}

// bucket returns the index of a duration: its exponent, and the five bits after the first.
func bucket(d time.Duration) int {
	n := uint64(max(d, 1))
	exponent := bits.Len64(n) - 1
	if exponent < 5 {
		return int(n)
	}
	return exponent<<5 | int(n>>(exponent-5))&31
}

// bound returns the longest duration of a bucket.
func bound(bucket int) time.Duration {
	exponent := bucket >> 5
	if exponent < 5 {
		return time.Duration(bucket)
	}
	return time.Duration((uint64(bucket&31|32)+1)<<(exponent-5) - 1)
}

// quantile returns a duration that the fraction q of all durations does not exceed.
func (l *latency) quantile(q float64) time.Duration {
	left := int64(float64(l.count) * q)
	for i, n := range &l.buckets {
		if left -= n; left < 0 {
			return min(bound(i), l.max)
		}
	}
	return l.max
}
