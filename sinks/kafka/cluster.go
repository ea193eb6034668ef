package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// connectWithin limits the time of connecting, for all brokers together.
const connectWithin = 10 * time.Second

// connectOneWithin is the least time for one broker, also with many brokers.
const connectOneWithin = 3 * time.Second

// cluster is the destination: its metadata, and connections to it. kafka-go's Transport caches both. After an error, reset
// makes it forget them, so that the next attempt reads the current state.
type cluster struct {
	client      *kafkago.Client
	transport   *kafkago.Transport
	connections *connections
	create      *CreateTopics
}

func newCluster(c resolved) *cluster {
	each := max(connectWithin/time.Duration(len(c.brokers)), connectOneWithin)
	conns := newConnections(&net.Dialer{Timeout: each})
	t := &kafkago.Transport{
		Dial:        conns.dial,
		DialTimeout: max(connectWithin, each*time.Duration(len(c.brokers))),
		ClientID:    c.clientID,
		TLS:         c.tls,
		SASL:        c.sasl,
	}
	if topic := c.topic.fixed(); topic != "" {
		// A cluster may have very many other topics.
		t.MetadataTopics = []string{topic}
	}
	client := &kafkago.Client{Addr: kafkago.TCP(c.brokers...), Timeout: c.timeout, Transport: t}
	return &cluster{client: client, transport: t, connections: conns, create: c.create}
}

// checkReachable returns an error unless brokers answer and the topic, if not "", exists.
func (c *cluster) checkReachable(ctx context.Context, topic string) error {
	if topic != "" {
		_, err := c.partitions(ctx, topic)
		return err
	}
	_, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{}})
	return err
}

// partitions returns the numbers of a topic's partitions. It creates a missing topic if that is configured.
func (c *cluster) partitions(ctx context.Context, topic string) ([]int, error) {
	found, err := c.findPartitions(ctx, topic)
	if errors.Is(err, kafkago.UnknownTopicOrPartition) {
		if c.create == nil {
			return nil, errors.New("it does not exist; create it, or set create_topics")
		}
		if err := c.createTopic(ctx, topic); err != nil {
			return nil, fmt.Errorf("create it: %w", err)
		}
		found, err = c.findPartitions(ctx, topic)
	}
	return found, err
}

func (c *cluster) findPartitions(ctx context.Context, topic string) ([]int, error) {
	answer, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	t := answer.Topics[0]
	if t.Error != nil {
		return nil, t.Error
	}
	numbers := make([]int, len(t.Partitions))
	for i, p := range t.Partitions {
		numbers[i] = p.ID
	}
	if len(numbers) == 0 {
		return nil, kafkago.LeaderNotAvailable
	}
	return numbers, nil
}

func (c *cluster) createTopic(ctx context.Context, topic string) error {
	orDefault := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	answer, err := c.client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic:             topic,
		NumPartitions:     orDefault(c.create.Partitions),
		ReplicationFactor: orDefault(c.create.Replication),
	}}})
	if err != nil {
		return err
	}
	if err := answer.Errors[topic]; err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		return err
	}
	return nil
}

// produce writes the next count records of a batch in one request. It returns nil when all in-sync replicas have them.
func (c *cluster) produce(ctx context.Context, b *partitionBatch, count int, compression kafkago.Compression) error {
	answer, err := c.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic:        b.topic,
		Partition:    b.partition,
		RequiredAcks: kafkago.RequireAll,
		Records:      kafkago.NewRecordReader(b.records(count)...),
		Compression:  compression,
	})
	if err != nil {
		return err
	}
	return answer.Error
}

// reset closes all connections and forgets the metadata. Requests in progress fail.
func (c *cluster) reset() {
	c.connections.closeAll()
	c.transport.CloseIdleConnections()
}

// closeAfter closes all connections, and so ends the requests in progress, when ctx has been done for d. After stop has
// returned, it does not do so any more.
func (c *cluster) closeAfter(ctx context.Context, d time.Duration) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(ended)
		late := time.NewTimer(d)
		defer late.Stop()
		select {
		case <-late.C:
			c.connections.closeAll()
		case <-over:
		}
	})
	return func() {
		close(over)
		if !unwatch() {
			<-ended
		}
	}
}

// connections are the open connections and the ones that are being opened.
type connections struct {
	dialer *net.Dialer

	mu    sync.Mutex
	open  map[*connection]bool
	ctx   context.Context // Of the dials in progress.
	abort context.CancelFunc
}

type connection struct {
	net.Conn
	in *connections
}

func newConnections(d *net.Dialer) *connections {
	l := &connections{dialer: d, open: map[*connection]bool{}}
	l.ctx, l.abort = context.WithCancel(context.Background())
	return l
}

func (l *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	until := l.ctx
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(until, cancel)()
	conn, err := l.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := until.Err(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	one := &connection{conn, l}
	l.open[one] = true
	return one, nil
}

// closeAll closes all connections and cancels the dials.
func (l *connections) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abort()
	l.ctx, l.abort = context.WithCancel(context.Background())
	for one := range l.open {
		// An error of closing an abandoned connection does not matter.
		_ = one.Conn.Close()
	}
	clear(l.open)
}

func (o *connection) Close() error {
	o.in.mu.Lock()
	delete(o.in.open, o)
	o.in.mu.Unlock()
	return o.Conn.Close()
}
