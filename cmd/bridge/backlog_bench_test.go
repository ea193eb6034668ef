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

// turn is how many webhooks a program of BenchmarkBacklog gets before it is the other one's turn. The turns are alike: the p99 of longer ones
// is higher.
const turn = 10_000

// backlog is how many events a sink is behind in BenchmarkBacklog: a million, or BRIDGE_BENCH_EVENTS, in whole turns.
func backlog(b *testing.B) int64 {
	b.Helper()
	text := os.Getenv("BRIDGE_BENCH_EVENTS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < turn {
		b.Fatalf("BRIDGE_BENCH_EVENTS: %q is no number from %d on", text, turn)
	}
	return n / turn * turn
}

// BenchmarkBacklog takes a sink away for a million events and gives it back. It compares how ingest fares meanwhile with how it fares in a
// second program whose sink is there. The two have their turns one after the other, so that what else the machine does is the same
// for both. p99-ratio is the median of the turns' ratios. It also prints what memory the way back takes.
func BenchmarkBacklog(b *testing.B) {
	for range b.N {
		there, away := startArchiving(b), startArchiving(b)
		if err := os.Rename(away.archive, away.archive+".away"); err != nil {
			b.Fatal(err)
		}
		var up, down, ratios []float64 // p99 in milliseconds
		for away.sent < backlog(b) {
			up = append(up, there.latency(b, turn))
			awaitLag(b, there.process, 0)
			down = append(down, away.latency(b, turn))
			ratios = append(ratios, down[len(down)-1]/up[len(up)-1])
		}
		there.process.kill()
		p := away.process
		behind := lagOf(b, p)
		before, _ := p.rss()
		if err := os.Rename(away.archive+".away", away.archive); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		awaitLag(b, p, 0)
		took := time.Since(began)
		_, peak := p.rss()
		p.kill()

		b.Logf("sink away: %d events behind; ingest p99 %.2f ms with the sink, %.2f ms without it, ratio %.2f (medians of %d turns); "+
			"caught up in %v (%.0f events/s); resident memory %.0f MiB behind, %.0f MiB at most",
			behind, median(up), median(down), median(ratios), len(ratios), took.Round(time.Millisecond), float64(behind)/took.Seconds(), mib(before), mib(peak))
		b.ReportMetric(median(ratios), "p99-ratio")
		b.ReportMetric(mib(peak), "MiB-peak")
		b.ReportMetric(0, "ns/op")
	}
}

// archiving is a program with a sink that writes to files in the folder archive.
type archiving struct {
	process *process
	archive string
	sent    int64
}

func startArchiving(b *testing.B) *archiving {
	b.Helper()
	dir := b.TempDir()
	archive := filepath.Join(dir, "archive")
	if err := os.Mkdir(archive, 0o700); err != nil {
		b.Fatal(err)
	}
	p := startRelease(b, retinoConfig(filepath.Join(dir, "journal"))+fmt.Sprintf(
		"sinks: [{name: archive, file: {path: %q, format: protobuf}, backoff: {min: 50ms, max: 200ms}}]\n", filepath.Join(archive, "events.pb")))
	return &archiving{process: p, archive: archive}
}

// latency sends n webhooks over a few connections and returns the 99th percentile of their answers' times, in milliseconds.
func (a *archiving) latency(b *testing.B, n int64) float64 {
	b.Helper()
	var mu sync.Mutex
	times := make([]time.Duration, 0, n)
	l := &load{addr: a.process.addr("webhooks"), connections: 32, limit: a.sent + n, answered: func(took time.Duration) {
		mu.Lock()
		times = append(times, took)
		mu.Unlock()
	}}
	l.next.Store(a.sent)
	l.run(b.Context())
	a.sent += n
	if l.failures.Load() > 0 || int64(len(times)) != n {
		b.Fatalf("%d of %d webhooks were answered, %d refused", len(times), n, l.failures.Load())
	}
	slices.Sort(times)
	return times[len(times)*99/100].Seconds() * 1000
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
