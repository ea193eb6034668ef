package kafkatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Read returns all current records of topics, partition by partition, each in order. It uses another client than the sink. It
// returns the records of transactions that were aborted, or are open, too.
func Read(ctx context.Context, brokers []string, topics ...string) ([]*kgo.Record, error) {
	return readAll(ctx, kgo.ReadUncommitted(), brokers, topics)
}

// ReadCommitted behaves like Read for a consumer with isolation.level=read_committed.
func ReadCommitted(ctx context.Context, brokers []string, topics ...string) ([]*kgo.Record, error) {
	return readAll(ctx, kgo.ReadCommitted(), brokers, topics)
}

func readAll(ctx context.Context, level kgo.IsolationLevel, brokers, topics []string) ([]*kgo.Record, error) {
	// The markers of transactions have offsets too: with them the end is seen.
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(128<<20), kgo.FetchMaxPartitionBytes(100<<20), kgo.BrokerMaxReadBytes(256<<20))
	if err != nil {
		return nil, fmt.Errorf("kafkatest: read: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	list := admin.ListEndOffsets
	if level == kgo.ReadCommitted() {
		list = admin.ListCommittedOffsets
	}
	ends, err := list(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("kafkatest: read: %w", err)
	}
	type topicPartition struct {
		topic     string
		partition int32
	}
	left := map[topicPartition]int64{}
	from := map[string]map[int32]kgo.Offset{}
	var order []topicPartition
	for _, o := range ends.Offsets().Sorted() {
		if o.At == 0 {
			continue
		}
		p := topicPartition{o.Topic, o.Partition}
		left[p] = o.At
		order = append(order, p)
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().AtStart()
	}
	client.AddConsumePartitions(from)
	records := map[topicPartition][]*kgo.Record{}
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("kafkatest: read: %w", err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			p := topicPartition{r.Topic, r.Partition}
			if !r.Attrs.IsControl() {
				records[p] = append(records[p], r)
			}
			if r.Offset+1 >= left[p] {
				delete(left, p)
			}
		})
	}
	var all []*kgo.Record
	for _, p := range order {
		all = append(all, records[p]...)
	}
	return all, nil
}

// AwaitTopic returns when every partition of a new topic has a leader that knows it.
func AwaitTopic(tb testing.TB, brokers []string, topic string) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		ends, err := kadm.NewClient(client).ListEndOffsets(tb.Context(), topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-tb.Context().Done():
			tb.Fatal(err)
		}
	}
}
