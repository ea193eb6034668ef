package kafka_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
	"github.com/webhook-bridge/bridge/sinks/proxytest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
)

// TestRealTransactions judges the transactions of a real Kafka by consumers that are not part of this project.
func TestRealTransactions(t *testing.T) {
	b := kafkatest.Start(t, "transaction.abort.timed.out.transaction.cleanup.interval.ms=200")
	t.Run("first start", func(t *testing.T) { firstStart(t, b) })
	t.Run("contract", func(t *testing.T) {
		const most = 200 << 10
		made := 0
		sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
			made++
			name := fmt.Sprintf("contract-%d", made)
			createTopic(tb, b, name, most)
			on := func(do func(*proxytest.Proxy)) func() { return func() { do(b.Proxy) } }
			h := transactionalHarness(tb, kafka.Config{Brokers: b.Brokers(), Topic: name}, on, most)
			open := h.OpenFrom
			h.OpenFrom = func(ctx context.Context, from sinks.Origin) (sinks.Sink, error) {
				from.Sink += "-of-" + name // The cases share the cluster, and so the groups.
				return open(ctx, from)
			}
			return h
		}, sinktest.Features{MaxEvent: most / 2, SharedDestination: true})
	})
	t.Run("kcat", func(t *testing.T) { kcatCommitted(t, b) })
	t.Run("frozen", func(t *testing.T) { frozen(t, b) })
	t.Run("partitions added", func(t *testing.T) { partitionsAdded(t, b) })
	t.Run("topic made again", func(t *testing.T) { topicMadeAgain(t, b) })
	t.Run("one of several topics deleted", func(t *testing.T) { topicDeleted(t, b) })
	t.Run("old offset", func(t *testing.T) { oldOffset(t, b) })
	t.Run("timed out", func(t *testing.T) { timedOut(t, b) })
	t.Run("killed", func(t *testing.T) { killed(t, b) })
	t.Run("broker killed", func(t *testing.T) { brokerKilled(t, b) })
}

// stream is a log of events of several subjects, and a reader of it that behaves as a dispatcher does.
type stream struct {
	origin  sinks.Origin
	events  []*eventv1.Event
	records []sinks.Record
	config  kafka.Config
}

func newStream(tb testing.TB, brokers []string, name string, n int) *stream {
	tb.Helper()
	s := &stream{
		origin: sinks.Origin{Log: log{"f81d4fae-" + name, 1<<63 + 5}, Sink: "events"},
		config: kafka.Config{Brokers: brokers, Topic: name, CreateTopics: &kafka.CreateTopics{}},
	}
	for i := range n {
		s.events = append(s.events, &eventv1.Event{
			Id: fmt.Sprintf("%s-%06d", name, i), Type: "order.changed", Source: "till", Connector: "kasafik", Subject: fmt.Sprintf("order/%d", i%17),
		})
	}
	s.records = records(tb, s.events)
	return s
}

// deliver delivers the events up to position to, in batches, from where the destination is. It returns the errors that it met. It
// ends early when the sink is fenced.
func (s *stream) deliver(ctx context.Context, sink sinks.Resumer, to, batch int, each func(n int)) ([]error, error) {
	var met []error
	for ctx.Err() == nil {
		reached, found, err := sink.Resume(ctx)
		if errors.Is(err, sinks.ErrFenced) {
			return met, err
		}
		if err == nil {
			at := 0
			if found {
				at = int(reached.Mark.Position) - 1
			}
			for err == nil {
				if at == to {
					return met, nil
				}
				end := min(at+batch, to)
				var n int
				n, err = sink.Deliver(ctx, s.records[at:end])
				if err == nil && n != end-at {
					return met, fmt.Errorf("Deliver says %d of %d without an error", n, end-at)
				}
				at += n
				each(at)
			}
			if errors.Is(err, sinks.ErrFenced) {
				return met, err
			}
		}
		met = append(met, err)
		again := time.NewTimer(50 * time.Millisecond)
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
	return met, ctx.Err()
}

func (s *stream) open(tb testing.TB) *kafka.Transactional {
	return openTransactional(tb, s.config, s.origin)
}

// mustDeliver delivers up to position to with a new sink, and returns the errors that it met.
func (s *stream) mustDeliver(tb testing.TB, to int) []error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	met, err := s.deliver(ctx, s.open(tb), to, 100, func(int) {})
	if err != nil {
		tb.Fatalf("%v, after %v", err, met)
	}
	return met
}

