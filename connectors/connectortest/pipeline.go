package connectortest

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// pipeline does to a body what Bridge does, without a network, a clock or a journal.
type pipeline struct {
	connector *connectors.Connector
	events    map[string]connectors.Event
	source    connectors.Source
}

func newPipeline(c *connectors.Connector, src connectors.Source) (*pipeline, error) {
	events, err := c.Events()
	return &pipeline{connector: c, events: events, source: src}, err
}

// result is what became of a webhook: a translation or a fault, never both.
type result struct {
	event       string
	message     proto.Message // as it was decoded; nil if it was not
	translation connectors.Translation
	fault       *fault
	drift       []vendorjson.Drift
}

func (r result) refused() bool { return r.fault != nil }

// fault says why a webhook made no event.
type fault struct {
	reason, path string
	offset       int64
	problem      string
}

// The reasons that are not the decoder's, as the quarantine has them.
const (
	noEvent        = "no_event"
	eventMismatch  = "event_mismatch"
	untranslatable = "untranslatable"
	panicked       = "panic"
)

func (f *fault) Error() string { return f.reason + ": " + f.path + " " + f.problem }

// run takes a webhook through all steps. inURL is the event's name in the URL, if any.
func (p *pipeline) run(inURL string, body []byte) (r result) {
	defer func() {
		if x := recover(); x != nil {
			r.translation, r.fault = connectors.Translation{}, &fault{reason: panicked, offset: -1, problem: fmt.Sprint(x)}
		}
	}()
	var err error
	if r.event, r.fault = p.eventName(inURL, body); r.fault != nil {
		return r
	}
	event, known := p.events[r.event]
	if !known {
		r.translation, err = p.unmapped(r.event, body)
		r.fault = newFault(err)
		return r
	}
	m := event.New()
	if r.drift, err = vendorjson.Unmarshal(body, m); err != nil {
		r.fault = newFault(err)
		return r
	}
	r.message = proto.Clone(m)
	if r.translation, err = p.translate(r.event, m); err != nil {
		r.translation, r.fault = connectors.Translation{}, newFault(err)
	}
	return r
}

// translate leaves the connector's panics to the caller.
func (p *pipeline) translate(event string, m proto.Message) (connectors.Translation, error) {
	return p.connector.Translate(connectors.Input{Source: p.source, Event: event, Message: m})
}

// eventName finds the event's name in body and URL, which must agree where both have it.
func (p *pipeline) eventName(inURL string, body []byte) (string, *fault) {
	inBody := ""
	if p.connector.EventField != "" {
		var err error
		if inBody, _, err = vendorjson.Field(body, p.connector.EventField); err != nil {
			return inURL, newFault(err)
		}
	}
	switch {
	case inBody == "" && inURL == "":
		return "", &fault{reason: noEvent, offset: -1, problem: "neither the body nor the URL names the event"}
	case inBody == "":
		return inURL, nil
	case inURL != "" && inURL != inBody:
		return inBody, &fault{reason: eventMismatch, offset: -1, problem: fmt.Sprintf("the body says %q, the URL says %q", inBody, inURL)}
	}
	return inBody, nil
}

// unmapped is what becomes of an event that nobody modelled.
func (p *pipeline) unmapped(name string, body []byte) (connectors.Translation, error) {
	if err := vendorjson.Check(body); err != nil {
		return connectors.Translation{}, err
	}
	e := &eventv1.Event{
		Type:    "unmapped",
		Subject: p.connector.Name + "/" + name,
		Data:    &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: string(body)}},
	}
	t := connectors.Translation{Key: connectors.ContentHash(), Events: []*eventv1.Event{e}}
	if envelope := p.connector.Envelope; envelope != nil {
		m := envelope.New()
		if _, err := vendorjson.Unmarshal(body, m); err == nil {
			t.Key, e.SubjectVersion = envelope.Identify(m)
		}
	}
	return t, nil
}

// newFault describes the error of a decoder or of a connector; nil for nil.
func newFault(err error) *fault {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*vendorjson.Error](err); ok {
		return &fault{reason: e.Code, path: e.Path, offset: e.Offset, problem: e.Problem}
	}
	f := &fault{reason: untranslatable, offset: -1, problem: err.Error()}
	if e, ok := errors.AsType[*connectors.Error](err); ok {
		f.path, f.problem = e.Path, e.Problem
	}
	return f
}
