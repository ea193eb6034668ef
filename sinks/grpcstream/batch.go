package grpcstream

import (
	"google.golang.org/protobuf/encoding/protowire"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// batchBytes is the largest size of a response with several events. A larger event is sent alone. gRPC has buffers of 32 KiB,
// and the next larger ones have 1 MiB. So this size costs little memory while a client does not read, and it is as fast as
// larger ones.
const batchBytes = 32<<10 - 16

// Field numbers of bridge.stream.v1.
const (
	eventsEvents   protowire.Number = 1 // Events.events
	deliveredToken protowire.Number = 1 // DeliveredEvent.token
	deliveredEvent protowire.Number = 2 // DeliveredEvent.event
)

// batch builds an Events message. It writes the wire format, because the log has events in wire format. To decode them, only
// so that gRPC encodes them again, would cost more than all other work of a stream.
type batch struct {
	wire []byte
}

func (b *batch) empty() bool { return len(b.wire) == 0 }

// full reports whether another event would make the batch too large.
func (b *batch) full(encoded []byte) bool {
	return !b.empty() && len(b.wire)+deliveredSize(encoded) > batchBytes
}

// grow allocates memory for as many of the records as fit into the batch.
func (b *batch) grow(records []sinks.Record) {
	size := deliveredSize(records[0].Encoded)
	for i := range records[1:] {
		next := size + deliveredSize(records[1+i].Encoded)
		if next > batchBytes {
			break
		}
		size = next
	}
	b.wire = make([]byte, 0, size)
}

// add adds an event with the token that resumes at next.
func (b *batch) add(r *Reader, next sinks.Position, encoded []byte) {
	b.wire = protowire.AppendTag(b.wire, eventsEvents, protowire.BytesType)
	b.wire = protowire.AppendVarint(b.wire, uint64(deliveredLen(encoded)))
	b.wire = protowire.AppendTag(b.wire, deliveredToken, protowire.BytesType)
	b.wire = protowire.AppendVarint(b.wire, tokenLen)
	b.wire = r.AppendToken(b.wire, next)
	b.wire = protowire.AppendTag(b.wire, deliveredEvent, protowire.BytesType)
	b.wire = protowire.AppendBytes(b.wire, encoded)
}

// response returns the batch as a message. Its events are unknown fields of an Events message, which the encoder copies
// without a change. The client decodes them as normal fields. The batch must not be used after this, since gRPC may keep the
// message.
func (b *batch) response() *streamv1.TailResponse {
	events := &streamv1.Events{}
	events.ProtoReflect().SetUnknown(b.wire)
	return &streamv1.TailResponse{Message: &streamv1.TailResponse_Events{Events: events}}
}

// deliveredLen is the length of a DeliveredEvent.
func deliveredLen(encoded []byte) int {
	return 1 + protowire.SizeBytes(tokenLen) + 1 + protowire.SizeBytes(len(encoded))
}

// deliveredSize is the length of a DeliveredEvent as an element of Events.events.
func deliveredSize(encoded []byte) int {
	return 1 + protowire.SizeBytes(deliveredLen(encoded))
}
