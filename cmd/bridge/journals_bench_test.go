package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// journalsSpan is how long each figure of BenchmarkJournals is measured.
const journalsSpan = 4 * time.Second

// journals are the engines that BenchmarkJournals measures. It compares the others with the first.
var journals = []struct {
	name  string
	start func(b *testing.B) (addrs []string)
}{
	{"embedded", func(b *testing.B) []string {
		return []string{startBridge(b, retinoConfig(b.TempDir())).addr("webhooks")}
	}},
	{"PostgreSQL alone", func(b *testing.B) []string {
		return benchReplicas(b, pgtest.Options{}, "nothing", "a")
	}},
	{"PostgreSQL with a synchronous standby", func(b *testing.B) []string {
		return benchReplicas(b, pgtest.Options{Standbys: 1}, "standby", "a")
	}},
	{"the same with two replicas", func(b *testing.B) []string {
		return benchReplicas(b, pgtest.Options{Standbys: 1}, "standby", "a", "b")
	}},
}

// benchReplicas starts replicas on a cluster of their own, without a proxy, and returns their addresses.
func benchReplicas(b *testing.B, options pgtest.Options, replicatedBy string, names ...string) []string {
	c := pgtest.Start(b, options)
	url := c.Primary().URL(pgtest.User, pgtest.Database)
	r := startReplicas(b, func(name string) string { return replicaConfig(name, url, replicatedBy, "") }, names...)
	return r.addrs("webhooks")
}

// BenchmarkJournals prints the rate and the times of answers with each kind of journal, also as ratios to the embedded one in the same run.
// The database's files belong on a disk, as the embedded journal's do: BRIDGE_TEST_POSTGRES_DIR names a folder. Everything shares this machine.
func BenchmarkJournals(b *testing.B) {
	pgtest.Enabled(b)
	for range b.N {
		var text strings.Builder
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "load\tjournal\twebhooks/s\tratio\tp50\tratio\tp99\tratio\trefused\t")
		figures := map[string][]figure{}
		for _, j := range journals {
			b.Run(j.name, func(b *testing.B) {
				addrs := j.start(b)
				m := &measurement{addrs: addrs}
				m.closed(b, 128, time.Second) // warm up
				figures[j.name] = []figure{
					m.closed(b, 128, journalsSpan), m.closed(b, 512, journalsSpan), m.open(b, 500, journalsSpan), m.open(b, 2000, journalsSpan),
				}
				b.ReportMetric(0, "ns/op")
			})
		}
		for i, load := range []string{"128 connections", "512 connections", "500/s", "2,000/s"} {
			for _, j := range journals {
				if f := figures[j.name]; f != nil && figures[journals[0].name] != nil {
					f[i].write(table, load, j.name, figures[journals[0].name][i])
				}
			}
		}
		_ = table.Flush()
		b.Logf("\n%s", &text)
	}
}

// figure holds the measurements under one load.
type figure struct {
	rate     float64
	p50, p99 time.Duration
	refused  int64
}

func (f figure) write(table *tabwriter.Writer, load, name string, embedded figure) {
	_, _ = fmt.Fprintf(table, "%s\t%s\t%.0f\t%.2f\t%v\t%.1f\t%v\t%.1f\t%d\t\n", load, name, f.rate, f.rate/embedded.rate,
		f.p50, f.p50.Seconds()/embedded.p50.Seconds(), f.p99, f.p99.Seconds()/embedded.p99.Seconds(), f.refused)
}

// measurement sends webhooks to the replicas in equal parts, each a new fact.
type measurement struct {
	addrs []string
	next  atomic.Int64

	mu    sync.Mutex
	times []time.Duration
}

func (m *measurement) note(took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.times = append(m.times, took)
}

// figure ends a measurement.
func (m *measurement) figure(span time.Duration, refused int64) figure {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.Sort(m.times)
	n := len(m.times)
	if n == 0 {
		return figure{refused: refused}
	}
	f := figure{
		rate: float64(n) / span.Seconds(), refused: refused,
		p50: m.times[n/2].Round(10 * time.Microsecond), p99: m.times[n*99/100].Round(10 * time.Microsecond),
	}
	m.times = nil
	return f
}

// closed sends over so many connections, on each the next webhook after the answer.
func (m *measurement) closed(b *testing.B, connections int, span time.Duration) figure {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), span)
	defer cancel()
	var refused atomic.Int64
	var running sync.WaitGroup
	began := time.Now()
	for i, addr := range m.addrs {
		l := &load{addr: addr, connections: connections / len(m.addrs), answered: m.note}
		// Each load has numbers of its own.
		l.next.Store(m.next.Load() + int64(i)*1_000_000_000)
		running.Go(func() {
			l.run(ctx)
			refused.Add(l.failures.Load())
		})
	}
	running.Wait()
	m.next.Add(10_000_000)
	return m.figure(time.Since(began), refused.Load())
}

// open sends at a fixed rate and does not wait for answers. The time of an answer counts from when its webhook was due.
func (m *measurement) open(b *testing.B, rate int, span time.Duration) figure {
	b.Helper()
	const connections = 256 // enough that a webhook rarely waits for one
	type webhook struct {
		number int64
		due    time.Time
	}
	due := make(chan webhook, rate*int(span/time.Second))
	var refused atomic.Int64
	var running sync.WaitGroup
	for i := range connections {
		running.Go(func() {
			conn, err := net.Dial("tcp", m.addrs[i%len(m.addrs)])
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			rendered, at := senderRequest()
			request, answers := bytes.Clone(rendered), bufio.NewReader(conn)
			for w := range due {
				copy(request[at:], fmt.Appendf(nil, "%012d", w.number))
				if _, err := conn.Write(request); err != nil {
					b.Error(err)
					return
				}
				switch code, err := readAnswer(answers); {
				case err != nil:
					b.Error(err)
					return
				case code != http.StatusOK:
					refused.Add(1)
				default:
					m.note(time.Since(w.due))
				}
			}
		})
	}
	began := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sent := 0; sent < rate*int(span/time.Second); {
		<-tick.C
		for ; sent < int(time.Since(began).Seconds()*float64(rate)); sent++ {
			due <- webhook{m.next.Add(1), began.Add(time.Duration(sent) * time.Second / time.Duration(rate))}
		}
	}
	close(due)
	running.Wait()
	return m.figure(time.Since(began), refused.Load())
}
