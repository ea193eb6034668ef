package kafka_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

const drainBatch = 1000

// BenchmarkDrain delivers a backlog. In turns, a bare kafka-go writer writes the same records, encoded before, with the same
// settings. It reports the ratio of their rates over all turns: 20 turns (-benchtime 20x) are a million records. Journal and
// dispatcher are not part of it.
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
	once := openTransactional(b, kafka.Config{Brokers: brokers, Topic: to}, origin)
	if _, _, err := once.Resume(b.Context()); err != nil {
		b.Fatal(err)
	}
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafkago.Writer{
		Addr: kafkago.TCP(brokers...), Topic: to, Balancer: kafkago.Murmur2Balancer{Consistent: true}, RequiredAcks: kafkago.RequireAll,
		MaxAttempts: 1, BatchSize: drainBatch, BatchTimeout: time.Millisecond, Transport: transport,
	}
	defer w.Close()
	bare := messages(b, brokers, to, s, events)
	var ours, exactly, theirs time.Duration
	position := sinks.Position(0)
	turn := func(write func() error) time.Duration {
		began := time.Now()
		for range batches {
			if err := write(); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began)
	}
	deliver := func() error { _, err := s.Deliver(b.Context(), events); return err }
	write := func() error { return w.WriteMessages(b.Context(), bare...) }
	deliverOnce := func() error {
		position += drainBatch
		for i := range events {
			events[i].Position = position + sinks.Position(i)
		}
		_, err := once.Deliver(b.Context(), events)
		return err
	}
	turns := 0
	for b.Loop() {
		ours += turn(deliver)
		exactly += turn(deliverOnce)
		theirs += turn(write)
		turns++
	}
	records := float64(turns * batches * drainBatch)
	b.ReportMetric(records/ours.Seconds(), "events/s")
	b.ReportMetric(records/exactly.Seconds(), "once/s")
	b.ReportMetric(theirs.Seconds()/exactly.Seconds(), "once-of-bare")
	b.ReportMetric(records/theirs.Seconds(), "bare/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-bare")
	b.ReportMetric(0, "ns/op")
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
