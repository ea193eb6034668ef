package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/kafka"
	"github.com/webhook-bridge/bridge/sinks/kafka/kafkatest"
)

// steps are the requests of a transaction, in their order.
var steps = []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn}

// batch is the number of events in a transaction.
const batch = 100

// holdAt is the number of the transaction that is held.
const holdAt = 5

// holder holds the requests of some clients before they reach a broker.
type holder struct {
	// held has the names of clients whose request is held, until released is closed.
	held     chan string
	released chan struct{}
	release  func()

	mu   sync.Mutex
	keys map[string]kmsg.Key
	seen map[string]int
}

// hold watches the connections to nodes until the test ends.
func hold(tb testing.TB, nodes ...*kafkatest.Broker) *holder {
	h := &holder{held: make(chan string, 16), released: make(chan struct{}), keys: map[string]kmsg.Key{}, seen: map[string]int{}}
	h.release = sync.OnceFunc(func() { close(h.released) })
	for _, b := range nodes {
		kafkatest.Watch(b.Proxy, h.see)
		tb.Cleanup(func() { b.Proxy.Watch(nil) })
	}
	tb.Cleanup(h.release)
	return h
}

// before has the holder hold the stream's request of a kind, in one of its transactions.
func (h *holder) before(key kmsg.Key, s *stream) {
	s.config.ClientID = s.config.Topic
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys[s.config.ClientID] = key
}

func (h *holder) see(r kafkatest.Request) {
	h.mu.Lock()
	key, ok := h.keys[r.Client]
	if !ok || r.Key != key.Int16() {
		h.mu.Unlock()
		return
	}
	h.seen[r.Client]++
	n := h.seen[r.Client]
	h.mu.Unlock()
	if n == holdAt {
		h.held <- r.Client
		<-h.released
	}
}

// await returns when the requests of n clients are held.
func (h *holder) await(tb testing.TB, n int) {
	tb.Helper()
	late := time.After(2 * time.Minute)
	for range n {
		select {
		case <-h.held:
		case <-late:
			tb.Fatal("no client came to its step")
		}
	}
}

// killed has the process end before each step of a transaction. Another one goes on.
func killed(t *testing.T, b *kafkatest.Broker) {
	for _, key := range steps {
		t.Run("before "+key.Name(), func(t *testing.T) {
			h := hold(t, b)
			s := newStream(t, b.Brokers(), "process-killed-before-"+key.Name(), 1000)
			h.before(key, s)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sink := s.open(t)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = s.deliver(ctx, sink, len(s.records), batch, func(int) {}) // Its end is the next line's.
			}()
			h.await(t, 1)
			b.Proxy.Disconnect() // Nothing that the process does now has an effect.
			cancel()
			if err := sink.Close(); err != nil {
				t.Error(err)
			}
			<-ended
			h.release()
			b.Proxy.Resume()
			s.config.ClientID = ""
			s.mustDeliver(t, len(s.records))
			s.check(t)
		})
	}
}

