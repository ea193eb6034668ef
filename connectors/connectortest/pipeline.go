package connectortest

import (
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/intake"
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
	fault       *intake.Fault
	drift       []vendorjson.Drift
}

func (r result) refused() bool { return r.fault != nil }

// broken says whether the connector is at fault, and not the webhook.
func (r result) broken() bool { return r.fault != nil && r.fault.Ours() }

// run takes a webhook through all steps. inURL is the event's name in the URL, if any.
func (p *pipeline) run(inURL string, body []byte) (r result) {
	if r.event, r.fault = intake.EventName(p.connector, intake.Names{Path: inURL}, body); r.fault != nil {
		return r
	}
	src := intake.SourceConfig{Connector: p.connector, Info: p.source}
	event, known := p.events[r.event]
	if !known {
		r.translation, r.fault = intake.TranslateUnmapped(&src, r.event, body)
		return r
	}
	m := event.New()
	var err error
	if r.drift, err = vendorjson.Unmarshal(body, m); err != nil {
		r.fault = intake.NewFault(intake.Malformed, err)
		return r
	}
	r.message = proto.Clone(m)
	r.translation, r.fault = intake.Translate(&src, r.event, m)
	return r
}

// translate has the connector translate a message, and nothing else.
func (p *pipeline) translate(event string, m proto.Message) (connectors.Translation, error) {
	return p.connector.Translate(connectors.Input{Source: p.source, Event: event, Message: m})
}
