package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/webhook-bridge/bridge/sinks/connections"
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
	connections *connections.Set
	create      *CreateTopics
}

func newCluster(c resolved) *cluster {
	each := max(connectWithin/time.Duration(len(c.brokers)), connectOneWithin)
	conns := connections.New(&net.Dialer{Timeout: each})
	t := &kafkago.Transport{
		Dial:        conns.Dial,
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
	c.connections.CloseAll()
	c.transport.CloseIdleConnections()
}
