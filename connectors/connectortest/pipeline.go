package connectortest

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// pipeline decodes and translates a body as Bridge does, without network, clock and journal.
type pipeline struct {
	connector *connectors.Connector
	events    map[string]connectors.Event
	source    connectors.Source
}

func newPipeline(c *connectors.Connector, src connectors.Source) (*pipeline, error) {
	events, err := c.Events()
	return &pipeline{connector: c, events: events, source: src}, err
}

// document is one JSON document of the vendor, taken out of its form or array.
type document struct {
	// name is the sample's, and the document's place in it.
	name  string
	named intake.Names
	// body is the text before Normalize.
	body []byte
	// key is from the KeyHeader, if there is one.
	key connectors.Key
}

// of returns a document with another body that is otherwise like d.
func (d document) of(body []byte) document {
	d.body = body
	return d
}

// open returns the documents of a webhook. list says that the body is an array of webhooks; otherwise there is one document.
// With a fault there is none.
func (p *pipeline) open(w sample.Webhook) (documents []document, list bool, fault *intake.Fault) {
	headers := p.storedHeaders(w)
	d := document{name: w.Name, body: w.Body}
	d.named = intake.Names{Path: w.Event, Header: intake.HeaderOf(headers, p.connector.EventHeader)}
	d.key, _ = intake.HeaderKey(p.connector, headers, 0)
	delivery := intake.Delivery{Body: w.Body, Encoding: p.encoding(w)}
	if delivery.Text, fault = intake.Document(p.connector, delivery.Encoding, w.Body); fault != nil {
		return nil, false, fault
	}
	if !p.connector.Batches || !intake.IsList(delivery.Text) {
		if p.isForm(w) {
			d.body = delivery.Text
		}
		return []document{d}, false, nil
	}
	elements, fault := delivery.Elements()
	for i, element := range elements {
		e := d.of(element.Text)
		e.name += "[" + strconv.Itoa(i) + "]"
		e.key, _ = intake.HeaderKey(p.connector, headers, i+1)
		documents = append(documents, e)
	}
	return documents, true, fault
}

// text returns a document's JSON. Normalize does not change JSON, so a text may be normalized twice.
func (p *pipeline) text(d document) []byte {
	text, _ := intake.Document(p.connector, journalv1.Encoding_ENCODING_JSON, d.body) // only a form has a fault
	return text
}

// parse reads a document strictly.
func (p *pipeline) parse(d document) (any, error) { return parse(p.text(d)) }

// with returns the kit with another connector of the same events, or another source.
func (k *kit) with(c *connectors.Connector, src connectors.Source) *kit {
	other, p := *k, *k.pipeline
	p.connector, p.source = c, src
	other.pipeline = &p
	return &other
}

func (p *pipeline) isForm(w sample.Webhook) bool {
	mediaType, _, _ := mime.ParseMediaType(w.ContentType)
	return p.connector.FormField != "" && mediaType == sample.Form
}

func (p *pipeline) encoding(w sample.Webhook) journalv1.Encoding {
	if p.isForm(w) {
		return journalv1.Encoding_ENCODING_FORM
	}
	return journalv1.Encoding_ENCODING_JSON
}

// storedHeaders returns the headers that Bridge stores for the connector.
func (p *pipeline) storedHeaders(w sample.Webhook) (stored []*journalv1.Header) {
	for _, name := range []string{p.connector.EventHeader, p.connector.KeyHeader} {
		for _, value := range http.Header(w.Header).Values(name) {
			stored = append(stored, &journalv1.Header{Name: strings.ToLower(name), Value: value})
		}
	}
	return stored
}

// result is the result of a document: a translation or a fault, never both.
type result struct {
	text        []byte // after Normalize
	event       string
	message     proto.Message // as it was decoded; nil if it was not
	translation connectors.Translation
	fault       *intake.Fault
	drift       []vendorjson.Drift
}

func (r result) refused() bool { return r.fault != nil }

// unmapped says whether the webhook was passed on as it came.
func (r result) unmapped() bool {
	return r.fault == nil && r.translation.Events[0].GetType() == intake.UnmappedType
}

// broken says whether the fault is a defect of the connector, and not of the webhook.
func (r result) broken() bool { return r.fault != nil && r.fault.Ours() }

// run decodes and translates a document. The result has a copy of the message, made before Translate.
func (p *pipeline) run(d document) result { return p.runWith(d, proto.Clone) }

// runWith is run with another function in the place of the copy.
func (p *pipeline) runWith(d document, clone func(proto.Message) proto.Message) (r result) {
	r.text = p.text(d)
	if r.event, r.fault = intake.EventName(p.connector, d.named, r.text); r.fault != nil {
		return r
	}
	event, known := p.events[r.event]
	if !known {
		r.translation, r.fault = intake.TranslateUnmapped(p.config(), r.event, r.text)
	} else {
		m := event.New()
		var err error
		if r.drift, err = vendorjson.Unmarshal(r.text, m); err != nil {
			r.fault = intake.NewFault(intake.Malformed, err)
			return r
		}
		r.message = clone(m)
		r.translation, r.fault = intake.Translate(p.config(), r.event, m, r.text)
	}
	if _, natural := d.key.Natural(); natural && r.fault == nil {
		r.translation.Key = d.key
	}
	return r
}

func (p *pipeline) config() *source.Source {
	return &source.Source{Connector: p.connector, Name: p.source.Name, Currency: p.source.Currency, Zone: p.source.Zone}
}

// same says whether two translations have equal keys and events.
func same(a, b connectors.Translation) bool {
	return a.Key == b.Key && slices.EqualFunc(a.Events, b.Events, func(x, y *eventv1.Event) bool { return proto.Equal(x, y) })
}
