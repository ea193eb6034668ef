package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// BenchmarkAppend has a number of writers that append one webhook after another.
func BenchmarkAppend(b *testing.B) {
	for _, standbys := range []int{0, 1} {
		c := pgtest.Start(b, pgtest.Options{Standbys: standbys})
		for _, writers := range []int{1, 128, 512} {
			b.Run(fmt.Sprintf("standbys=%d/writers=%d", standbys, writers), func(b *testing.B) {
				j := newSite(b, c).open(func(cfg *Config) { cfg.ReplicatedBy = ByNothing })
				appendTo(b, j, newEntry())
				b.ResetTimer()
				latencies := make([]time.Duration, b.N)
				var next atomic.Int64
				var all sync.WaitGroup
				for range writers {
					all.Go(func() {
						for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
							began := time.Now()
							if _, err := j.Append(context.Background(), newEntry()); err != nil {
								b.Error(err)
							}
							latencies[i] = time.Since(began)
						}
					})
				}
				all.Wait()
				report(b, latencies)
			})
		}
	}
}

// BenchmarkAppendAt appends at a steady rate, whatever the answers take.
func BenchmarkAppendAt(b *testing.B) {
	c := pgtest.Start(b, pgtest.Options{Standbys: 1})
	for _, rate := range []int{500, 2000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			j := newSite(b, c).open()
			appendTo(b, j, newEntry())
			b.ResetTimer()
			latencies := make([]time.Duration, b.N)
			var all sync.WaitGroup
			tick := time.NewTicker(time.Second / time.Duration(rate))
			defer tick.Stop()
			for i := range b.N {
				<-tick.C
				began := time.Now()
				all.Go(func() {
					if _, err := j.Append(context.Background(), newEntry()); err != nil {
						b.Error(err)
					}
					latencies[i] = time.Since(began)
				})
			}
			all.Wait()
			report(b, latencies)
		})
	}
}

func report(b *testing.B, latencies []time.Duration) {
	b.Helper()
	slices.Sort(latencies)
	at := func(part float64) float64 {
		return float64(latencies[int(part*float64(len(latencies)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(float64(len(latencies))/b.Elapsed().Seconds(), "webhooks/s")
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}
