package sinks

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Header is the part of an event that routes it. It is read from the wire format once, when a log reads the event, and
// shares the memory of [Record.Encoded]. A field that the event does not have is empty.
type Header struct {
	ID, Type, Source, Connector, VendorEvent, Subject []byte
	SubjectVersion, WebhookID, Supersedes             []byte
	// Traceparent is the trace in which the event was received, as W3C's header of that name has it. Few events have one. A sink whose
	// messages have headers passes it on under this name.
	Traceparent []byte
	// OccurredAt and ReceivedAt are in UTC. The zero time stands for a time that is not set.
	OccurredAt, ReceivedAt time.Time
	// Stale reports whether an event with a greater subject version was published before.
	Stale bool
	// Replay is the id of the replay that delivers the event once more, or empty. It is not part of the encoded event: the caller of
	// a sink sets it. A sink passes it on, so that consumers can tell: as CloudEvents' extension `replay`, for example.
	Replay []byte
}

// Field numbers of bridge.event.v1.Event.
const (
	fieldID             protowire.Number = 1
	fieldType           protowire.Number = 2
	fieldSource         protowire.Number = 3
	fieldConnector      protowire.Number = 4
	fieldVendorEvent    protowire.Number = 5
	fieldSubject        protowire.Number = 6
	fieldSubjectVersion protowire.Number = 7
	fieldOccurredAt     protowire.Number = 8
	fieldReceivedAt     protowire.Number = 9
	fieldWebhookID      protowire.Number = 10
	fieldSupersedes     protowire.Number = 11
	fieldStale          protowire.Number = 12
	fieldTraceparent    protowire.Number = 14
)

// Field numbers of google.protobuf.Timestamp.
const (
	fieldSeconds protowire.Number = 1
	fieldNanos   protowire.Number = 2
)

var errMalformed = errors.New("is not valid protobuf")

// NewRecord returns the event at a position, with its header. The record shares encoded. It fails when encoded is not a
// bridge.event.v1.Event in wire format.
func NewRecord(p Position, encoded []byte) (Record, error) {
	r := Record{Position: p, Encoded: encoded}
	if err := r.Header.read(encoded); err != nil {
		return Record{}, fmt.Errorf("sinks: event at %d: %w", p, err)
	}
	return r, nil
}

// read reads the fields. When a field is there several times, the last one wins. A decoder does the same, except that it merges the
// parts of a time that is there several times. Bridge writes each time once. A field of another type
// than the schema's is an unknown field.
func (h *Header) read(encoded []byte) error {
	for len(encoded) > 0 {
		number, kind, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return errMalformed
		}
		encoded = encoded[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, encoded); n < 0 {
				return errMalformed
			}
			if number == fieldStale && kind == protowire.VarintType {
				v, _ := protowire.ConsumeVarint(encoded)
				h.Stale = v != 0
			}
			encoded = encoded[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(encoded)
		if n < 0 {
			return errMalformed
		}
		encoded = encoded[n:]
		if err := h.set(number, value); err != nil {
			return err
		}
	}
	return nil
}

func (h *Header) set(number protowire.Number, value []byte) (err error) {
	switch number {
	case fieldID:
		h.ID = value
	case fieldType:
		h.Type = value
	case fieldSource:
		h.Source = value
	case fieldConnector:
		h.Connector = value
	case fieldVendorEvent:
		h.VendorEvent = value
	case fieldSubject:
		h.Subject = value
	case fieldSubjectVersion:
		h.SubjectVersion = value
	case fieldOccurredAt:
		h.OccurredAt, err = readTime(value)
	case fieldReceivedAt:
		h.ReceivedAt, err = readTime(value)
	case fieldWebhookID:
		h.WebhookID = value
	case fieldSupersedes:
		h.Supersedes = value
	case fieldTraceparent:
		h.Traceparent = value
	}
	return err
}

// readTime reads a google.protobuf.Timestamp.
func readTime(encoded []byte) (time.Time, error) {
	var seconds, nanos int64
	for len(encoded) > 0 {
		number, kind, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return time.Time{}, errMalformed
		}
		encoded = encoded[n:]
		if kind != protowire.VarintType {
			if n = protowire.ConsumeFieldValue(number, kind, encoded); n < 0 {
				return time.Time{}, errMalformed
			}
			encoded = encoded[n:]
			continue
		}
		v, n := protowire.ConsumeVarint(encoded)
		if n < 0 {
			return time.Time{}, errMalformed
		}
		encoded = encoded[n:]
		switch number {
		case fieldSeconds:
			seconds = int64(v)
		case fieldNanos:
			nanos = int64(int32(v))
		}
	}
	return time.Unix(seconds, nanos).UTC(), nil
}
