package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Offsets in a record set of format version 2, as the Produce request has it: a length of four bytes, and one batch of records.
// kafka-go encodes it, but without a producer. See "Record Batch" at https://kafka.apache.org/documentation/#messageformat.
const (
	setCRC        = 4 + 17
	setAttributes = 4 + 21 // The checksum covers the bytes from here on.
	setProducerID = 4 + 43
	setEpoch      = 4 + 51
	setSequence   = 4 + 53
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordSet returns a chunk as a record set.
func recordSet(c *chunk, compress kafkago.Compression, more protocol.Attributes) ([]byte, error) {
	if c.encoded != nil && c.acked == 0 && c.count == c.encodedCount {
		return c.encoded, nil
	}
	set := protocol.RecordSet{
		Version:    2,
		Attributes: protocol.Attributes(compress) | more,
		Records:    kafkago.NewRecordReader(c.records(c.count)...),
	}
	var to bytes.Buffer
	to.Grow(c.bytes + 128)
	if _, err := set.WriteTo(&to); err != nil {
		return nil, err
	}
	return to.Bytes(), nil
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

// setProducer makes a record set a part of a session. The first record has the given sequence number.
func setProducer(set []byte, by session, sequence int32) {
	binary.BigEndian.PutUint64(set[setProducerID:], uint64(by.id))
	binary.BigEndian.PutUint16(set[setEpoch:], uint16(by.epoch))
	binary.BigEndian.PutUint32(set[setSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(set[setCRC:], crc32.Checksum(set[setAttributes:], castagnoli))
}

// addSequence returns the sequence number that is n records after from. After the greatest one comes 0.
func addSequence(from int32, n int) int32 {
	return int32((int64(from) + int64(n)) & (1<<31 - 1))
}
