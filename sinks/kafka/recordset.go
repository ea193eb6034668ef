package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/webhook-bridge/bridge/sinks"
)

// A record set of format version 2, as the Produce request has it, is a length of four bytes and one batch of records. See "Record
// Batch" at https://kafka.apache.org/documentation/#messageformat. kafka-go can encode one, but without a producer, and in several times
// the time; kmsg encodes the parts.
const (
	lengthSize = 4
	batchSize  = 61 // Of a batch without records.

	setBatchLength = lengthSize + 8
	setCRC         = lengthSize + 17
	setAttributes  = lengthSize + 21 // The checksum covers the bytes from here on.
	setProducerID  = lengthSize + 43
	setEpoch       = lengthSize + 51
	setSequence    = lengthSize + 53
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// noSession is that of records without a producer.
var noSession = session{-1, -1}

// recordSet returns a chunk as a record set, which must be sealed.
func recordSet(c *chunk, compress kafkago.Compression, more protocol.Attributes) ([]byte, error) {
	if c.encoded != nil && c.acked == 0 && c.count == c.encodedCount {
		return c.encoded, nil
	}
	messages := c.messages[c.acked : c.acked+c.count]
	if c.place != nil {
		messages = withPlace(messages, c.place)
	}
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1,
		Magic:                2,
		Attributes:           int16(protocol.Attributes(compress) | more),
		LastOffsetDelta:      int32(c.count - 1),
		FirstTimestamp:       messages[0].timestamp(),
		NumRecords:           int32(c.count),
	}
	for _, m := range messages {
		batch.MaxTimestamp = max(batch.MaxTimestamp, m.timestamp())
	}
	set := make([]byte, lengthSize, lengthSize+batchSize+c.bytes)
	set = batch.AppendTo(set)
	if codec := compress.Codec(); codec == nil {
		set = appendRecords(set, messages)
	} else {
		to := bytes.NewBuffer(set)
		w := codec.NewWriter(to)
		_, err := w.Write(appendRecords(make([]byte, 0, c.bytes), messages))
		if err := errors.Join(err, w.Close()); err != nil {
			return nil, err
		}
		set = to.Bytes()
	}
	binary.BigEndian.PutUint32(set, uint32(len(set)-lengthSize))
	binary.BigEndian.PutUint32(set[setBatchLength:], uint32(len(set)-setBatchLength-4))
	return set, nil
}

// withPlace returns messages of which the last one has the place after it.
func withPlace(messages []*message, place func(sinks.Position) []byte) []*message {
	n := len(messages) - 1
	last := *messages[n]
	last.headers = append(slices.Clip(last.headers), kmsg.Header{Key: placeHeader, Value: place(last.position)})
	return append(slices.Clip(messages[:n]), &last)
}

// appendRecords appends messages as the records of a batch.
func appendRecords(to []byte, messages []*message) []byte {
	var body []byte
	first := messages[0].timestamp()
	for i, m := range messages {
		r := kmsg.Record{TimestampDelta64: m.timestamp() - first, OffsetDelta: int32(i), Key: m.key, Value: m.value, Headers: m.headers}
		body = r.AppendTo(body[:0])[1:] // Without the length, which is 0 here.
		to = binary.AppendVarint(to, int64(len(body)))
		to = append(to, body...)
	}
	return to
}

// encodeAhead encodes the first chunk of each batch, concurrently.
func (s *Sink) encodeAhead(batches []*partitionBatch, end int, more protocol.Attributes) {
	var encoders sync.WaitGroup
	for _, b := range batches {
		if b.encoded != nil {
			continue
		}
		encoders.Go(func() {
			c := s.nextChunk(b, end)
			if set, err := recordSet(c, s.compress, more); err == nil { // Otherwise writing fails.
				b.encoded, b.encodedCount = set, c.count
			}
		})
	}
	encoders.Wait()
}

// seal makes a record set a part of a session, and complete. The first record has the given sequence number.
func seal(set []byte, by session, sequence int32) {
	binary.BigEndian.PutUint64(set[setProducerID:], uint64(by.id))
	binary.BigEndian.PutUint16(set[setEpoch:], uint16(by.epoch))
	binary.BigEndian.PutUint32(set[setSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(set[setCRC:], crc32.Checksum(set[setAttributes:], castagnoli))
}

// addSequence returns the sequence number that is n records after from. After the greatest one comes 0.
func addSequence(from int32, n int) int32 {
	return int32((int64(from) + int64(n)) & (1<<31 - 1))
}
