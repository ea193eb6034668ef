package dispatch

import (
	"hash/fnv"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of bridge.event.v1.Event that make the ordering key.
const (
	sourceField  = 3
	subjectField = 6
)

// laneOf says which of so many lanes an encoded event belongs to: the same one for all events of a source and subject.
// Bytes that are no event belong to some lane too.
func laneOf(encoded []byte, lanes int) int {
	if lanes == 1 {
		return 0
	}
	source, subject := orderingKey(encoded)
	h := fnv.New32a()
	_, _ = h.Write(source) // never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(subject)
	return int(h.Sum32() % uint32(lanes))
}

// orderingKey finds source and subject without decoding the rest. Of a field that is there twice the last one counts, as
// when decoding.
func orderingKey(b []byte) (source, subject []byte) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return source, subject
		}
		b = b[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
				return source, subject
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return source, subject
		}
		b = b[n:]
		switch field {
		case sourceField:
			source = v
		case subjectField:
			subject = v
		}
	}
	return source, subject
}