// check fails unless the topics have each event once, in order for each subject.
func (s *stream) check(tb testing.TB, topics ...string) {
	tb.Helper()
	if len(topics) == 0 {
		topics = []string{s.config.Topic}
	}
	held, err := kafkatest.ReadCommitted(tb.Context(), s.config.Brokers, topics...)
	events, err := decoded(s.config, held, err)
	if err != nil {
		tb.Fatal(err)
	}
	want, got := bySubject(s.events), bySubject(events)
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("%d events are there, want %d (-want +got):\n%s", len(events), len(s.events), diff[:min(len(diff), 4000)])
		return
	}
	tb.Logf("%s: %d events, 0 missing, 0 twice, 0 out of order", s.config.Topic, len(events))
}

func bySubject(events []*eventv1.Event) map[string][]string {
	to := map[string][]string{}
	for _, e := range events {
		to[e.GetSubject()] = append(to[e.GetSubject()], e.GetId())
	}
	return to
}

// firstStart shows that the first Deliver to a topic that does not exist succeeds at once, in a cluster that has coordinated
// nothing yet.
func firstStart(t *testing.T, b *kafkatest.Broker) {
	for range 3 {
		s := newStream(t, b.Brokers(), fmt.Sprintf("first-%d", time.Now().UnixNano()), 1000)
		if met := s.mustDeliver(t, len(s.records)); len(met) > 0 {
			t.Errorf("errors of the first start: %v", met)
		}
		s.check(t)
		plain := kafka.Config{Brokers: b.Brokers(), Topic: s.config.Topic + "-plain", CreateTopics: &kafka.CreateTopics{}}
		if n, err := openSink(t, plain).Deliver(t.Context(), s.records); n != len(s.records) || err != nil {
			t.Errorf("at least once: %d, %v", n, err)
		}
		if held, err := kafkatest.Read(t.Context(), b.Brokers(), plain.Topic); err != nil || len(held) != len(s.records) {
			t.Errorf("at least once: %d records of %d, %v", len(held), len(s.records), err)
		}
	}
}

// kcatCommitted compares what kcat reads at both isolation levels, after a transaction was aborted.
func kcatCommitted(t *testing.T, b *kafkatest.Broker) {
	s := newStream(t, b.Brokers(), "kcat-committed", 200)
	createTopic(t, b, s.config.Topic, 200<<10)
	sink := s.open(t)
	if _, _, err := sink.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The broker refuses the last event after it has stored others, so the first transaction is aborted.
	n, err := sink.Deliver(t.Context(), append(slices.Clone(s.records), large(t, 300<<10)))
	if n != len(s.records) || !errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("%d, %v", n, err)
	}
	s.check(t)
	for level, atLeast := range map[string]int{"read_committed": len(s.records), "read_uncommitted": len(s.records) + 1} {
		out, err := exec.Command("kcat", "-C", "-b", b.Brokers()[0], "-X", "isolation.level="+level, "-t", s.config.Topic, "-o", "beginning", "-e", "-q", "-f", "%k\n").Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(string(out), "\n")
		if lines < atLeast || level == "read_committed" && lines != atLeast {
			t.Errorf("kcat reads %d records with %s, want %d", lines, level, atLeast)
		}
	}
}

// frozenChild is the environment of the process that is frozen: brokers, topic and number of events.
const frozenChild = "BRIDGE_TEST_KAFKA_FROZEN"

// TestFrozenChild is the process that is frozen. It delivers until it is fenced.
func TestFrozenChild(t *testing.T) {
	setup := strings.Split(os.Getenv(frozenChild), " ")
	if len(setup) != 3 {
		t.Skip("runs as a child")
	}
	n, err := strconv.Atoi(setup[2])
	if err != nil {
		t.Fatal(err)
	}
	s := newStream(t, []string{setup[0]}, setup[1], n)
	_, err = s.deliver(t.Context(), s.open(t), n, 20, func(at int) { fmt.Fprintln(os.Stdout, "at", at) })
	fmt.Fprintln(os.Stdout, "ended:", errors.Is(err, sinks.ErrFenced), err)
}

