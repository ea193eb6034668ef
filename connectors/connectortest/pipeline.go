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

// pipeline reads a body as Bridge does, without network, clock and journal.
type pipeline struct {
	connector *connectors.Connector
	events    map[string]connectors.Event
	source    connectors.Source
	reader    *intake.Source
	// decoded is called with each message before it is translated.
	decoded func(proto.Message)
}

func newPipeline(c *connectors.Connector, src connectors.Source) (*pipeline, error) {
	events, err := c.Events()
	p := &pipeline{events: events}
	p.setSource(c, src)
	return p, err
}

// setSource has the pipeline read with a connector, for a source.
func (p *pipeline) setSource(c *connectors.Connector, src connectors.Source) {
	p.connector, p.source = c, src
	p.reader = intake.NewSource(source.Source{Name: src.Name, Connector: c, Currency: src.Currency, Zone: src.Zone}, p.decode)
}

func (p *pipeline) decode(event string, body []byte) (proto.Message, []vendorjson.Drift, error) {
	m := p.events[event].New()
	drift, err := vendorjson.Unmarshal(body, m)
	if err == nil {
		p.decoded(m)
	}
	return m, drift, err
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
	d.key, _ = intake.DeliveryKey(p.connector, headers, 0)
	delivery := intake.Delivery{Body: w.Body, Encoding: p.encoding(w)}
	text, fault := intake.Document(p.connector, delivery.Encoding, w.Body)
	if fault != nil {
		return nil, false, fault
	}
	elements, fault := p.reader.Elements(&delivery)
	if elements == nil && fault == nil {
		if p.isForm(w) {
			d.body = text
		}
		return []document{d}, false, nil
	}
	for i := range elements {
		e := d.of(elements[i].Document())
		e.name += "[" + strconv.Itoa(i) + "]"
		e.key, _ = intake.DeliveryKey(p.connector, headers, i+1)
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
	p.setSource(c, src)
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

// run reads a document. The result has a copy of the message, made before Translate.
func (p *pipeline) run(d document) result { return p.runWith(d, proto.Clone) }

// runWith is run with another function in the place of the copy.
func (p *pipeline) runWith(d document, clone func(proto.Message) proto.Message) (r result) {
	p.decoded = func(m proto.Message) { r.message = clone(m) }
	var headers []*journalv1.Header
	if d.named.Header != "" {
		headers = []*journalv1.Header{{Name: p.connector.EventHeader, Value: d.named.Header}}
	}
	delivery := &intake.Delivery{
		Source: p.reader, PathEvent: d.named.Path, Headers: headers, Body: d.body, Encoding: journalv1.Encoding_ENCODING_JSON,
	}
	got := p.reader.Read(delivery)
	if fault := p.reader.Draft(delivery, &got).Fault; fault != nil { // events that cannot be encoded are found last
		got.Translation, got.Fault = connectors.Translation{}, fault
	}
	if got.Ping != nil { // no rule is about one, except pings
		got.Fault = &intake.Fault{Reason: pinged, Problem: got.Ping.Name, Offset: -1}
	}
	r.text, r.event, r.translation, r.fault, r.drift = got.Document, got.Event, got.Translation, got.Fault, got.Drift
	if _, header := d.key.Natural(); header && r.fault == nil && len(naturalKeys(r.translation)) == 0 {
		r.translation.Key = d.key
	}
	return r
}

// pinged is the fault of a document that is a ping: it makes no events.
const pinged intake.Reason = "ping"

// ping returns which ping a webhook is, nil if it is none.
func (p *pipeline) ping(w sample.Webhook) *connectors.Ping {
	p.decoded = func(proto.Message) {}
	r := p.reader.Read(&intake.Delivery{
		Source: p.reader, PathEvent: w.Event, Headers: p.storedHeaders(w), Body: w.Body, Encoding: p.encoding(w),
	})
	return r.Ping
}

// same says whether two translations have equal keys, events and drift.
func same(a, b connectors.Translation) bool {
	return a.Key == b.Key && slices.Equal(a.Also, b.Also) && slices.Equal(a.Drift, b.Drift) && sameEvents(a, b)
}

func sameEvents(a, b connectors.Translation) bool {
	return slices.EqualFunc(a.Events, b.Events, func(x, y *eventv1.Event) bool { return proto.Equal(x, y) })
}
