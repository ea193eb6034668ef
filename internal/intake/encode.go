package intake

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// Field numbers of bridge.event.v1.Event that the receipt fills in.
const (
	fieldID          protowire.Number = 1
	fieldSource      protowire.Number = 3
	fieldConnector   protowire.Number = 4
	fieldVendorEvent protowire.Number = 5
	fieldReceivedAt  protowire.Number = 9
	fieldWebhookID   protowire.Number = 10
	fieldSupersedes  protowire.Number = 11
	fieldTraceparent protowire.Number = 14
)

// canonicalEncoding gives the same event the same bytes.
var canonicalEncoding = proto.MarshalOptions{Deterministic: true}

// Canonical returns the part of an event that its connector made: what happened, without ids and without what the receipt
// adds. It shares the event's data.
func Canonical(e *eventv1.Event) *eventv1.Event {
	return &eventv1.Event{
		Type:           e.GetType(),
		Subject:        e.GetSubject(),
		SubjectVersion: e.GetSubjectVersion(),
		OccurredAt:     e.GetOccurredAt(),
		Data:           e.GetData(),
	}
}

// lengthSize is the size of the length before each canonical encoding.
const lengthSize = 4

// appendCanonical appends the events' canonical encodings, each after its length.
func appendCanonical(b []byte, events []*eventv1.Event) ([]byte, *Fault) {
	for i, e := range events {
		// Events are the connector's, and may be shared: they are not changed.
		if hasReceipt(e) {
			e = Canonical(e)
		}
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		var err error
		if b, err = canonicalEncoding.MarshalAppend(b, e); err != nil {
			return nil, NewFault(BadEvents, fmt.Errorf("the connector's event %d cannot be encoded: %w", i, err))
		}
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-lengthSize))
	}
	return b, nil
}

// hasReceipt reports whether an event has a field that only the receipt sets.
func hasReceipt(e *eventv1.Event) bool {
	return e.GetId() != "" || e.GetSource() != "" || e.GetConnector() != "" || e.GetVendorEvent() != "" ||
		e.GetWebhookId() != "" || e.GetSupersedes() != "" || e.GetReceivedAt() != nil || e.GetStale() || e.GetTraceparent() != ""
}

// nextCanonical splits off the first canonical encoding.
func nextCanonical(b []byte) (event, rest []byte) {
	n := lengthSize + int(binary.BigEndian.Uint32(b))
	return b[lengthSize:n], b[n:]
}

// idAt is where the id's text is in a receipt's fields.
const idAt = 2

// appendReceipt appends the fields that the receipt adds to each of a webhook's events. The id, which comes first, is left
// blank. Fields of a message may be in any order, so that they can follow the canonical encoding.
func appendReceipt(b []byte, w *journalv1.Webhook) []byte {
	var blank [idLength]byte
	b = protowire.AppendTag(b, fieldID, protowire.BytesType)
	b = protowire.AppendBytes(b, blank[:])
	b = appendText(b, fieldSource, w.GetSource())
	b = appendText(b, fieldConnector, w.GetConnector())
	b = appendText(b, fieldVendorEvent, w.GetVendorEvent())
	if at := w.GetReceivedAt(); at != nil {
		b = protowire.AppendTag(b, fieldReceivedAt, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(proto.Size(at)))
		b, _ = proto.MarshalOptions{}.MarshalAppend(b, at) // two numbers always can be encoded
	}
	b = appendText(b, fieldWebhookID, w.GetId())
	return appendText(b, fieldTraceparent, w.GetTraceparent())
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}
