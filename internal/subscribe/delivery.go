package subscribe

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/tracing"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// batchBytes is the largest size of a message with several events. A larger event is sent alone. See package grpcstream.
const batchBytes = 32<<10 - 16

// Field numbers of bridge.stream.v1.
const (
	batchDeliveries      protowire.Number = 1 // Batch.deliveries
	pullDeliveries       protowire.Number = 1 // PullResponse.deliveries
	deliveryID           protowire.Number = 1 // Delivery.id
	deliveryEvent        protowire.Number = 2
	deliveryAttempt      protowire.Number = 3
	deliveryFirst        protowire.Number = 4
	deliveryToken        protowire.Number = 5
	deliveryReplayed     protowire.Number = 9
	timestampSeconds     protowire.Number = 1
	timestampNanoseconds protowire.Number = 2
)

// chunk is the next output of a feed.
type chunk struct {
	// wires are Batch messages in wire format, with events deliveries, whose events have so many bytes.
	wires         [][]byte
	events, bytes int
	// next is the position of the next event to look at.
	next sinks.Position
	// behind comes before the deliveries, caughtUp after them.
	behind, caughtUp bool
	// moved says that the subscription goes on at another place. It comes before the deliveries.
	moved *streamv1.Subscribed
	// traced has the contexts of the events that belong to traces.
	traced tracing.Batch
}

// add adds a delivery. It is written in wire format, because the log has events in wire format: to decode them, only so that gRPC
// encodes them again, would cost more than all other work of a stream.
func (c *chunk) add(d delivery) {
	size := d.size()
	last := len(c.wires) - 1
	if last < 0 || len(c.wires[last])+size+protowire.SizeBytes(size) > batchBytes {
		c.wires = append(c.wires, make([]byte, 0, size+8))
		last++
	}
	c.wires[last] = d.appendField(c.wires[last], batchDeliveries)
	c.events++
	c.bytes += d.bytes()
}

// batchResponse returns a Batch as a message. Its deliveries are unknown fields of it, which the encoder copies without a change. The
// client decodes them as normal fields. wire must not be used after this, since gRPC may keep the message.
func batchResponse(wire []byte) *streamv1.SubscribeResponse {
	batch := &streamv1.Batch{}
	batch.ProtoReflect().SetUnknown(wire)
	return &streamv1.SubscribeResponse{Message: &streamv1.SubscribeResponse_Batch{Batch: batch}}
}

// delivery is a Delivery, with its event in wire format.
type delivery struct {
	id, token string
	event     []byte
	// rest has the fields of its payload, in wire format.
	rest     []byte
	attempt  uint32
	firstAt  time.Time
	replayed bool
}

// appendField appends the delivery as an element of a field.
func (d *delivery) appendField(b []byte, field protowire.Number) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(d.size()))
	return d.append(b)
}

// bytes is what counts against the client's credit.
func (d *delivery) bytes() int { return len(d.event) + len(d.rest) }

func (d *delivery) size() int {
	n := 1 + protowire.SizeBytes(len(d.event)) + len(d.rest)
	for _, text := range []string{d.id, d.token} {
		if text != "" {
			n += 1 + protowire.SizeBytes(len(text))
		}
	}
	if d.attempt > 0 {
		n += 1 + protowire.SizeVarint(uint64(d.attempt))
	}
	if !d.firstAt.IsZero() {
		n += 1 + protowire.SizeBytes(timestampSize(d.firstAt))
	}
	if d.replayed {
		n += 2
	}
	return n
}

func (d *delivery) append(b []byte) []byte {
	if d.id != "" {
		b = protowire.AppendTag(b, deliveryID, protowire.BytesType)
		b = protowire.AppendString(b, d.id)
	}
	b = protowire.AppendTag(b, deliveryEvent, protowire.BytesType)
	b = protowire.AppendBytes(b, d.event)
	if d.attempt > 0 {
		b = protowire.AppendTag(b, deliveryAttempt, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(d.attempt))
	}
	if !d.firstAt.IsZero() {
		b = protowire.AppendTag(b, deliveryFirst, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(timestampSize(d.firstAt)))
		b = appendTimestamp(b, d.firstAt)
	}
	if d.token != "" {
		b = protowire.AppendTag(b, deliveryToken, protowire.BytesType)
		b = protowire.AppendString(b, d.token)
	}
	if d.replayed {
		b = protowire.AppendTag(b, deliveryReplayed, protowire.VarintType)
		b = protowire.AppendVarint(b, 1)
	}
	return append(b, d.rest...)
}

// content sets the event and the payload.
func (d *delivery) content(c grpcstream.Content) error {
	d.event = c.Event
	if c.Payload.Vendor == nil && c.Payload.Raw == nil && c.Payload.Missing == "" {
		return nil
	}
	var err error
	d.rest, err = proto.Marshal(&streamv1.Delivery{Vendor: c.Payload.Vendor, Raw: c.Payload.Raw, PayloadMissing: c.Payload.Missing})
	return err
}

func timestampSize(t time.Time) int {
	n := 1 + protowire.SizeVarint(uint64(t.Unix()))
	if t.Nanosecond() != 0 {
		n += 1 + protowire.SizeVarint(uint64(t.Nanosecond()))
	}
	return n
}

func appendTimestamp(b []byte, t time.Time) []byte {
	b = protowire.AppendTag(b, timestampSeconds, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(t.Unix()))
	if t.Nanosecond() != 0 {
		b = protowire.AppendTag(b, timestampNanoseconds, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(t.Nanosecond()))
	}
	return b
}