// frozen stops a process in the middle of a transaction, and lets it go on when another one has taken over.
func frozen(t *testing.T, b *kafkatest.Broker) {
	s := newStream(t, b.Brokers(), "frozen", 10_000)
	createTopic(t, b, s.config.Topic, 1<<20)
	for round := range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestFrozenChild$", "-test.v")
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", frozenChild, b.Brokers()[0], s.config.Topic, len(s.records)))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = child.Process.Kill() })
		lines := bufio.NewScanner(out)
		at := awaitDelivered(t, lines, 3+round)
		if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if met := s.mustDeliver(t, at+2000); len(met) > 0 {
			t.Errorf("the successor met %v", met)
		}
		if err := child.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(out)
		if err != nil {
			t.Fatal(err)
		}
		all := remaining(lines) + string(rest)
		if !strings.Contains(all, "ended: true") {
			t.Errorf("the frozen process was not fenced:\n%s", all)
		}
		_ = child.Wait()
	}
	s.mustDeliver(t, len(s.records))
	s.check(t)
}

// awaitDelivered returns the position after some Delivers of the child.
func awaitDelivered(t *testing.T, lines *bufio.Scanner, delivers int) (at int) {
	t.Helper()
	for delivers > 0 && lines.Scan() {
		if n, err := fmt.Sscanf(lines.Text(), "at %d", &at); n == 1 && err == nil {
			delivers--
		}
	}
	if delivers > 0 {
		t.Fatalf("the child ended: %v", lines.Err())
	}
	return at
}

func remaining(lines *bufio.Scanner) string {
	var all strings.Builder
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
	}
	return all.String()
}

