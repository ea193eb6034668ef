package kafka_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

const drainBatch = 1000

// BenchmarkDrain delivers a backlog, and has a bare kafka-go writer write the same records, made before, with the same settings: by turns, the best
// of each counts. It reports the sink's share of the writer's records a second.
func BenchmarkDrain(b *testing.B) {
	b.Run("fake", func(b *testing.B) {
		f := newFake(b, kfake.SeedTopics(6, topic), kfake.NumBrokers(1), kfake.ListenFn(net.Listen))
		drain(b, f.ListenAddrs(), topic)
	})
	b.Run("real", func(b *testing.B) {
		k := kafkatest.Start(b)
		createTopic(b, k, topic, 1<<20)
		drain(b, k.Brokers(), topic)
	})
}

func drain(b *testing.B, brokers []string, to string) {
	b.Helper()
	const batches = 50
	all := kafkatest.Events(b)
	for i := 0; len(all) < drainBatch; i++ {
		all = append(all, all[i])
	}
	events := records(b, all[:drainBatch])
	for i, e := range all[:drainBatch] {
		e.Subject = fmt.Sprintf("order/%d", i%97)
		events[i] = records(b, all[i:i+1])[0]
	}
	s := openSink(b, kafka.Config{Brokers: brokers, Topic: to})
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafkago.Writer{
		Addr: kafkago.TCP(brokers...), Topic: to, Balancer: kafkago.Murmur2Balancer{Consistent: true}, RequiredAcks: kafkago.RequireAll,
		MaxAttempts: 1, BatchSize: drainBatch, BatchTimeout: time.Millisecond, Transport: transport,
	}
	defer w.Close()
	bare := messages(b, brokers, to, s, events)
	var ours, theirs []float64
	rate := func(write func() error) float64 {
		began := time.Now()
		for range batches {
			if err := write(); err != nil {
				b.Fatal(err)
			}
		}
		return batches * drainBatch / time.Since(began).Seconds()
	}
	deliver := func() error { _, err := s.Deliver(b.Context(), events); return err }
	write := func() error { return w.WriteMessages(b.Context(), bare...) }
	for b.Loop() {
		ours = append(ours, rate(deliver))
		theirs = append(theirs, rate(write))
	}
	b.ReportMetric(slices.Max(ours), "events/s")
	b.ReportMetric(slices.Max(theirs), "bare/s")
	b.ReportMetric(slices.Max(ours)/slices.Max(theirs), "of-bare")
	b.ReportMetric(0, "ns/op")
}

// messages are what the sink makes of events, read back.
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
