package kafka

import (
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// envelope is what records say of an event outside of their value. It is read from the wire format, and shares its memory:
// decoding whole events, of which nothing else is needed, would cost several times as much as all the rest.
type envelope struct {
	id, typ, source, connector, vendorEvent, subject []byte
	version, webhookID, supersedes                   []byte
	occurred, received                               time.Time // Zero when not set.
}

var errMalformed = errors.New("the event is not valid protobuf")

// parse reads the envelope of an encoded bridge.event.v1.Event.
func (e *envelope) parse(encoded []byte) error {
	return eachField(encoded, func(number protowire.Number, value []byte, _ uint64) error {
		if value == nil {
			return nil // Of another type: not this field, but an unknown one.
		}
		var err error
		switch number {
		case 1:
			e.id = value
		case 2:
			e.typ = value
		case 3:
			e.source = value
		case 4:
			e.connector = value
		case 5:
			e.vendorEvent = value
		case 6:
			e.subject = value
		case 7:
			e.version = value
		case 8:
			e.occurred, err = parseTime(value)
		case 9:
			e.received, err = parseTime(value)
		case 10:
			e.webhookID = value
		case 11:
			e.supersedes = value
		}
		return err
	})
}

// parseTime reads a google.protobuf.Timestamp.
func parseTime(encoded []byte) (time.Time, error) {
	var seconds, nanos int64
	err := eachField(encoded, func(number protowire.Number, other []byte, value uint64) error {
		switch {
		case other != nil: // Of another type.
		case number == 1:
			seconds = int64(value)
		case number == 2:
			nanos = int64(int32(value))
		}
		return nil
	})
	return time.Unix(seconds, nanos).UTC(), err
}

// eachField calls f with the fields of a message that are bytes, then not nil, or varints.
func eachField(encoded []byte, f func(number protowire.Number, value []byte, varint uint64) error) error {
	for len(encoded) > 0 {
		number, kind, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return errMalformed
		}
		encoded = encoded[n:]
		var value []byte
		var varint uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(encoded)
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(encoded)
		default:
			n = protowire.ConsumeFieldValue(number, kind, encoded)
		}
		if n < 0 {
			return errMalformed
		}
		encoded = encoded[n:]
		if kind != protowire.BytesType && kind != protowire.VarintType {
			continue
		}
		if err := f(number, value, varint); err != nil {
			return err
		}
	}
	return nil
}

// time is CloudEvents' time: when it happened, as the vendor says, else when it was received.
func (e *envelope) time() time.Time {
	if !e.occurred.IsZero() {
		return e.occurred
	}
	return e.received
}

// attribute is one of CloudEvents 1.0, or an extension.
type attribute struct {
	header string // Its name in Kafka's binding: "ce_" and its own.
	value  []byte
}

func (a attribute) name() string { return strings.TrimPrefix(a.header, "ce_") }

var specVersion = []byte("1.0")

// attributes appends those that the event has.
func (e *envelope) attributes(to []attribute) []attribute {
	to = append(to, attribute{"ce_specversion", specVersion})
	for _, a := range [...]attribute{
		{"ce_id", e.id},
		{"ce_type", e.typ},
		{"ce_source", e.source},
		{"ce_subject", e.subject},
		{"ce_time", formatTime(e.time())},
		{"ce_connector", e.connector},
		{"ce_vendorevent", e.vendorEvent},
		{"ce_subjectversion", e.version},
		{"ce_webhookid", e.webhookID},
		{"ce_receivedtime", formatTime(e.received)},
		{"ce_supersedes", e.supersedes},
	} {
		if len(a.value) > 0 {
			to = append(to, a)
		}
	}
	return to
}

func formatTime(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return t.AppendFormat(make([]byte, 0, len(time.RFC3339Nano)), time.RFC3339Nano)
}
