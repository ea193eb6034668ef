package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// stableVersion is the first version of OffsetFetch that can ask for stable offsets. kafka-go knows older ones only. Brokers have
	// had it since Kafka 2.5, as the version of InitProducerId that names the session before.
	stableVersion = 7
	// largestAnswer limits an answer that is read as a whole, in bytes.
	largestAnswer = 16 << 20
)

// stableOffsets asks for all offsets of a group, none of which an unfinished transaction is about to change. The coordinator of the
// transactions may have finished one that the group's coordinator has not applied yet.
type stableOffsets struct{ group string }

// ApiKey implements [protocol.Message].
func (stableOffsets) ApiKey() protocol.ApiKey { //nolint:revive // The interface is kafka-go's.
	return protocol.OffsetFetch
}

type offsetsAnswer struct{ *kmsg.OffsetFetchResponse }

// ApiKey implements [protocol.Message].
func (offsetsAnswer) ApiKey() protocol.ApiKey { //nolint:revive // The interface is kafka-go's.
	return protocol.OffsetFetch
}

func (f stableOffsets) exchange(rw io.ReadWriter, client string) (protocol.Message, error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Version, request.Group, request.RequireStable = stableVersion, f.group, true
	request.Topics = nil // All.
	if _, err := rw.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(client)).AppendRequest(nil, request, 1)); err != nil {
		return nil, err
	}
	body, err := readAnswer(rw)
	if err != nil {
		return nil, err
	}
	answer := kmsg.NewPtrOffsetFetchResponse()
	answer.Version = stableVersion
	if err := answer.ReadFrom(body); err != nil {
		return nil, err
	}
	return offsetsAnswer{answer}, nil
}

// readAnswer returns the body of an answer with a flexible header: a correlation id, and tags, of which there are none.
func readAnswer(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	const header = 4 + 1
	n := binary.BigEndian.Uint32(size[:])
	if n < header || n > largestAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(r, answer); err != nil {
		return nil, err
	}
	if answer[header-1] != 0 {
		return nil, errors.New("an answer with a header of unknown tags")
	}
	return answer[header:], nil
}

// stored returns the offsets of the answer.
func (a offsetsAnswer) stored() (stored []storedOffset, err error) {
	switch code := kafkago.Error(a.ErrorCode); code {
	case 0:
	case kafkago.GroupIdNotFound:
		return nil, nil
	default:
		return nil, code
	}
	for _, topic := range a.Topics {
		for _, o := range topic.Partitions {
			if o.ErrorCode != 0 {
				return nil, kafkago.Error(o.ErrorCode)
			}
			if o.Offset >= 0 && o.Metadata != nil {
				at := topicPartition{topic.Topic, int(o.Partition)}
				stored = append(stored, storedOffset{at, sinks.Position(o.Offset), *o.Metadata})
			}
		}
	}
	return stored, nil
}
