package intake

import (
	"errors"
	"runtime/debug"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// UnknownEvent is the fault of a stored webhook that is to be taken for an event which today's connector does not have. It
// is never stored.
const UnknownEvent Reason = "unknown_event"

// HeldElements is the fault of a released array some of whose webhooks could not be translated, and are in quarantine
// themselves. It is never stored.
const HeldElements Reason = "held_elements"

// Decoded is what today's connector reads in a stored webhook.
type Decoded struct {
	// Event is the vendor's name for it.
	Event string
	// Document is the JSON that was read; nil if the webhook is no JSON. It may share the stored body.
	Document []byte
	// Message is the request message of the event's RPC; nil if nobody modelled the event.
	Message proto.Message
	// Drift is how the document differs from it.
	Drift []vendorjson.Drift
}

// Event returns the event of this name, if somebody modelled it.
func (s *Source) Event(name string) (connectors.Event, bool) {
	events, err := s.events()
	if err != nil {
		return connectors.Event{}, false
	}
	e, known := events[name]
	return e, known
}

// Decode reads a stored webhook with today's connector: as the event named, or, where that is empty, as the event it names
// itself. With a fault, what it returns is what could be read. It changes nothing.
func (s *Source) Decode(w *journalv1.Webhook, event string) (d Decoded, fault *Fault) {
	defer func() {
		if p := recover(); p != nil {
			fault = newPanic(p, debug.Stack())
		}
	}()
	events, err := s.events()
	if err != nil {
		return d, NewFault(BadEvents, err)
	}
	if _, known := events[event]; event != "" && !known {
		return Decoded{Event: event}, NewFault(UnknownEvent, errors.New("the connector has no such event"))
	}
	d.Event = event
	switch w.GetEncoding() {
	case journalv1.Encoding_ENCODING_JSON, journalv1.Encoding_ENCODING_FORM:
		return s.decodeText(w, d, events)
	case journalv1.Encoding_ENCODING_PROTOBUF:
		if d.Event == "" {
			d.Event = w.GetVendorEvent()
		}
		e, known := events[d.Event]
		if !known {
			return d, NewFault(UnknownEvent, errors.New("the connector has no such event, and only its message could say what a typed call means"))
		}
		m := e.New()
		if err := proto.Unmarshal(w.GetBody(), m); err != nil {
			return d, NewFault(Shape, errors.New("the typed call does not fit the event's message"))
		}
		d.Message = m
		return d, nil
	default:
		d.Event = w.GetVendorEvent()
		return d, storedFault(w)
	}
}

// decodeText reads a webhook that is JSON, or a form that holds it.
func (s *Source) decodeText(w *journalv1.Webhook, d Decoded, events map[string]connectors.Event) (Decoded, *Fault) {
	var fault *Fault
	if d.Document, fault = Document(s.Connector, w.GetEncoding(), w.GetBody()); fault != nil {
		return d, fault
	}
	if d.Event == "" {
		if d.Event, fault = s.nameOf(w, d.Document); fault != nil {
			return d, fault
		}
	}
	e, known := events[d.Event]
	if !known {
		return d, nil
	}
	m := e.New()
	drift, err := vendorjson.Unmarshal(d.Document, m)
	if err != nil {
		return d, NewFault(Malformed, err)
	}
	d.Message, d.Drift = m, drift
	return d, nil
}

// nameOf finds the event's name as at receipt. What became events keeps the name that it was given then.
func (s *Source) nameOf(w *journalv1.Webhook, document []byte) (string, *Fault) {
	if w.GetQuarantine() == nil || w.GetReleasedAt() != nil {
		return w.GetVendorEvent(), nil
	}
	named := Names{Path: w.GetPathEvent(), Header: HeaderOf(w.GetHeaders(), s.Connector.EventHeader)}
	name, fault := EventName(s.Connector, named, document)
	if fault != nil && fault.Reason == NoEvent && w.GetVendorEvent() != "" {
		// Kept by a version that did not keep the URL's name.
		return w.GetVendorEvent(), nil
	}
	if name == "" {
		name = w.GetVendorEvent()
	}
	return name, fault
}

// translateAgain is all that is done to a stored webhook before it is made durable.
func (s *Source) translateAgain(w *journalv1.Webhook, event string) (Decoded, connectors.Translation, *Fault) {
	d, fault := s.Decode(w, event)
	if fault != nil {
		return d, connectors.Translation{}, fault
	}
	var t connectors.Translation
	if d.Message != nil {
		t, fault = Translate(&s.Source, d.Event, d.Message, d.Document)
	} else {
		t, fault = TranslateUnmapped(&s.Source, d.Event, d.Document)
	}
	if fault == nil {
		fault = encodable(t.Events)
	}
	return d, t, fault
}

// storedFault is the fault that a webhook was quarantined with.
func storedFault(w *journalv1.Webhook) *Fault {
	q := w.GetQuarantine()
	return &Fault{Reason: Reason(q.GetReason()), Problem: q.GetDetail(), Path: q.GetPath(), Offset: q.GetOffset()}
}

// storedDelivery is a stored webhook as it was delivered.
func storedDelivery(src *Source, w *journalv1.Webhook, event string) *Delivery {
	return &Delivery{
		Source:     src,
		Event:      event,
		PathEvent:  w.GetPathEvent(),
		Element:    int(w.GetElement()),
		ReceivedAt: w.GetReceivedAt().AsTime(),
		Headers:    w.GetHeaders(),
		Body:       w.GetBody(),
		Encoding:   w.GetEncoding(),
		stored:     w.GetId(),
	}
}

// logPanic logs the stack of a fault that is a panic's.
func (in *Intake) logPanic(src *Source, event string, f *Fault) {
	if f.stack != nil {
		in.log.Error("connector panicked", "source", src.Name, "event", clean(event, maxName),
			"problem", f.Problem, "stack", string(f.stack))
	}
}