// brokerKilled kills the only broker while several sinks deliver. One of them is before each step of a transaction, the others are
// anywhere. When the broker has started, it has hundreds of partitions, and does not know the leaders of all at once.
func brokerKilled(t *testing.T, b *kafkatest.Broker) {
	const partitions = 300
	manyPartitions(t, b, "killed-beside", partitions)
	h := hold(t, b)
	var streams []*stream
	for _, key := range steps {
		s := newStream(t, b.Brokers(), "broker-killed-before-"+key.Name(), 1000)
		h.before(key, s)
		streams = append(streams, s)
	}
	for i := range 4 {
		streams = append(streams, newStream(t, b.Brokers(), fmt.Sprintf("broker-killed-%d", i), 5000))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	results := make(chan error, len(streams))
	for _, s := range streams {
		go func() { results <- s.deliverReopening(ctx, t, func(int) {}) }()
	}
	h.await(t, len(steps))
	b.Kill(t)
	h.release()
	b.Restart(t)
	for range streams {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range streams {
		s.check(t)
	}
}

func manyPartitions(t *testing.T, b *kafkatest.Broker, topic string, n int32) {
	t.Helper()
	if _, err := admin(t, b.Brokers()).CreateTopic(t.Context(), n, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	kafkatest.AwaitTopic(t, b.Brokers(), topic)
}

// partitionsOffline kills the only node with some partitions, when records there are in a transaction, which ends while these
// partitions have no leader: one stream commits it, the other one aborts it.
func partitionsOffline(t *testing.T, nodes []*kafkatest.Broker) {
	h := hold(t, nodes...)
	commit, abort := newStream(t, kafkatest.Addresses(nodes), "offline-commit", 1000), newStream(t, kafkatest.Addresses(nodes), "offline-abort", 1000)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	commits, aborts := heldBefore(ctx, t, h, nodes, commit, kmsg.EndTxn), heldBefore(ctx, t, h, nodes, abort, kmsg.TxnOffsetCommit)
	h.await(t, 2)
	for _, s := range []*stream{commit, abort} {
		awaitTransaction(t, nodes[0], s.config.Topic, func(end, stable int64) bool { return end-stable >= batch })
	}
	node := uninvolved(t, nodes, commit.origin, abort.origin)
	node.Kill(t)
	aborts.cancel()
	if d := <-aborts.result; d.n != 0 || d.err == nil {
		t.Fatalf("abort: %d, %v", d.n, d.err)
	}
	abortTransaction(t, nodes, abort.origin)
	h.release()
	if d := <-commits.result; d.n != batch || d.err != nil {
		t.Fatalf("commit: %d, %v", d.n, d.err)
	}
	results := make(chan error, 2)
	for s, sink := range map[*stream]*kafka.Transactional{commit: commits.sink, abort: aborts.sink} {
		go func() {
			_, err := s.deliver(ctx, sink, len(s.records), batch, func(int) {})
			results <- err
		}()
		awaitState(t, nodes, s.origin, func(last kadm.DescribedTransaction) bool { return !strings.HasPrefix(last.State, "Prepare") })
	}
	node.Restart(t)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	commit.check(t)
	abort.check(t)
}

type delivered struct {
	n   int
	err error
}

// held is a Deliver whose transaction is held.
type held struct {
	sink   *kafka.Transactional
	cancel func()
	result chan delivered
}

// heldBefore delivers to a topic without replicas.
func heldBefore(ctx context.Context, t *testing.T, h *holder, nodes []*kafkatest.Broker, s *stream, key kmsg.Key) held {
	t.Helper()
	createTopic(t, nodes[0], s.config.Topic, 1<<20)
	h.before(key, s)
	sink := s.open(t)
	const before = (holdAt - 1) * batch
	if met, err := s.deliver(ctx, sink, before, batch, func(int) {}); err != nil || len(met) > 0 {
		t.Fatal(err, met)
	}
	ctx, cancel := context.WithCancel(ctx)
	o := held{sink, cancel, make(chan delivered, 1)}
	go func() {
		n, err := sink.Deliver(ctx, s.records[before:before+batch])
		o.result <- delivered{n, err}
	}()
	return o
}

// uninvolved returns a node that coordinates no transactions of the origins.
func uninvolved(t *testing.T, nodes []*kafkatest.Broker, from ...sinks.Origin) *kafkatest.Broker {
	t.Helper()
	left := slices.Clone(nodes)
	for _, o := range from {
		busy := coordinates(t, nodes, o, kafkago.CoordinatorKeyTypeTransaction)
		left = slices.DeleteFunc(left, func(b *kafkatest.Broker) bool { return b == busy })
	}
	return left[0]
}

func direct(nodes []*kafkatest.Broker) []string {
	var brokers []string
	for _, b := range nodes {
		brokers = append(brokers, b.Direct()...)
	}
	return brokers
}

func transactionalID(from sinks.Origin) string { return "bridge." + from.Log.ID() + "." + from.Sink }

// abortTransaction aborts the transaction of an origin unless the sink has done it. The sink has little time for that.
func abortTransaction(t *testing.T, nodes []*kafkatest.Broker, from sinks.Origin) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(direct(nodes)...), kgo.MaxVersions(kversion.V3_0_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	awaitState(t, nodes, from, func(last kadm.DescribedTransaction) bool {
		request := kmsg.NewPtrEndTxnRequest()
		request.TransactionalID, request.ProducerID, request.ProducerEpoch = last.TxnID, last.ProducerID, last.ProducerEpoch
		if last.State == "Ongoing" {
			_, _ = request.RequestWith(t.Context(), client) // The next state tells.
		}
		return last.State != "Ongoing"
	})
}

// awaitState returns when the coordinator has an origin's last transaction in a certain state.
func awaitState(t *testing.T, nodes []*kafkatest.Broker, from sinks.Origin, is func(last kadm.DescribedTransaction) bool) {
	t.Helper()
	name, to := transactionalID(from), admin(t, direct(nodes))
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(time.Minute)
	for {
		states, err := to.DescribeTransactions(t.Context(), name)
		if err == nil && states[name].Err == nil && is(states[name]) {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("the transaction of %s is %s, %v", name, states[name].State, err)
		}
	}
}

func awaitReached(reached <-chan int, n int) {
	for at := range reached {
		if at >= n {
			return
		}
	}
}

// deliverReopening delivers all events, and opens the sink again when it is fenced.
func (s *stream) deliverReopening(ctx context.Context, tb testing.TB, each func(int)) error {
	for {
		_, err := s.deliver(ctx, s.open(tb), len(s.records), batch, each)
		if !errors.Is(err, sinks.ErrFenced) {
			return err
		}
	}
}

// TestRealCluster judges the transactions of a Kafka of three nodes.
func TestRealCluster(t *testing.T) {
	nodes := kafkatest.StartCluster(t, 3, "default.replication.factor=3", "min.insync.replicas=2")
	t.Run("coordinator moves", func(t *testing.T) { coordinatorMoves(t, nodes) })
	t.Run("partitions offline", func(t *testing.T) { partitionsOffline(t, nodes) })
}

// coordinatorMoves kills the node that coordinates the transactions, and then the one that coordinates the group.
func coordinatorMoves(t *testing.T, nodes []*kafkatest.Broker) {
	s := newStream(t, kafkatest.Addresses(nodes), "moves", 6000)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	reached := make(chan int, len(s.records))
	result := make(chan error, 1)
	go func() {
		defer close(reached)
		result <- s.deliverReopening(ctx, t, func(at int) { reached <- at })
	}()
	for i, kind := range []kafkago.CoordinatorKeyType{kafkago.CoordinatorKeyTypeTransaction, kafkago.CoordinatorKeyTypeConsumer} {
		awaitReached(reached, 1000+2500*i)
		node := coordinates(t, nodes, s.origin, kind)
		node.Kill(t)
		awaitReached(reached, 2500+2500*i) // Without the node.
		node.Restart(t)
		t.Logf("node %d was killed, and started again", node.ID)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	s.check(t)
}

// coordinates returns the node that coordinates the origin's transactions or its group.
func coordinates(t *testing.T, nodes []*kafkatest.Broker, from sinks.Origin, kind kafkago.CoordinatorKeyType) *kafkatest.Broker {
	t.Helper()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(kafkatest.Addresses(nodes)...), Transport: transport}
	answer, err := client.FindCoordinator(t.Context(), &kafkago.FindCoordinatorRequest{Key: transactionalID(from), KeyType: kind})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		t.Fatal(err)
	}
	return nodes[answer.Coordinator.NodeID-1]
}
