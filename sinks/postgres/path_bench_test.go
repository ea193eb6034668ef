package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/dispatch"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// BenchmarkPath measures the whole path: the embedded journal on disk, the dispatcher with the batches of such a sink, and the sink, against one bare COPY of
// the same rows in the same run.
func BenchmarkPath(b *testing.B) {
	c := pgtest.Start(b, benchOptions)
	n := benchEvents(b)
	j := newBacklog(b, n)
	for b.Loop() {
		events := newSite(b, c)
		took := dispatchAll(b, j, events, n, func(c *Config) { c.State = nil })
		bare := bareCopy(b, c, events)
		both := newSite(b, c)
		tookBoth := dispatchAll(b, j, both, n, func(*Config) {})
		report(b, n, bare, took, tookBoth)
		c.Exec(b, "drop schema "+events.schema+" cascade", "drop schema "+both.schema+" cascade")
	}
}

func report(b *testing.B, n int, bare, events, both time.Duration) {
	b.Helper()
	rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
	b.ReportMetric(rate(bare), "copy/s")
	b.ReportMetric(rate(events), "events/s")
	b.ReportMetric(rate(both), "with-state/s")
	b.ReportMetric(bare.Seconds()/events.Seconds(), "of-copy")
	b.ReportMetric(bare.Seconds()/both.Seconds(), "with-state-of-copy")
}

// newBacklog is a journal on disk with so many events.
func newBacklog(b *testing.B, n int) journal.Journal {
	b.Helper()
	j, err := pebble.Open(b.Context(), pebble.Config{Dir: b.TempDir(), Interval: math.MaxInt64})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	const each, writers = 50, 32
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := w * each; i < n; i += writers * each {
				e := journal.Entry{Webhook: &journalv1.Webhook{Id: fmt.Sprintf("0197a3c2-5b1e-7c3d-8e4f-%012x", i)}}
				for _, r := range newRecords(b, i, min(each, n-i), benchSubjects) {
					e.Events = append(e.Events, r.Encoded)
				}
				sum := sha256.Sum256(fmt.Append(nil, i))
				e.Keys = []journal.Key{{Hash: journal.Hash(sum[:16]), Window: time.Hour}}
				if _, err := j.Append(context.Background(), e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	running.Wait()
	return j
}

// lastTold is a sink that tells when it has had all events.
type lastTold struct {
	*Sink
	left *atomic.Int64
	end  func()
}

func (s lastTold) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	n, err := s.Sink.Deliver(ctx, events)
	if s.left.Add(-int64(n)) == 0 {
		s.end()
	}
	return n, err
}

func dispatchAll(b *testing.B, j journal.Journal, s *site, n int, change func(*Config)) time.Duration {
	b.Helper()
	claim, err := j.Claim(b.Context(), "warehouse")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = claim.Release(context.Background()) }()
	if err := claim.Save(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	config := s.config()
	s.direct(&config)
	change(&config)
	sink, err := Open(b.Context(), sinks.Origin{Log: j, Sink: "warehouse"}, config)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var left atomic.Int64
	left.Store(int64(n))
	mustResume(b, sink) // makes the tables
	began := time.Now()
	d, err := dispatch.New(dispatch.Config{
		Name: "warehouse", Log: j, Claim: claim, Sinks: []sinks.Sink{lastTold{sink, &left, cancel}}, Batch: dispatch.Batch{Count: 5000, Bytes: 4 << 20},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		b.Fatal(err)
	}
	if left.Load() != 0 {
		b.Fatalf("%d events were not delivered", left.Load())
	}
	return time.Since(began)
}
