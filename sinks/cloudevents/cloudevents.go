// Package cloudevents describes events as CloudEvents 1.0. Every sink whose consumers know CloudEvents uses it, so an event has the
// same attributes and the same data everywhere.
//
// # Attributes
//
// [Attributes] returns the attributes of an event. Each one is a field of the event's header: `id`, `type`, `source` and `subject`
// are CloudEvents' own, and so is `time`, which is the vendor's time, or the time of receipt if the vendor gives none. The others are
// extensions: connector, vendorevent, subjectversion, stale, webhookid, receivedtime, supersedes, replay, the id of
// the replay that delivers the event once more, and traceparent, of CloudEvents' extension for distributed tracing: the trace in which
// the event was received. An attribute without a value is left out.
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
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// ContentType is the media type of [Structured]. [DataContentType] is that of its data.
const (
	ContentType     = "application/cloudevents+json"
	DataContentType = "application/json"
)

// Traceparent is the header of messages that has the trace in which the event was received, beside the attribute of the same name: so that
// consumers find it that know W3C's Trace Context and no CloudEvents.
const Traceparent = "traceparent"

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
	nameTraceparent
	nameCount
)

var names = [nameCount]string{
	"specversion", "id", "type", "source", "subject", "time", "dataschema",
	"connector", "vendorevent", "subjectversion", "webhookid", "receivedtime", "supersedes", "stale", "replay", "traceparent",
}

var specVersion = []byte("1.0")

// MaxAttributes is the greatest number of attributes of an event.
const MaxAttributes = int(nameCount)

// Attributes returns the attributes that the event has. `dataschema` and `datacontenttype` are not among them: they are about the
// content that a sink sends.
func Attributes(h *sinks.Header) []Attribute {
	return AppendAttributes(make([]Attribute, 0, MaxAttributes), h)
}

// AppendAttributes appends the [Attributes] to a list. A list with room for [MaxAttributes] saves memory.
func AppendAttributes(to []Attribute, h *sinks.Header) []Attribute {
	happened := h.OccurredAt
	if happened.IsZero() {
		happened = h.ReceivedAt
	}
	times := make([]byte, 0, 2*len(time.RFC3339Nano))
	times = appendTime(times, happened)
	split := len(times)
	times = appendTime(times, h.ReceivedAt)
	add := func(name name, value []byte) {
		if len(value) > 0 {
			to = append(to, Attribute{value, name})
		}
	}
	add(nameSpecVersion, specVersion)
	add(nameID, h.ID)
	add(nameType, h.Type)
	add(nameSource, h.Source)
	add(nameSubject, h.Subject)
	add(nameTime, times[:split:split])
	add(nameConnector, h.Connector)
	add(nameVendorEvent, h.VendorEvent)
	add(nameSubjectVersion, h.SubjectVersion)
	add(nameWebhookID, h.WebhookID)
	add(nameReceivedTime, times[split:])
	add(nameSupersedes, h.Supersedes)
	add(nameStale, formatTrue(h.Stale))
	add(nameReplay, h.Replay)
	add(nameTraceparent, h.Traceparent)
	return to
}

// formatTrue returns the canonical text of a true CloudEvents Boolean. An event that is not stale has no such attribute.
func formatTrue(b bool) []byte {
	if !b {
		return nil
	}
	return []byte("true")
}

func appendTime(to []byte, t time.Time) []byte {
	if t.IsZero() {
		return to
	}
	return t.AppendFormat(to, time.RFC3339Nano)
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
