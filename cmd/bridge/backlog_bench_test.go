package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// backlog is how many events a sink is behind in BenchmarkBacklog.
const backlog = 1_000_000

// BenchmarkBacklog takes a sink away for a million events and gives it back. It prints how ingest fares meanwhile against
// how it fares with the sink there, in one run, and what memory the way back takes.
func BenchmarkBacklog(b *testing.B) {
	for range b.N {
		dir := b.TempDir()
		archive := filepath.Join(dir, "archive")
		if err := os.Mkdir(archive, 0o700); err != nil {
			b.Fatal(err)
		}
		p := startRelease(b, retinoConfig(filepath.Join(dir, "journal"))+fmt.Sprintf(
			"sinks: [{name: archive, file: {path: %q, format: protobuf}, backoff: {min: 50ms, max: 200ms}}]\n",
			filepath.Join(archive, "events.pb")))
		sent := int64(0)
		up := latencyOf(b, p, &sent, 200_000)
		awaitLag(b, p, 0)

		if err := os.Rename(archive, archive+".away"); err != nil {
			b.Fatal(err)
		}
		down := latencyOf(b, p, &sent, backlog)
		behind := lagOf(b, p)
		before, _ := p.rss()
		if err := os.Rename(archive+".away", archive); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		awaitLag(b, p, 0)
		took := time.Since(began)
		_, peak := p.rss()

		b.Logf("sink away: %d events behind; ingest p99 %v with the sink, %v without it, ratio %.2f; "+
			"caught up in %v (%.0f events/s); resident memory %.0f MiB behind, %.0f MiB at most",
			behind, up, down, down.Seconds()/up.Seconds(), took.Round(time.Millisecond), float64(behind)/took.Seconds(), mib(before), mib(peak))
		b.ReportMetric(down.Seconds()/up.Seconds(), "p99-ratio")
		b.ReportMetric(mib(peak), "MiB-peak")
		b.ReportMetric(0, "ns/op")
		p.kill()
	}
}

// latencyOf sends n webhooks over a few connections and returns the 99th percentile of their answers' times.
func latencyOf(b *testing.B, p *process, sent *int64, n int64) time.Duration {
	b.Helper()
	var mu sync.Mutex
	times := make([]time.Duration, 0, n)
	l := &load{addr: p.addr("webhooks"), connections: 32, limit: *sent + n, answered: func(took time.Duration) {
		mu.Lock()
		times = append(times, took)
		mu.Unlock()
	}}
	l.next.Store(*sent)
	l.run(b.Context())
	*sent += n
	if l.failures.Load() > 0 || int64(len(times)) != n {
		b.Fatalf("%d of %d webhooks were answered, %d refused", len(times), n, l.failures.Load())
	}
	slices.Sort(times)
	return times[len(times)*99/100].Round(10 * time.Microsecond)
}

var lagPattern = regexp.MustCompile(`(?m)^bridge_sink_lag_events\{sink="archive"\} (\S+)$`)

func lagOf(b *testing.B, p *process) int64 {
	b.Helper()
	text, err := fetch(b.Context(), "http://"+p.addr("ops")+"/metrics", "", "")
	if err != nil {
		b.Fatal(err)
	}
	m := lagPattern.FindStringSubmatch(text)
	if m == nil {
		b.Fatalf("no lag in\n%s", text)
	}
	lag, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return int64(lag)
}

func awaitLag(b *testing.B, p *process, want int64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for lagOf(b, p) > want {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatal("the sink did not catch up")
		}
	}
}
