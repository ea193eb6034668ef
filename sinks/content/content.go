// Package content encodes an event as the content of a message: for the sinks whose messages are an event each.
package content

import (
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// Format is the encoding of an event in a message. "" means Protobuf.
type Format string

const (
	// Protobuf is bridge.event.v1.Event in protobuf's wire format; application/protobuf.
	Protobuf Format = "protobuf"
	// JSON is the same message in protobuf's JSON mapping, without white space; application/json.
	JSON Format = "json"
	// CloudEvents is a CloudEvent in structured mode; application/cloudevents+json.
	CloudEvents Format = "cloudevents"
)

// Check returns an error for a format that there is not.
func (f Format) Check() error {
	switch f {
	case "", Protobuf, JSON, CloudEvents:
		return nil
	}
	return fmt.Errorf("%q is none of protobuf, json, cloudevents", string(f))
}

var errNoID = errors.New("the event has no id, which CloudEvents demand")

// Encode returns an event and its media type. The result may share the record's memory. An error is about the event, and final: an event
// without an id too, since consumers tell duplicates by it.
func (f Format) Encode(r sinks.Record) (value []byte, mediaType string, err error) {
	if len(r.Header.ID) == 0 {
		return nil, "", errNoID
	}
	switch f {
	case JSON:
		e, err := r.Event()
		if err != nil {
			return nil, "", err
		}
		value, err = cloudevents.JSON(e)
		return value, "application/json", err
	case CloudEvents:
		value, err = cloudevents.Structured(r)
		return value, cloudevents.ContentType, err
	}
	return r.Encoded, "application/protobuf", nil
}
