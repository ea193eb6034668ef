package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"github.com/webhook-bridge/bridge/sinks/connections"
)

// connectWithin limits the time of connecting, for all brokers together.
const connectWithin = 10 * time.Second

// connectOneWithin is the least time for one broker, also with many brokers.
const connectOneWithin = 3 * time.Second

const (
	// leadersWithin limits the time until the partitions of a new topic have leaders, leadersWait is the time between two looks.
	leadersWithin = 10 * time.Second
	leadersWait   = 20 * time.Millisecond
)

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

// partitions are those of a topic.
type partitions struct {
	ids     []int
	leaders map[int]int // The id of each partition's leader, or -1.
}

// partitions returns a topic's partitions. It creates a missing topic if that is configured.
func (c *cluster) partitions(ctx context.Context, topic string) (partitions, error) {
	found, err := c.findPartitions(ctx, topic)
	if errors.Is(err, kafkago.UnknownTopicOrPartition) {
		if c.create == nil {
			return partitions{}, errors.New("it does not exist; create it, or set create_topics")
		}
		if err := c.createTopic(ctx, topic); err != nil {
			return partitions{}, fmt.Errorf("create it: %w", err)
		}
		found, err = c.awaitLeaders(ctx, topic)
	}
	return found, err
}

// awaitLeaders returns a new topic's partitions when each has a leader that is ready for records. Records that are
// sent earlier fail, and those that other partitions stored meanwhile would be sent again.
func (c *cluster) awaitLeaders(ctx context.Context, topic string) (partitions, error) {
	ctx, cancel := context.WithTimeout(ctx, leadersWithin)
	defer cancel()
	for {
		found, err := c.findPartitions(ctx, topic)
		if err == nil {
			err = c.askLeaders(ctx, topic, found.ids)
		}
		if err == nil {
			return found, nil
		}
		if !pause(ctx, leadersWait) {
			return partitions{}, fmt.Errorf("its new partitions have no leaders: %w", err)
		}
		c.reset() // Forget the old metadata.
	}
}

// askLeaders returns an error unless the leader of each partition answers for it.
func (c *cluster) askLeaders(ctx context.Context, topic string, partitions []int) error {
	ask := make([]kafkago.OffsetRequest, len(partitions))
	for i, p := range partitions {
		ask[i] = kafkago.LastOffsetOf(p)
	}
	answer, err := c.client.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: ask}})
	if err != nil {
		return err
	}
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return p.Error
		}
	}
	return nil
}

func (c *cluster) findPartitions(ctx context.Context, topic string) (partitions, error) {
	answer, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return partitions{}, err
	}
	t := answer.Topics[0]
	if t.Error != nil {
		return partitions{}, t.Error
	}
	if len(t.Partitions) == 0 {
		return partitions{}, kafkago.LeaderNotAvailable
	}
	found := partitions{leaders: map[int]int{}}
	for _, p := range t.Partitions {
		found.ids = append(found.ids, p.ID)
		found.leaders[p.ID] = p.Leader.ID
		if p.Leader.Host == "" {
			found.leaders[p.ID] = -1
		}
	}
	return found, nil
}

// topicsOf returns partition 0 of the topics that a template may have made. A fixed topic need not be looked for.
func (c *cluster) topicsOf(ctx context.Context, template topicTemplate) ([]topicPartition, error) {
	if template.fixed() != "" {
		return nil, nil
	}
	answer, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	var found []topicPartition
	for _, t := range answer.Topics {
		if !t.Internal && template.Matches(t.Name) {
			found = append(found, topicPartition{topic: t.Name})
		}
	}
	return found, nil
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

// produce writes chunks of partitions with one leader, in one request, and sets their errors. Those without an error are in all
// in-sync replicas. Function encode returns a chunk's record set.
func (c *cluster) produce(ctx context.Context, chunks []*chunk, transactionalID string, encode func(*chunk) ([]byte, error)) {
	sent := map[topicPartition]*chunk{}
	topics := map[string][]rawproduce.RequestPartition{}
	for _, k := range chunks {
		var set []byte
		if set, k.err = encode(k); k.err != nil {
			continue
		}
		sent[k.topicPartition] = k
		topics[k.topic] = append(topics[k.topic], rawproduce.RequestPartition{
			Partition: int32(k.partition), RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(set)},
		})
	}
	request := &rawproduce.Request{
		TransactionalID: transactionalID,
		Acks:            int16(kafkago.RequireAll),
		// The rest of the time is for the way.
		Timeout: int32(c.client.Timeout.Milliseconds() / 2),
	}
	for topic, partitions := range topics {
		request.Topics = append(request.Topics, rawproduce.RequestTopic{Topic: topic, Partitions: partitions})
	}
	ctx, cancel := context.WithTimeout(ctx, c.client.Timeout)
	defer cancel()
	answer, err := c.transport.RoundTrip(ctx, c.client.Addr, request)
	if err != nil {
		for _, k := range sent {
			k.err = err
		}
		return
	}
	setResults(sent, answer.(*produce.Response))
}

func setResults(sent map[topicPartition]*chunk, answer *produce.Response) {
	for _, k := range sent {
		k.err = errNoAnswer
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			k := sent[topicPartition{t.Topic, int(p.Partition)}]
			switch {
			case k == nil:
			case p.ErrorCode == 0:
				k.err, k.offset = nil, p.BaseOffset
			case p.ErrorMessage != "":
				k.err = fmt.Errorf("%w: %s", kafkago.Error(p.ErrorCode), p.ErrorMessage)
			default:
				k.err = kafkago.Error(p.ErrorCode)
			}
		}
	}
}

// errNoAnswer means that a broker did not answer for a partition.
var errNoAnswer = errors.New("the broker's answer leaves the partition out")

// reset closes all connections and forgets the metadata. Requests in progress fail.
func (c *cluster) reset() {
	c.connections.CloseAll()
	c.transport.CloseIdleConnections()
}
