package kafka_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// Events in a Deliver: the defaults of the daemon.
const (
	drainBatch     = 5000
	drainBatchOnce = 10_000
)

// BenchmarkDrain delivers a backlog, at least once and exactly once. In turns, a bare kafka-go writer writes the same records,
// encoded before, with the same settings. It reports the medians of the turns' ratios: 20 turns (-benchtime 20x) are a million
// records for each. Journal and dispatcher are not part of it; they are of BenchmarkPath.
func BenchmarkDrain(b *testing.B) {
	b.Run("fake", func(b *testing.B) {
		f := newFake(b, kfake.SeedTopics(6, topic), kfake.NumBrokers(1), kfake.ListenFn(net.Listen))
		drain(b, f.ListenAddrs(), topic)
	})
	b.Run("real", func(b *testing.B) {
		k := kafkatest.Start(b)
		createTopic(b, k, topic, 1<<20)
		drain(b, k.Direct(), topic)
	})
}

func drain(b *testing.B, brokers []string, to string) {
	b.Helper()
	const perTurn = 50_000
	events := backlog(b, drainBatchOnce)
	plain := openSink(b, kafka.Config{Brokers: brokers, Topic: to})
	once := openTransactional(b, kafka.Config{Brokers: brokers, Topic: to}, origin)
	if _, _, err := once.Resume(b.Context()); err != nil {
		b.Fatal(err)
	}
	w := bareWriter(b, brokers, to)
	bare := messages(b, brokers, to, plain, events)
	position := sinks.Position(0)
	turn := func(each int, write func(from, to int) error) time.Duration {
		began := time.Now()
		for at := 0; at < perTurn; at += each {
			from := at % len(events)
			if err := write(from, from+each); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	deliver := func(from, to int) error { _, err := plain.Deliver(b.Context(), events[from:to]); return err }
	deliverOnce := func(from, to int) error {
		for i := range events[from:to] {
			position++
			events[from+i].Position = position
		}
		_, err := once.Deliver(b.Context(), events[from:to])
		return err
	}
	write := func(from, to int) error { return w.WriteMessages(b.Context(), bare[from:to]...) }
	var all rates
	for b.Loop() {
		all.add(turn(drainBatchOnce, write), turn(drainBatch, deliver), turn(drainBatchOnce, deliverOnce))
	}
	all.report(b, perTurn)
}

// backlog returns n events of 97 subjects.
func backlog(b *testing.B, n int) []sinks.Record {
	b.Helper()
	examples := kafkatest.Events(b)
	events := make([]*eventv1.Event, n)
	for i := range events {
		e := proto.CloneOf(examples[i%len(examples)])
		e.Subject = fmt.Sprintf("order/%d", i%97)
		events[i] = e
	}
	return records(b, events)
}

// bareWriter is kafka-go's own, with the settings of the sinks.
func bareWriter(b *testing.B, brokers []string, to string) *kafkago.Writer {
	b.Helper()
	transport := &kafkago.Transport{}
	w := &kafkago.Writer{
		Addr: kafkago.TCP(brokers...), Topic: to, Balancer: kafkago.Murmur2Balancer{Consistent: true}, RequiredAcks: kafkago.RequireAll,
		MaxAttempts: 1, BatchSize: drainBatchOnce, BatchBytes: 1 << 20, BatchTimeout: time.Millisecond, Transport: transport,
	}
	b.Cleanup(func() {
		_ = w.Close()
		transport.CloseIdleConnections()
	})
	return w
}

// rates are the times of turns, one of each way to write in each turn. The machine's other work meets all ways of a turn alike.
type rates struct{ bare, plain, once []float64 }

func (r *rates) add(bare, plain, once time.Duration) {
	r.bare = append(r.bare, bare.Seconds())
	r.plain = append(r.plain, plain.Seconds())
	r.once = append(r.once, once.Seconds())
}

func (r *rates) report(b *testing.B, events int) {
	b.Helper()
	b.ReportMetric(float64(events)/median(r.bare), "bare/s")
	b.ReportMetric(float64(events)/median(r.plain), "events/s")
	b.ReportMetric(float64(events)/median(r.once), "once/s")
	b.ReportMetric(median(ratios(r.bare, r.plain)), "of-bare")
	b.ReportMetric(median(ratios(r.bare, r.once)), "once-of-bare")
	b.ReportMetric(0, "ns/op")
}

func ratios(of, by []float64) []float64 {
	all := make([]float64, len(of))
	for i := range of {
		all[i] = of[i] / by[i]
	}
	return all
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// messages delivers events and returns the stored records.
func messages(b *testing.B, brokers []string, from string, s *kafka.Sink, events []sinks.Record) []kafkago.Message {
	b.Helper()
	push(b, s, events)
	held, err := kafkatest.Read(b.Context(), brokers, from)
	if err != nil {
		b.Fatal(err)
	}
	var to []kafkago.Message
	for _, r := range held[:len(events)] {
		m := kafkago.Message{Key: r.Key, Value: r.Value, Time: r.Timestamp}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafkago.Header{Key: h.Key, Value: h.Value})
		}
		to = append(to, m)
	}
	return to
}
