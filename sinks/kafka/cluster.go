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

// connectWithin is how long connecting may take, all brokers tried.
const connectWithin = 10 * time.Second

// connectOneWithin is what a broker is given at least, however many there are.
const connectOneWithin = 3 * time.Second

// cluster is the far side: its layout, and connections to it. kafka-go's Transport keeps both, and its own time; after anything
// went wrong, reset makes it forget them, so that the next attempt sees what is true then.
type cluster struct {
	client    *kafkago.Client
	transport *kafkago.Transport
	lines     *lines
	create    *CreateTopics
}

func newCluster(c resolved) *cluster {
	each := max(connectWithin/time.Duration(len(c.brokers)), connectOneWithin)
	l := newLines(&net.Dialer{Timeout: each})
	t := &kafkago.Transport{
		Dial:        l.dial,
		DialTimeout: max(connectWithin, each*time.Duration(len(c.brokers))),
		ClientID:    c.clientID,
		TLS:         c.tls,
		SASL:        c.sasl,
	}
	if topic := c.topic.fixed(); topic != "" {
		// Clusters may have very many others.
		t.MetadataTopics = []string{topic}
	}
	client := &kafkago.Client{Addr: kafkago.TCP(c.brokers...), Timeout: c.timeout, Transport: t}
	return &cluster{client: client, transport: t, lines: l, create: c.create}
}

// check returns an error unless brokers answer and the topic, unless it is "", is there.
func (c *cluster) check(ctx context.Context, topic string) error {
	if topic != "" {
		_, err := c.partitions(ctx, topic)
		return err
	}
	_, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{}})
	return err
}

// partitions returns the numbers of a topic's partitions. It makes the topic if it is missing and that was asked for.
func (c *cluster) partitions(ctx context.Context, topic string) ([]int, error) {
	found, err := c.find(ctx, topic)
	if errors.Is(err, kafkago.UnknownTopicOrPartition) {
		if c.create == nil {
			return nil, errors.New("it does not exist; create it, or set create_topics")
		}
		if err := c.make(ctx, topic); err != nil {
			return nil, fmt.Errorf("create it: %w", err)
		}
		found, err = c.find(ctx, topic)
	}
	return found, err
}

func (c *cluster) find(ctx context.Context, topic string) ([]int, error) {
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

func (c *cluster) make(ctx context.Context, topic string) error {
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

// produce writes the next count records of a share, in one request, and returns nil when all in-sync replicas have them.
func (c *cluster) produce(ctx context.Context, h *share, count int, compression kafkago.Compression) error {
	answer, err := c.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic:        h.topic,
		Partition:    h.partition,
		RequiredAcks: kafkago.RequireAll,
		Records:      kafkago.NewRecordReader(h.records(count)...),
		Compression:  compression,
	})
	if err != nil {
		return err
	}
	return answer.Error
}

// reset closes all connections and forgets the layout. Nothing may be under way that is to succeed.
func (c *cluster) reset() {
	c.lines.cut()
	c.transport.CloseIdleConnections()
}

// cutAfter closes all connections, and so ends requests under way, when ctx has been done for d. When the returned function has
// returned, it does not any more.
func (c *cluster) cutAfter(ctx context.Context, d time.Duration) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(ended)
		late := time.NewTimer(d)
		defer late.Stop()
		select {
		case <-late.C:
			c.lines.cut()
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

// lines are the connections that are open or being opened.
type lines struct {
	dialer *net.Dialer

	mu    sync.Mutex
	open  map[*line]bool
	ctx   context.Context // Of the dialing under way.
	abort context.CancelFunc
}

type line struct {
	net.Conn
	in *lines
}

func newLines(d *net.Dialer) *lines {
	l := &lines{dialer: d, open: map[*line]bool{}}
	l.ctx, l.abort = context.WithCancel(context.Background())
	return l
}

func (l *lines) dial(ctx context.Context, network, address string) (net.Conn, error) {
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
	one := &line{conn, l}
	l.open[one] = true
	return one, nil
}

// cut closes all, and gives up what is being opened.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.abort()
	l.ctx, l.abort = context.WithCancel(context.Background())
	for one := range l.open {
		// Nobody can do anything about an error of closing what is given up.
		_ = one.Conn.Close()
	}
	clear(l.open)
}

func (o *line) Close() error {
	o.in.mu.Lock()
	delete(o.in.open, o)
	o.in.mu.Unlock()
	return o.Conn.Close()
}