func admin(t *testing.T, brokers []string) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// partitionsAdded doubles a topic's partitions between two Delivers of one sink.
func partitionsAdded(t *testing.T, b *kafkatest.Broker) {
	s := newStream(t, b.Brokers(), "partitions-added", 2000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	added := false
	met, err := s.deliver(ctx, s.open(t), len(s.records), 20, func(at int) {
		if at < 500 || added {
			return
		}
		added = true
		if _, err := admin(t, b.Brokers()).UpdatePartitions(ctx, 12, s.config.Topic); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatalf("%v, after %v", err, met)
	}
	held, err := kafkatest.ReadCommitted(t.Context(), b.Brokers(), s.config.Topic)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range held {
		id := string(r.Headers[1].Value)
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
	}
	if len(seen) != len(s.records) {
		t.Errorf("%d events are there, want %d", len(seen), len(s.records))
	}
}

// topicMadeAgain deletes the topic, and with it the position. The sink makes it again and goes on.
func topicMadeAgain(t *testing.T, b *kafkatest.Broker) {
	s := newStream(t, b.Brokers(), "made-again", 1000)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	deleted := false
	_, err := s.deliver(ctx, s.open(t), 500, 100, func(at int) {
		if at < 300 || deleted {
			return
		}
		deleted = true
		if _, err := admin(t, b.Brokers()).DeleteTopics(ctx, s.config.Topic); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.mustDeliver(t, len(s.records))
	held, err := kafkatest.ReadCommitted(t.Context(), b.Brokers(), s.config.Topic)
	events, err := decoded(s.config, held, err)
	if err != nil {
		t.Fatal(err)
	}
	// The new topic begins at an event that the old one may have had, and has each event from there on once.
	first := len(s.events) - len(events)
	if first < 0 || first > 300 {
		t.Fatalf("the new topic has %d events", len(events))
	}
	if diff := cmp.Diff(bySubject(s.events[first:]), bySubject(events)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// topicDeleted deletes one of the topics of a template. The others keep the position.
// oldOffset has the group's coordinator answer with an offset of before, or with none, as it may after a broker's restart. The last records in the topics say
// more, unless the sink was moved after them.
func oldOffset(t *testing.T, b *kafkatest.Broker) {
	for _, topic := range []string{"old-offset", "old-offset.{type}"} {
		t.Run(topic, func(t *testing.T) {
			s := newStream(t, b.Brokers(), strings.NewReplacer("{", "", "}", "").Replace(topic), 900)
			s.config.Topic = topic
			s.mustDeliver(t, 300)
			named := strings.ReplaceAll(topic, "{type}", "order.changed")
			writeBeside(t, b, named, kgo.TryAbort)
			to := admin(t, b.Brokers())
			var old kadm.Offsets
			old.Add(kadm.Offset{
				Topic: named, At: 101, LeaderEpoch: -1,
				Metadata: fmt.Sprintf("log=%s epoch=%x", s.origin.Log.ID(), uint64(s.origin.Log.Mark(101).Epoch)),
			})
			if err := to.CommitAllOffsets(t.Context(), transactionalID(s.origin), old); err != nil {
				t.Fatal(err)
			}
			s.mustReach(t, 301)
			s.mustDeliver(t, 600)
			if _, err := to.DeleteGroup(t.Context(), transactionalID(s.origin)); err != nil {
				t.Fatal(err)
			}
			s.mustReach(t, 601)
			s.mustDeliver(t, 900)
			s.check(t, named)

			writeBeside(t, b, named, kgo.TryCommit)
			writeBeside(t, b, named, kgo.TryAbort)
			s.mustReach(t, 901)
			sink := s.open(t)
			if _, _, err := sink.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := sink.MoveTo(t.Context(), 51); err != nil {
				t.Fatal(err)
			}
			s.mustReach(t, 51)
		})
	}
}

// mustReach fails unless a new opening of the sink has reached p.
func (s *stream) mustReach(t *testing.T, p sinks.Position) {
	t.Helper()
	reached, found, err := s.open(t).Resume(t.Context())
	if err != nil || !found || reached != s.origin.Reached(p) {
		t.Fatalf("reached %+v, %v, %v; want %+v", reached, found, err, s.origin.Reached(p))
	}
}

// writeBeside has another producer write to a topic, in a transaction.
func writeBeside(t *testing.T, b *kafkatest.Broker, topic string, end kgo.TransactionEndTry) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.TransactionalID("beside-"+topic), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		r := kgo.KeySliceRecord([]byte{byte(i)}, []byte("of another program"))
		r.Headers = []kgo.RecordHeader{{Key: "bridge_place", Value: []byte("9-1-9999")}}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

func topicDeleted(t *testing.T, b *kafkatest.Broker) {
	s := newStream(t, b.Brokers(), "several", 600)
	s.config.Topic = "several.{type}"
	for i, e := range s.events {
		e.Type = []string{"order.made", "order.changed", "order.paid"}[i/200]
	}
	s.records = records(t, s.events)
	s.mustDeliver(t, 400)
	if _, err := admin(t, b.Brokers()).DeleteTopics(t.Context(), "several.order.made"); err != nil {
		t.Fatal(err)
	}
	s.mustDeliver(t, 600)
	s.events = s.events[200:]
	s.check(t, "several.order.changed", "several.order.paid")
}

// timedOut has the coordinator abort a transaction in which nothing happens for longer than its time-out.
func timedOut(t *testing.T, b *kafkatest.Broker) {
	s := newStream(t, b.Brokers(), "timed-out", 3000)
	createTopic(t, b, s.config.Topic, 1<<20)
	s.config.TransactionTimeout = time.Second
	s.config.BatchBytes = 1 << 10
	sink := s.open(t)
	if _, _, err := sink.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var n int
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n, err = sink.Deliver(ctx, s.records)
	}()
	awaitOpenTransaction(t, b, s.config.Topic)
	b.Proxy.Stall()
	awaitNoTransaction(t, b, s.config.Topic)
	b.Proxy.Resume()
	<-ended
	if n != 0 || err == nil {
		t.Fatalf("%d, %v", n, err)
	}
	_, _, resumed := sink.Resume(t.Context())
	t.Logf("Deliver: %v; Resume: %v", err, resumed)
	s.mustDeliver(t, len(s.records))
	s.check(t)
}

// awaitOpenTransaction returns when a topic has records of an open transaction.
func awaitOpenTransaction(t *testing.T, b *kafkatest.Broker, topic string) {
	t.Helper()
	awaitTransaction(t, b, topic, func(end, stable int64) bool { return end > stable })
}

func awaitNoTransaction(t *testing.T, b *kafkatest.Broker, topic string) {
	t.Helper()
	awaitTransaction(t, b, topic, func(end, stable int64) bool { return end == stable })
}

func awaitTransaction(t *testing.T, b *kafkatest.Broker, topic string, is func(end, stable int64) bool) {
	t.Helper()
	to := admin(t, b.Direct())
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		ends, err := to.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		stable, err := to.ListCommittedOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		var end, committed int64
		ends.Each(func(o kadm.ListedOffset) { end += o.Offset })
		stable.Each(func(o kadm.ListedOffset) { committed += o.Offset })
		if is(end, committed) {
			return
		}
		<-again.C
	}
}
