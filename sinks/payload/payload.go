// Package payload is the contract for what a subscriber may get instead of an event's data: the vendor's typed message, or the webhook
// as it was received. Package internal/payload looks both up.
package payload

import (
	"context"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// Payload comes with an event. One of the fields is set.
type Payload struct {
	// Vendor is the vendor's message, for PAYLOAD_VENDOR.
	Vendor *anypb.Any
	// Raw is the webhook, for PAYLOAD_RAW.
	Raw *streamv1.RawWebhook
	// Missing says why there is neither.
	Missing string
}

// Source looks payloads up. It is safe for concurrent use.
type Source interface {
	// Lookup returns the payloads of the first of the records, in order: of at least one, and of no more once they have maxBytes.
	// Without personal, vendors' messages are masked; a raw webhook cannot be masked, so the caller must have the right to see it. A
	// payload that is not there any more is no error.
	// Errors: sinks.ErrUnavailable, sinks.ErrClosed, ctx's, or another one of the storage.
	Lookup(ctx context.Context, want streamv1.Payload, personal bool, records []sinks.Record, maxBytes int) ([]Payload, error)
}

// Stored reports whether a payload must be looked up.
func Stored(want streamv1.Payload) bool {
	return want == streamv1.Payload_PAYLOAD_VENDOR || want == streamv1.Payload_PAYLOAD_RAW
}

// Canonical reports whether events come with their data.
func Canonical(want streamv1.Payload) bool {
	return want == streamv1.Payload_PAYLOAD_UNSPECIFIED || want == streamv1.Payload_PAYLOAD_CANONICAL
}

// dataFields are the numbers of the fields of an event that have its data: they are neighbours.
var dataFields = func() (f struct{ min, max protowire.Number }) {
	fields := (&eventv1.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("data").Fields()
	f.min = fields.Get(0).Number()
	for i := range fields.Len() {
		n := fields.Get(i).Number()
		f.min, f.max = min(f.min, n), max(f.max, n)
	}
	return f
}()

// Headers returns an event without its data. Both are in wire format. It does not decode the event. What is not valid protobuf is
// left out, from there on.
func Headers(encoded []byte) []byte {
	return AppendHeaders(make([]byte, 0, min(len(encoded), 512)), encoded)
}

// AppendHeaders appends to b what [Headers] returns.
func AppendHeaders(b, encoded []byte) []byte {
	for len(encoded) > 0 {
		number, _, n := protowire.ConsumeField(encoded)
		if n < 0 {
			return b
		}
		if number < dataFields.min || number > dataFields.max {
			b = append(b, encoded[:n]...)
		}
		encoded = encoded[n:]
	}
	return b
}
