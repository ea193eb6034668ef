package kafkatest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
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

// stableWithin limits the time in which the markers of a transaction that was just ended are awaited.
const stableWithin = 5 * time.Second

// ReadCommitted behaves like Read for a consumer with isolation.level=read_committed. It waits a while for the end of transactions.
func ReadCommitted(ctx context.Context, brokers []string, topics ...string) ([]*kgo.Record, error) {
	return readAll(ctx, kgo.ReadCommitted(), brokers, topics)
}

func readAll(ctx context.Context, level kgo.IsolationLevel, brokers, topics []string) ([]*kgo.Record, error) {
	type topicPartition struct {
		topic     string
		partition int32
	}
	records := map[topicPartition][]*kgo.Record{}
	err := Each(ctx, level, brokers, topics, func(r *kgo.Record) {
		if p := (topicPartition{r.Topic, r.Partition}); !r.Attrs.IsControl() {
			records[p] = append(records[p], r)
		}
	})
	var all []*kgo.Record
	for _, p := range slices.SortedFunc(maps.Keys(records), func(a, b topicPartition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	}) {
		all = append(all, records[p]...)
	}
	return all, err
}

// Each calls visit with each current record of topics, and with the markers of transactions, which are control records. It keeps the
// order within a partition.
func Each(ctx context.Context, level kgo.IsolationLevel, brokers, topics []string, visit func(*kgo.Record)) error {
	// The markers of transactions have offsets too: with them the end is seen.
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(128<<20), kgo.FetchMaxPartitionBytes(100<<20), kgo.BrokerMaxReadBytes(256<<20))
	if err != nil {
		return fmt.Errorf("kafkatest: read: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err == nil && level == kgo.ReadCommitted() {
		ends, err = awaitStable(ctx, admin, ends)
	}
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("kafkatest: read: %w", err)
	}
	type topicPartition struct {
		topic     string
		partition int32
	}
	left := map[topicPartition]int64{}
	from := map[string]map[int32]kgo.Offset{}
	for _, o := range ends.Offsets().Sorted() {
		if o.At == 0 {
			continue
		}
		p := topicPartition{o.Topic, o.Partition}
		left[p] = o.At
		if from[o.Topic] == nil {
			from[o.Topic] = map[int32]kgo.Offset{}
		}
		from[o.Topic][o.Partition] = kgo.NewOffset().AtStart()
	}
	client.AddConsumePartitions(from)
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return fmt.Errorf("kafkatest: read: %w", err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			visit(r)
			if p := (topicPartition{r.Topic, r.Partition}); r.Offset+1 >= left[p] {
				delete(left, p)
			}
		})
	}
	return nil
}

// awaitStable returns the ends of committed records, when all records before ends are committed or aborted, or after stableWithin.
func awaitStable(ctx context.Context, admin *kadm.Client, ends kadm.ListedOffsets) (kadm.ListedOffsets, error) {
	late := time.Now().Add(stableWithin)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		stable, err := admin.ListCommittedOffsets(ctx, slices.Collect(maps.Keys(ends))...)
		open := false
		stable.Each(func(o kadm.ListedOffset) {
			end, _ := ends.Lookup(o.Topic, o.Partition)
			open = open || o.Offset < end.Offset
		})
		if err != nil || !open || time.Now().After(late) {
			return stable, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
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
