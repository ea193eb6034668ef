// Package cloudeventstest makes events from CloudEvents again, as a consumer may do. Tests of sinks compare the result with the event
// that was delivered.
package cloudeventstest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// Structured returns the event of a CloudEvent in the JSON event format.
func Structured(text []byte) (*eventv1.Event, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("cloudeventstest: %w", err)
	}
	data := members["data"]
	delete(members, "data")
	attributes := map[string]string{}
	for name, value := range members {
		var s string
		if json.Unmarshal(value, &s) != nil {
			s = string(value)
		}
		attributes[name] = s
	}
	return Event(attributes, data)
}

// Event returns the event of attributes in their canonical texts, and of data in JSON whose message `dataschema` names.
func Event(attributes map[string]string, data []byte) (*eventv1.Event, error) {
	e := &eventv1.Event{
		Id: attributes["id"], Type: attributes["type"], Source: attributes["source"], Subject: attributes["subject"],
		Connector: attributes["connector"], VendorEvent: attributes["vendorevent"], SubjectVersion: attributes["subjectversion"],
		WebhookId: attributes["webhookid"], Supersedes: attributes["supersedes"], Stale: attributes["stale"] == "true",
		Traceparent: attributes["traceparent"],
	}
	if text, ok := attributes["receivedtime"]; ok {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fmt.Errorf("cloudeventstest: receivedtime: %w", err)
		}
		e.ReceivedAt = timestamppb.New(at)
	}
	if text, ok := attributes["time"]; ok && text != attributes["receivedtime"] {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fmt.Errorf("cloudeventstest: time: %w", err)
		}
		e.OccurredAt = timestamppb.New(at)
	}
	return e, setData(e, attributes["dataschema"], data)
}

// setData sets the field whose message the schema names.
func setData(e *eventv1.Event, schema string, data []byte) error {
	m := e.ProtoReflect()
	fields := m.Descriptor().Oneofs().ByName("data").Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if cloudevents.Schema(fd.Message().FullName()) != schema {
			continue
		}
		value := m.NewField(fd)
		if err := protojson.Unmarshal(data, value.Message().Interface()); err != nil {
			return fmt.Errorf("cloudeventstest: data: %w", err)
		}
		m.Set(fd, value)
		return nil
	}
	return fmt.Errorf("cloudeventstest: dataschema %q is that of no event's data (%s)", schema, strings.TrimSpace(string(data[:min(len(data), 32)])))
}
