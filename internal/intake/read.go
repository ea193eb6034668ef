package intake

import (
	"cmp"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// Decoder decodes a document into the request message of the event's RPC, and returns how the two differ. It persists nothing.
// The event is one of the connector's. A [*vendorjson.Error] is the document's fault. Any other error is an internal one.
type Decoder func(event string, document []byte) (proto.Message, []vendorjson.Drift, error)

// Reading is the result of reading a webhook.
type Reading struct {
	// Event is the vendor's name for it. Empty if nothing tells.
	Event string
	// Document is the JSON that was read. It may share the delivery's body. Nil for a typed call.
	Document []byte
	// Message is the request message of the event's RPC. Nil if the connector does not model the event.
	Message proto.Message
	// Drift is how the document differs from the message, and which values the connector did not understand.
	Drift []vendorjson.Drift
	// Translation is the connector's, if there is no fault.
	Translation connectors.Translation
	// Unmapped: the event carries the document as it came.
	Unmapped bool
	// Ping is which ping it is. Then there is no translation, and no fault. Nil if it is none.
	Ping *connectors.Ping
	// Fault says why there is no translation.
	Fault *Fault
}

// Event returns the event of this name, if the connector models it.
func (s *Source) Event(name string) (connectors.Event, bool) {
	events, err := s.events()
	if err != nil {
		return connectors.Event{}, false
	}
	e, known := events[name]
	return e, known
}

// Read reads a delivery as one webhook. It changes nothing.
func (s *Source) Read(d *Delivery) Reading {
	document, fault := s.document(d)
	return s.read(d, document, fault)
}

// document returns the delivery's JSON, nil for a typed call.
func (s *Source) document(d *Delivery) ([]byte, *Fault) {
	switch {
	case d.Fault != nil, d.Encoding == journalv1.Encoding_ENCODING_PROTOBUF:
		return nil, d.Fault
	case d.text != nil:
		return d.text, nil
	}
	return Document(s.Connector, d.Encoding, d.Body)
}

// read reads a delivery whose document is found, or could not be.
func (s *Source) read(d *Delivery, document []byte, fault *Fault) (r Reading) {
	r = Reading{Event: d.Event, Document: document, Fault: fault}
	panicked := guard(func() {
		s.name(d, &r)
		if r.Ping = s.findPing(d, &r); r.Ping != nil {
			r.Fault = nil
			return
		}
		if r.Fault == nil {
			shown(d.Span, "decode", &r, func() { s.decode(d, &r) })
		}
		if r.Fault == nil {
			shown(d.Span, "translate", &r, func() { s.translate(&r) })
		}
	})
	if panicked != nil {
		r.Translation, r.Ping, r.Fault = connectors.Translation{}, nil, panicked
	}
	return r
}

// name finds the event's name, unless the delivery says it.
func (s *Source) name(d *Delivery, r *Reading) {
	if r.Event != "" {
		return
	}
	named := Names{
		Path: d.PathEvent, Header: HeaderOf(d.Headers, s.Connector.EventHeader),
		UnsignedPath: !s.decides.Path, UnsignedHeader: !s.decides.EventHeader,
	}
	if r.Fault != nil {
		r.Event = cmp.Or(named.Path, named.Header, d.recorded)
		return
	}
	r.Event, r.Fault = EventName(s.Connector, named, r.Document)
	if r.Event == "" {
		r.Event = d.recorded
	}
	if r.Fault != nil && r.Fault.Reason == NoEvent && r.Event != "" {
		r.Fault = nil
	}
}

// decode makes the event's message of the document, if the connector models the event.
func (s *Source) decode(d *Delivery, r *Reading) {
	events, err := s.events()
	if err != nil {
		r.Fault = NewFault(BadEvents, err)
		return
	}
	e, known := events[r.Event]
	typed := d.Encoding == journalv1.Encoding_ENCODING_PROTOBUF
	switch {
	case d.Message != nil:
		r.Message, r.Drift = d.Message, d.Drift
	case known && typed:
		m := e.New()
		if proto.Unmarshal(d.Body, m) != nil {
			r.Fault = NewFault(Shape, errors.New("the typed call does not fit the event's message"))
			return
		}
		r.Message = m
	case typed:
		r.Fault = NewFault(UnknownEvent, errors.New("the connector has no such event, and only its message could say what a typed call means"))
		return
	case known:
		r.Event = e.Name // memory that lives anyway
		s.decodeDocument(r, e)
		return
	}
	if typed {
		if r.Drift, err = vendorjson.Inspect(r.Message); err != nil {
			r.Fault = NewFault(Limit, err)
		}
	}
}

func (s *Source) decodeDocument(r *Reading, e connectors.Event) {
	m, drift, err := s.decoder(e.Name, r.Document)
	if err != nil {
		r.Fault = NewFault(BadEvents, err) // the reason of a document's fault is the error's own
		return
	}
	if field := s.Connector.EventField; field != "" && m.ProtoReflect().Descriptor().Fields().ByJSONName(field) == nil {
		if r.Fault = s.checkUndeclared(r.Document); r.Fault != nil {
			return
		}
	}
	r.Message, r.Drift = m, drift
}

// direct is the decoder of a source that has no other.
func (s *Source) direct(event string, document []byte) (proto.Message, []vendorjson.Drift, error) {
	e, _ := s.Event(event)
	m := e.New()
	drift, err := vendorjson.Unmarshal(document, m)
	return m, drift, err
}
