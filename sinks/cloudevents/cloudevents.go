// Package cloudevents describes events as CloudEvents 1.0. Every sink whose consumers know CloudEvents uses it, so an event has the
// same attributes and the same data everywhere.
//
// # Attributes
//
// [Attributes] returns the attributes of an event. Each one is a field of the event's header: `id`, `type`, `source` and `subject`
// are CloudEvents' own, and so is `time`, which is the vendor's time, or the time of receipt if the vendor gives none. The others are
// extensions: connector, vendorevent, subjectversion, stale, webhookid, receivedtime, supersedes, and replay, the id of
// the replay that delivers the event once more. An attribute without a value is left out.
//
// # Data
//
// [DataOf] returns the event's data alone, such as an order, in protobuf's JSON mapping. It does not repeat the attributes. The
// attribute `dataschema` names its message: [Schema] of bridge.event.v1.Order. No field of an event is in neither place. So a consumer
// can make the event again from attributes and data.
//
// # Modes
//
// [Structured] returns attributes and data as one JSON object. In binary mode, a sink sends the data as the content and the attributes
// as headers, named by the [Headers] of its binding.
package cloudevents

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// ContentType is the media type of [Structured]. [DataContentType] is that of its data.
const (
	ContentType     = "application/cloudevents+json"
	DataContentType = "application/json"
)

// Attribute is one of CloudEvents 1.0, or an extension.
type Attribute struct {
	// Value is the attribute in its canonical text, in UTF-8. It may share the event's memory.
	Value []byte
	name  name
}

// Name is the attribute's name: lower-case letters.
func (a Attribute) Name() string { return names[a.name] }

// Boolean reports whether the attribute is a Boolean. All others are texts for CloudEvents' type system: String, URI, Timestamp.
func (a Attribute) Boolean() bool { return a.name == nameStale }

// name is the index of an attribute's name in names.
type name int

const (
	nameSpecVersion name = iota
	nameID
	nameType
	nameSource
	nameSubject
	nameTime
	nameDataSchema
	nameConnector
	nameVendorEvent
	nameSubjectVersion
	nameWebhookID
	nameReceivedTime
	nameSupersedes
	nameStale
	nameReplay
	nameCount
)

var names = [nameCount]string{
	"specversion", "id", "type", "source", "subject", "time", "dataschema",
	"connector", "vendorevent", "subjectversion", "webhookid", "receivedtime", "supersedes", "stale", "replay",
}

var specVersion = []byte("1.0")

// Attributes returns the attributes that the event has. `dataschema` and `datacontenttype` are not among them: they are about the
// content that a sink sends.
func Attributes(h *sinks.Header) []Attribute {
	happened := h.OccurredAt
	if happened.IsZero() {
		happened = h.ReceivedAt
	}
	all := [...]Attribute{
		{specVersion, nameSpecVersion},
		{h.ID, nameID},
		{h.Type, nameType},
		{h.Source, nameSource},
		{h.Subject, nameSubject},
		{formatTime(happened), nameTime},
		{h.Connector, nameConnector},
		{h.VendorEvent, nameVendorEvent},
		{h.SubjectVersion, nameSubjectVersion},
		{h.WebhookID, nameWebhookID},
		{formatTime(h.ReceivedAt), nameReceivedTime},
		{h.Supersedes, nameSupersedes},
		{formatTrue(h.Stale), nameStale},
		{h.Replay, nameReplay},
	}
	return slices.DeleteFunc(all[:], func(a Attribute) bool { return len(a.Value) == 0 })
}

// formatTrue returns the canonical text of a true CloudEvents Boolean. An event that is not stale has no such attribute.
func formatTrue(b bool) []byte {
	if !b {
		return nil
	}
	return []byte("true")
}

func formatTime(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return t.AppendFormat(make([]byte, 0, len(time.RFC3339Nano)), time.RFC3339Nano)
}

// Structured returns the CloudEvent in the JSON event format, without white space. A repeated event has the same bytes. Its errors are
// those of [DataOf].
func Structured(r sinks.Record) ([]byte, error) {
	data, err := DataOf(r)
	if err != nil {
		return nil, err
	}
	text := make([]byte, 0, len(data.JSON)+768)
	text = append(text, '{')
	for _, a := range append(Attributes(&r.Header), data.Attribute()) {
		value := a.Value
		if !a.Boolean() {
			if value, err = json.Marshal(string(a.Value)); err != nil {
				return nil, err
			}
		}
		text = append(text, '"')
		text = append(text, a.Name()...)
		text = append(text, `":`...)
		text = append(text, value...)
		text = append(text, ',')
	}
	text = append(text, `"datacontenttype":"`+DataContentType+`","data":`...)
	text = append(text, data.JSON...)
	return append(text, '}'), nil
}
