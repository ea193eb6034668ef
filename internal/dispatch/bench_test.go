package dispatch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
)

// backlog is a journal on disk with so many events of some 400 bytes.
func backlog(b *testing.B, events int) journal.Journal {
	b.Helper()
	j, err := pebble.Open(b.Context(), pebble.Config{Dir: b.TempDir(), Interval: math.MaxInt64})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := j.Close(); err != nil {
			b.Error(err)
		}
	})
	const each = 50
	var writers sync.WaitGroup
	for w := range 32 {
		writers.Go(func() {
			for i := w * each; i < events; i += 32 * each {
				e := journal.Entry{Webhook: &journalv1.Webhook{Id: webhookID(i)}}
				for k := range each {
					encoded, err := proto.Marshal(&eventv1.Event{
						Id: webhookID(i + k), Source: "till", Connector: "kasafik", Type: "unmapped", Subject: fmt.Sprint("order/", (i+k)%1000),
						Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: strings.Repeat("x", 300)}},
					})
					if err != nil {
						b.Error(err)
					}
					e.Events = append(e.Events, encoded)
				}
				sum := sha256.Sum256(fmt.Append(nil, i))
				e.Keys = []journal.Key{{Hash: journal.Hash(sum[:16]), Window: time.Hour}}
				if _, err := j.Append(context.Background(), e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	writers.Wait()
	return j
}

// sampler is a destination that costs nothing, and looks at the heap now and then.
type sampler struct {
	left  *atomic.Int64
	peak  *atomic.Uint64
	ended func()
}

func (s sampler) Deliver(_ context.Context, events []sinks.Record) (int, error) {
	n := int64(len(events))
	left := s.left.Add(-n)
	if left/20_000 != (left+n)/20_000 {
		s.peak.Store(max(s.peak.Load(), heap()))
	}
	if left == 0 {
		s.ended()
	}
	return len(events), nil
}

func (sampler) Close() error { return nil }

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkBacklog delivers a backlog to a destination that costs nothing, and so measures the dispatcher itself. It samples the
// heap while it runs, and reports the largest growth.
func BenchmarkBacklog(b *testing.B) {
	for _, events := range []int{50_000, 1_000_000} {
		j := backlog(b, events)
		b.Run(fmt.Sprint(events, " events read alone"), func(b *testing.B) {
			records := make([]sinks.Record, 0, 1000)
			for b.Loop() {
				for p, end := sinks.Position(1), j.Bounds().Next; p < end; p += sinks.Position(len(records)) {
					var err error
					if records, err = j.Read(b.Context(), p, records[:0]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
		for _, lanes := range []int{1, 4} {
			b.Run(fmt.Sprint(events, " events in ", lanes, " lanes"), func(b *testing.B) {
				before := heap()
				var left atomic.Int64
				var peak atomic.Uint64
				for b.Loop() {
					left.Store(int64(events))
					drain(b, j, lanes, &left, &peak)
				}
				b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
				b.ReportMetric(max(0, float64(peak.Load())-float64(before))/(1<<20), "heap-MiB")
			})
		}
	}
}

func drain(b *testing.B, j journal.Journal, lanes int, left *atomic.Int64, peak *atomic.Uint64) {
	b.Helper()
	drainTo(b, j, lanes, left, func(end func()) sinks.Sink { return sampler{left, peak, end} })
}

// drainTo delivers all events to a sink in each lane. The sink calls end when there are no events left.
func drainTo(b *testing.B, j journal.Journal, lanes int, left *atomic.Int64, sink func(end func()) sinks.Sink) {
	b.Helper()
	claim, err := j.Claim(b.Context(), sinkName)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = claim.Release(b.Context()) }()
	if err := claim.Save(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	all := make([]sinks.Sink, lanes)
	for i := range all {
		all[i] = sink(cancel)
	}
	d, err := New(Config{Name: sinkName, Log: j, Claim: claim, Sinks: all})
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		b.Fatal(err)
	}
	if left.Load() != 0 {
		b.Fatalf("%d events were not delivered", left.Load())
	}
}

// distant is a destination that is a round trip away.
type distant struct {
	sampler

	trip time.Duration
}

func (d distant) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	<-time.After(d.trip)
	return d.sampler.Deliver(ctx, events)
}

// BenchmarkRoundTrips delivers a backlog to a destination that answers after a while, as one does that commits a transaction for each
// batch. The reference reads and delivers in turn, without a dispatcher.
func BenchmarkRoundTrips(b *testing.B) {
	const events, batch = 100_000, 1000
	j := backlog(b, events)
	for _, trip := range []time.Duration{time.Millisecond, 5 * time.Millisecond} {
		b.Run(trip.String(), func(b *testing.B) {
			var inTurn, dispatched time.Duration
			var left atomic.Int64
			var peak atomic.Uint64
			sink := func(end func()) sinks.Sink { return distant{sampler{&left, &peak, end}, trip} }
			records := make([]sinks.Record, 0, batch)
			for b.Loop() {
				left.Store(events)
				began, s := time.Now(), sink(func() {})
				for p, end := sinks.Position(1), j.Bounds().Next; p < end; p += sinks.Position(len(records)) {
					var err error
					if records, err = j.Read(b.Context(), p, records[:0]); err != nil {
						b.Fatal(err)
					}
					_, _ = s.Deliver(b.Context(), records)
				}
				inTurn += time.Since(began)
				left.Store(events)
				began = time.Now()
				drainTo(b, j, 1, &left, sink)
				dispatched += time.Since(began)
			}
			b.ReportMetric(float64(events)*float64(b.N)/dispatched.Seconds(), "events/s")
			b.ReportMetric(inTurn.Seconds()/dispatched.Seconds(), "of-in-turn")
		})
	}
}
