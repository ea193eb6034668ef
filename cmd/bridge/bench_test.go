package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Each contender is measured for benchSpan, in turn, benchRounds times; the figure is the median of the rounds' ratios.
const (
	benchRounds      = 5
	benchSpan        = 4 * time.Second
	benchConnections = 128
)

// BenchmarkIngest measures the full ingest path over HTTP, durable, against the least that a durable receiver can do, both
// in processes of their own, under the same load from the same machine.
func BenchmarkIngest(b *testing.B) {
	for range b.N {
		var ours, reference, ratios []float64
		for range benchRounds {
			mine := measureServer(b, startBridge(b, retinoConfig(b.TempDir())))
			other := measureServer(b, startProcess(b, nil, envReference+"="+b.TempDir()))
			ours, reference, ratios = append(ours, mine), append(reference, other), append(ratios, mine/other)
		}
		b.Logf("ingest, %d connections, one durable webhook each: bridge %.0f/s, bare handler %.0f/s, ratio %.2f (rounds %.2f)",
			benchConnections, median(ours), median(reference), median(ratios), ratios)
		b.ReportMetric(median(ours), "webhooks/s")
		b.ReportMetric(median(ratios), "of-reference")
		b.ReportMetric(0, "ns/op")
	}
}

// measureServer loads a server and returns webhooks a second.
func measureServer(b *testing.B, p *process) float64 {
	b.Helper()
	warmup := &load{addr: p.addr("webhooks"), connections: benchConnections, limit: 5000}
	warmup.run(b.Context())
	l := &load{addr: p.addr("webhooks"), connections: benchConnections}
	l.next.Store(warmup.limit)
	ctx, cancel := context.WithTimeout(b.Context(), benchSpan)
	defer cancel()
	began := time.Now()
	l.run(ctx)
	took := time.Since(began)
	if l.failures.Load() > 0 {
		b.Fatalf("%d webhooks were refused", l.failures.Load())
	}
	p.kill()
	return float64(l.ok.Load()) / took.Seconds()
}

// hostile are the most expensive bodies for a naive decoder: lists of empty objects. Each object becomes a message.
var hostile = []struct {
	name, unit string
	objects    int
}{
	{"1 MiB of [{},{},…]", "MiB-hostile", (1<<20 - 200) / 3},
	{"as many {} as the decoder lets through", "MiB-at-limit", 99_990},
}

// BenchmarkMemory prints resident memory when idle, and while 128 connections send hostile bodies, no two of them the same.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		for _, h := range hostile {
			p := startRelease(b, retinoConfig(b.TempDir()))
			idle, _ := p.rss()
			codes := sendHostile(b, p.addr("webhooks"), h.objects, 10*time.Second)
			after, peak := p.rss()
			b.Logf("resident memory: idle %.1f MiB; peak under %d connections of %s %.1f MiB, after %.1f MiB; answers %v",
				mib(idle), benchConnections, h.name, mib(peak), mib(after), codes)
			b.ReportMetric(mib(idle), "MiB-idle")
			b.ReportMetric(mib(peak), h.unit)
			p.kill()
		}
		b.ReportMetric(0, "ns/op")
	}
}

// startRelease builds the program as `make build` does and starts it: the test binary holds more than the program.
func startRelease(b *testing.B, config string) *process {
	b.Helper()
	dir := b.TempDir()
	exe := filepath.Join(dir, "bridge")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	path := filepath.Join(dir, "bridge.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	return startCommand(b, exe, []string{"serve", "-c", path})
}

// sendHostile sends bodies with so many empty objects, over and over, and returns how often each status came.
func sendHostile(b *testing.B, addr string, objects int, span time.Duration) map[int]int {
	b.Helper()
	const number = `{"event_type":"shipping.ordered","created_at":"%012d",`
	rest := `"shipping":{"id":"s","customer_payment_details":[{}` + strings.Repeat(",{}", objects-1) + "]}}"
	head := fmt.Sprintf("POST /webhooks/returns HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\n"+
		"X-Retino-Secret: %s\r\nContent-Length: %d\r\n\r\n", testSecret, len(fmt.Sprintf(number, 0))+len(rest))
	var sent atomic.Int64

	ctx, cancel := context.WithTimeout(b.Context(), span)
	defer cancel()
	var mu sync.Mutex
	codes := map[int]int{}
	var wg sync.WaitGroup
	for range benchConnections {
		wg.Go(func() {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			answers := bufio.NewReader(conn)
			for ctx.Err() == nil {
				start := head + fmt.Sprintf(number, sent.Add(1))
				if _, err := io.Copy(conn, io.MultiReader(strings.NewReader(start), strings.NewReader(rest))); err != nil {
					return
				}
				code, err := readAnswer(answers)
				if err != nil {
					return
				}
				mu.Lock()
				codes[code]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return codes
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
