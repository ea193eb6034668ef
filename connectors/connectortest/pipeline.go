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

// result is what became of a webhook: a translation or a quarantine, never both.
type result struct {
	event       string
	message     proto.Message // nil if it was not decoded
	translation connectors.Translation
	quarantine  *quarantine
	drift       []vendorjson.Drift
}

type quarantine struct {
	Reason  string `json:"reason"`
	Path    string `json:"path,omitempty"`
	Offset  int64  `json:"offset"`
	Problem string `json:"problem"`
}

// run takes a webhook through all steps. urlEvent is the name in the URL, if any.
func (p *pipeline) run(urlEvent string, body []byte) result {
	name, q := p.eventName(urlEvent, body)
	if q != nil {
		return result{event: name, quarantine: q}
	}
	event, known := p.events[name]
	if !known {
		return p.unmapped(name, body)
	}
	m := event.New()
	drift, err := vendorjson.Unmarshal(body, m)
	if err != nil {
		return result{event: name, quarantine: refusal(err)}
	}
	r := result{event: name, message: m, drift: drift}
	if r.translation, err = p.translate(name, m); err != nil {
		r.translation, r.quarantine = connectors.Translation{}, refusal(err)
	}
	return r
}

func (p *pipeline) translate(event string, m proto.Message) (connectors.Translation, error) {
	return p.connector.Translate(connectors.Input{Source: p.source, Event: event, Message: m})
}

// eventName finds the event's name in body and URL, which must agree.
func (p *pipeline) eventName(urlEvent string, body []byte) (string, *quarantine) {
	name, found := "", false
	if p.connector.EventField != "" {
		var err error
		if name, found, err = vendorjson.Field(body, p.connector.EventField); err != nil {
			return urlEvent, refusal(err)
		}
	}
	switch {
	case !found || name == "":
		name = urlEvent
	case urlEvent != "" && urlEvent != name:
		return name, &quarantine{
			Reason: "event_mismatch", Path: "$." + p.connector.EventField, Offset: -1,
			Problem: fmt.Sprintf("is %q, but the URL says %q", name, urlEvent),
		}
	}
	if name == "" {
		return "", &quarantine{Reason: "no_event_name", Offset: -1, Problem: "neither the body nor the URL names the event"}
	}
	return name, nil
}

// unmapped is what becomes of an event that nobody modelled.
func (p *pipeline) unmapped(name string, body []byte) result {
	if err := vendorjson.Check(body); err != nil {
		return result{event: name, quarantine: refusal(err)}
	}
	e := &eventv1.Event{
		Type:    "unmapped",
		Subject: p.connector.Name + "/" + name,
		Data:    &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: string(body)}},
	}
	key := connectors.ContentHash()
	if env := p.connector.Envelope; env != nil {
		m := env.New()
		if _, err := vendorjson.Unmarshal(body, m); err == nil {
			key, e.SubjectVersion = env.Identify(m)
		}
	}
	return result{event: name, translation: connectors.Translation{Key: key, Events: []*eventv1.Event{e}}}
}

// refusal describes the error of a decoder or of Translate.
func refusal(err error) *quarantine {
	if e, ok := errors.AsType[*vendorjson.Error](err); ok {
		return &quarantine{Reason: e.Code, Path: e.Path, Offset: e.Offset, Problem: e.Problem}
	}
	if e, ok := errors.AsType[*connectors.Error](err); ok {
		return &quarantine{Reason: "untranslatable", Path: e.Path, Offset: -1, Problem: e.Problem}
	}
	return &quarantine{Reason: "untranslatable", Offset: -1, Problem: err.Error()}
}
