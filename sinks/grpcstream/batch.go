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

// delivered is an event as a client gets it.
type delivered struct {
	event []byte // A bridge.event.v1.Event.
	rest  []byte // The fields of a DeliveredEvent behind the event.
}

func (b *batch) empty() bool { return len(b.wire) == 0 }

// full reports whether another event would make the batch too large.
func (b *batch) full(d delivered) bool {
	return !b.empty() && len(b.wire)+d.size() > batchBytes
}

// grow allocates memory for an event, and for as many of the records behind it as fit into the batch.
func (b *batch) grow(first delivered, rest []sinks.Record) {
	size := first.size()
	for i := range rest {
		next := size + delivered{event: rest[i].Encoded}.size()
		if next > batchBytes {
			break
		}
		size = next
	}
	b.wire = make([]byte, 0, size)
}

// add adds an event with the token that resumes at next.
func (b *batch) add(r *Reader, next sinks.Position, d delivered) {
	b.wire = protowire.AppendTag(b.wire, eventsEvents, protowire.BytesType)
	b.wire = protowire.AppendVarint(b.wire, uint64(d.len()))
	b.wire = protowire.AppendTag(b.wire, deliveredToken, protowire.BytesType)
	b.wire = protowire.AppendVarint(b.wire, tokenLen)
	b.wire = r.AppendToken(b.wire, next)
	b.wire = protowire.AppendTag(b.wire, deliveredEvent, protowire.BytesType)
	b.wire = protowire.AppendBytes(b.wire, d.event)
	b.wire = append(b.wire, d.rest...)
}

// response returns the batch as a message. Its events are unknown fields of an Events message, which the encoder copies
// without a change. The client decodes them as normal fields. The batch must not be changed after this, since gRPC may keep the
// message.
func (b *batch) response() *streamv1.TailResponse {
	events := &streamv1.Events{}
	events.ProtoReflect().SetUnknown(b.wire)
	return &streamv1.TailResponse{Message: &streamv1.TailResponse_Events{Events: events}}
}

// len is the length of a DeliveredEvent.
func (d delivered) len() int {
	return 1 + protowire.SizeBytes(tokenLen) + 1 + protowire.SizeBytes(len(d.event)) + len(d.rest)
}

// size is the length of a DeliveredEvent as an element of Events.events.
func (d delivered) size() int { return 1 + protowire.SizeBytes(d.len()) }
