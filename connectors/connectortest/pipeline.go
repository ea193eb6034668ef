package connectortest

import (
	"bytes"
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
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// pipeline does to a body what Bridge does, without a network, a clock or a journal.
type pipeline struct {
	connector *connectors.Connector
	events    map[string]connectors.Event
	source    connectors.Source
	// decode is [vendorjson.Unmarshal], unless a test of this kit puts a broken one in its place.
	decode func(body []byte, m proto.Message) ([]vendorjson.Drift, error)
}

func newPipeline(c *connectors.Connector, src connectors.Source) (*pipeline, error) {
	events, err := c.Events()
	return &pipeline{connector: c, events: events, source: src, decode: vendorjson.Unmarshal}, err
}

// document is one of the vendor's JSON documents, out of the form or the list that it came in.
type document struct {
	// name is the sample's, and the document's place in it.
	name  string
	named intake.Names
	body  []byte
	// key is the header's, if the vendor has one there.
	key connectors.Key
}

// of is another document that came as d did.
func (d document) of(body []byte) document {
	d.body = body
	return d
}

// open takes the documents out of a webhook. list says that there may be any number, else there is one. With a fault, there
// is none.
func (p *pipeline) open(w sample.Webhook) (documents []document, list bool, fault *intake.Fault) {
	headers := p.kept(w)
	d := document{name: w.Name, body: w.Body}
	d.named = intake.Names{Path: w.Event, Header: intake.HeaderOf(headers, p.connector.EventHeader)}
	d.key, _ = intake.HeaderKey(p.connector, headers, 0)
	if p.isForm(w) {
		if d.body, fault = intake.Document(p.connector, journalv1.Encoding_ENCODING_FORM, w.Body); fault != nil {
			return nil, false, fault
		}
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(d.body, []byte("\uFEFF")), " \t\r\n")
	if !p.connector.Batches || !bytes.HasPrefix(text, []byte{'['}) {
		return []document{d}, false, nil
	}
	elements, err := vendorjson.Split(d.body)
	switch {
	case err != nil:
		return nil, true, intake.NewFault(intake.Malformed, err)
	case len(elements) == 0:
		return nil, true, intake.NewFault(intake.Shape, nil)
	}
	for i, at := range elements {
		e := d.of(at.Of(d.body))
		e.name += "[" + strconv.Itoa(i) + "]"
		e.key, _ = intake.HeaderKey(p.connector, headers, i+1)
		documents = append(documents, e)
	}
	return documents, true, nil
}

func (p *pipeline) isForm(w sample.Webhook) bool {
	mediaType, _, _ := mime.ParseMediaType(w.ContentType)
	return p.connector.FormField != "" && mediaType == sample.Form
}

// kept are the headers of a webhook that mean something to the connector.
func (p *pipeline) kept(w sample.Webhook) (kept []*journalv1.Header) {
	for _, name := range []string{p.connector.EventHeader, p.connector.KeyHeader} {
		for _, value := range http.Header(w.Header).Values(name) {
			kept = append(kept, &journalv1.Header{Name: strings.ToLower(name), Value: value})
		}
	}
	return kept
}

// result is what became of a document: a translation or a fault, never both.
type result struct {
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

// broken says whether the connector is at fault, and not the webhook.
func (r result) broken() bool { return r.fault != nil && r.fault.Ours() }

// run takes a document through all steps. The message is a copy of what the connector got.
func (p *pipeline) run(d document) result { return p.take(d, proto.Clone) }

// take is run with the message as keep returns it, which is called before the connector has it.
func (p *pipeline) take(d document, keep func(proto.Message) proto.Message) (r result) {
	if r.event, r.fault = intake.EventName(p.connector, d.named, d.body); r.fault != nil {
		return r
	}
	src := intake.SourceConfig{Connector: p.connector, Info: p.source}
	event, known := p.events[r.event]
	if !known {
		r.translation, r.fault = intake.TranslateUnmapped(&src, r.event, d.body)
	} else {
		m := event.New()
		var err error
		if r.drift, err = p.decode(d.body, m); err != nil {
			r.fault = intake.NewFault(intake.Malformed, err)
			return r
		}
		r.message = keep(m)
		r.translation, r.fault = intake.Translate(&src, r.event, m, d.body)
	}
	if _, natural := d.key.Natural(); natural && r.fault == nil {
		r.translation.Key = d.key
	}
	return r
}

// translate has the connector translate a message, and nothing else.
func (p *pipeline) translate(event string, m proto.Message) (connectors.Translation, error) {
	return p.connector.Translate(connectors.Input{Source: p.source, Event: event, Message: m})
}

// same says whether two results are the same events under the same key.
func same(a, b connectors.Translation) bool {
	return a.Key == b.Key && slices.EqualFunc(a.Events, b.Events, func(x, y *eventv1.Event) bool { return proto.Equal(x, y) })
}
