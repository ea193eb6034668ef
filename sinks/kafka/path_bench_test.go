package kafka_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/dispatch"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// BenchmarkPath measures the whole path on a real Kafka: the embedded journal on disk, the dispatcher with the daemon's batches, and the
// sink, at least once and exactly once. A bare kafka-go writer writes as many records, encoded before, in the same turn. A turn is a
// million events, or BRIDGE_BENCH_EVENTS.
func BenchmarkPath(b *testing.B) {
	k := kafkatest.Start(b)
	createTopic(b, k, topic, 1<<20)
	n := benchEvents(b)
	events := backlog(b, drainBatchOnce)
	config := kafka.Config{Brokers: k.Direct(), Topic: topic}
	w := bareWriter(b, config.Brokers, topic)
	bare := messages(b, config.Brokers, topic, openSink(b, config), events)
	j := newJournal(b, events, n)
	var all rates
	turn := 0
	for b.Loop() {
		began := time.Now()
		for at := 0; at < n; at += len(bare) {
			if err := w.WriteMessages(b.Context(), bare[:min(len(bare), n-at)]...); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(began)
		turn++
		plain := openSink(b, config)
		once := openTransactional(b, config, sinks.Origin{Log: j, Sink: fmt.Sprintf("once-%d", turn)})
		all.add(took, dispatchAll(b, j, plain, n, fmt.Sprintf("plain-%d", turn), drainBatch), dispatchAll(b, j, once, n, fmt.Sprintf("once-%d", turn), drainBatchOnce))
	}
	all.report(b, n)
}

func benchEvents(b *testing.B) int {
	b.Helper()
	text := os.Getenv("BRIDGE_BENCH_EVENTS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// newJournal is a journal on disk with n events, the given ones again and again.
func newJournal(b *testing.B, events []sinks.Record, n int) journal.Journal {
	b.Helper()
	j, err := pebble.Open(b.Context(), pebble.Config{Dir: b.TempDir(), Interval: math.MaxInt64})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	const each, writers = 100, 32
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := w * each; i < n; i += writers * each {
				sum := sha256.Sum256(fmt.Append(nil, i))
				e := journal.Entry{Webhook: &journalv1.Webhook{Id: fmt.Sprintf("0197a3c2-5b1e-7c3d-8e4f-%012x", i)}}
				e.Keys = []journal.Key{{Hash: journal.Hash(sum[:16]), Window: time.Hour}}
				for k := i; k < min(i+each, n); k++ {
					e.Events = append(e.Events, events[k%len(events)].Encoded)
				}
				if _, err := j.Append(context.Background(), e); err != nil {
					b.Error(err)
				}
			}
		})
	}
	running.Wait()
	return j
}

// drained tells when a sink has had so many events.
type drained struct {
	left atomic.Int64
	end  func()
}

func (d *drained) note(n int) {
	if d.left.Add(-int64(n)) == 0 {
		d.end()
	}
}

// watched is a sink whose events are counted, watchedResumer one that also resumes.
type watched struct {
	sinks.Sink
	*drained
}

func (s watched) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	n, err := s.Sink.Deliver(ctx, events)
	s.note(n)
	return n, err
}

type watchedResumer struct {
	sinks.Resumer
	*drained
}

func (s watchedResumer) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	n, err := s.Resumer.Deliver(ctx, events)
	s.note(n)
	return n, err
}

// dispatchAll returns the time in which a sink gets all n events of the journal.
func dispatchAll(b *testing.B, j journal.Journal, s sinks.Sink, n int, name string, batch int) time.Duration {
	b.Helper()
	claim, err := j.Claim(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = claim.Release(context.Background()) }()
	if err := claim.Save(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	count := &drained{end: cancel}
	count.left.Store(int64(n))
	counted := sinks.Sink(watched{s, count})
	if r, ok := s.(sinks.Resumer); ok {
		counted = watchedResumer{r, count}
	}
	began := time.Now()
	d, err := dispatch.New(dispatch.Config{
		Name: name, Log: j, Claim: claim, Sinks: []sinks.Sink{counted}, Batch: dispatch.Batch{Count: batch, Bytes: batch << 10},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := d.Run(ctx); err != nil {
		b.Fatal(err)
	}
	if left := count.left.Load(); left != 0 {
		b.Fatalf("%d events were not delivered", left)
	}
	return time.Since(began)
}
