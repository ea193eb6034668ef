package sinktest

import (
	"fmt"
	"testing"
)

// Bench measures Deliver with harnesses that open makes, in batches of several sizes. It reports events and encoded bytes per
// second.
func Bench(b *testing.B, open func(tb testing.TB) Harness) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) { bench(b, open(b), size) })
	}
}

func bench(b *testing.B, h Harness, size int) {
	b.Helper()
	t := defaults.newFixture(h, Features{})
	if err := t.open(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := t.release(); err != nil {
			b.Error(err)
		}
	}()
	records, err := t.records(size)
	if err != nil {
		b.Fatal(err)
	}
	bytes := 0
	for _, r := range records {
		bytes += len(r.Encoded)
	}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := t.sink.Deliver(b.Context(), records); n != size {
			b.Fatalf("delivered %d of %d: %v", n, size, err)
		}
		for i := range records {
			records[i] = t.assignPosition(records[i])
		}
	}
	b.ReportMetric(float64(b.N)*float64(size)/b.Elapsed().Seconds(), "events/s")
}
