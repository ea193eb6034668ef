package cloudevents

import (
	"bytes"
	"encoding/json"
	"errors"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/webhook-bridge/bridge/sinks"
)

// schemaPrefix makes a message's name a URI, as the attribute `dataschema` demands. It is the page of the project that publishes the
// schemas.
const schemaPrefix = "https://github.com/webhook-bridge/bridge#"

// Schema returns the value of `dataschema` for content of a message, such as
// "https://github.com/webhook-bridge/bridge#bridge.event.v1.Order". The name has the version: a change that old consumers cannot read
// makes a new one.
func Schema(message protoreflect.FullName) string { return schemaPrefix + string(message) }

// Data is an event's data without the header: a message such as bridge.event.v1.Order.
type Data struct {
	// JSON is the message in protobuf's JSON mapping, without white space.
	JSON []byte
	// Message is the message's name.
	Message protoreflect.FullName
}

// Attribute returns the attribute `dataschema` of the data.
func (d Data) Attribute() Attribute { return Attribute{[]byte(Schema(d.Message)), nameDataSchema} }

// errNoData refuses an event whose data this version of the program does not know. It was written by a later one.
var errNoData = errors.New("the event has no data that this version of Bridge knows")

// DataOf returns the event's data. It fails for good if the event has none, or one of a kind that a later version of Bridge added.
func DataOf(r sinks.Record) (Data, error) {
	e, err := r.Decoded()
	if err != nil {
		return Data{}, err
	}
	m := e.ProtoReflect()
	fd := m.WhichOneof(m.Descriptor().Oneofs().ByName("data"))
	if fd == nil {
		return Data{}, errNoData
	}
	text, err := JSON(m.Get(fd).Message().Interface())
	return Data{text, fd.Message().FullName()}, err
}

// JSON returns a message in protobuf's JSON mapping. protojson varies its spaces between builds. Without them, a repeated event has the
// same bytes.
func JSON(m protoreflect.ProtoMessage) ([]byte, error) {
	spaced, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.Grow(len(spaced))
	if err := json.Compact(&text, spaced); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}
