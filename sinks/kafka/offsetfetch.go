package kafka

import (
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/webhook-bridge/bridge/sinks"
)

// stableVersion is the first version of OffsetFetch that can ask for stable offsets. kafka-go knows older ones only. Brokers have
// had it since Kafka 2.5, as the version of InitProducerId that names the session before.
const stableVersion = 7

// stableOffsets asks for a group's offsets, none of which an unfinished transaction is about to change. The coordinator of the
// transactions may have finished one that the group's coordinator has not applied yet. Without partitions it asks for all offsets
// that are stored. A partition's first offset is not among these before its transaction has ended.
func stableOffsets(group string, partitions []topicPartition) flexible {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Version, request.Group, request.RequireStable = stableVersion, group, true
	for topic, ids := range byTopic(partitions) {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = topic, ids
		request.Topics = append(request.Topics, t)
	}
	return flexible{request}
}

// storedOffsets returns the offsets of an answer. Its error is [kafkago.UnstableOffsetCommit] if a transaction is about to change
// some of them; these have the position 0.
func storedOffsets(a *kmsg.OffsetFetchResponse) (stored []storedOffset, err error) {
	switch code := kafkago.Error(a.ErrorCode); code {
	case 0:
	case kafkago.GroupIdNotFound:
		return nil, nil
	default:
		return nil, code
	}
	for _, topic := range a.Topics {
		for _, o := range topic.Partitions {
			at := topicPartition{topic.Topic, int(o.Partition)}
			switch code := kafkago.Error(o.ErrorCode); {
			case code == kafkago.UnstableOffsetCommit:
				stored, err = append(stored, storedOffset{at: at}), code
			case code != 0:
				return nil, code
			case o.Offset >= 0 && o.Metadata != nil:
				stored = append(stored, storedOffset{at, sinks.Position(o.Offset), *o.Metadata})
			}
		}
	}
	return stored, err
}
