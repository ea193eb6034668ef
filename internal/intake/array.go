package intake

import (
	"bytes"
	"errors"
	"fmt"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/tracing"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// MaxElements is how many webhooks one body may hold.
const MaxElements = MaxEvents

// IsArray says whether a document begins as an array does.
func IsArray(document []byte) bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(document, []byte("\uFEFF")), " \t\r\n")
	return len(text) > 0 && text[0] == '['
}

// Elements splits a delivery that is an array into the deliveries of its webhooks, which share its memory. It returns nil for
// any other delivery, and a fault for an array that cannot be split.
func (s *Source) Elements(d *Delivery) ([]Delivery, *Fault) {
	document, fault := s.document(d)
	if fault != nil || !s.splits(d, document) {
		return nil, nil //nolint:nilerr // reading the delivery tells the fault
	}
	return d.split(document)
}

// Document returns the JSON of an element. It shares the array's memory.
func (d *Delivery) Document() []byte { return d.text }

// splits says whether a delivery is an array that the connector sends, and neither an element of one nor a ping.
func (s *Source) splits(d *Delivery, document []byte) bool {
	return s.Connector.Batches && d.Element == 0 && IsArray(document) && (s.Connector.NoPings || contentPing(d, document) == nil)
}

func (d *Delivery) split(document []byte) ([]Delivery, *Fault) {
	spans, err := vendorjson.Split(document)
	switch n := len(spans); {
	case err != nil:
		return nil, NewFault(Malformed, err)
	case n == 0:
		return nil, NewFault(Shape, errors.New("the array is empty"))
	case n > MaxElements:
		return nil, NewFault(Limit, fmt.Errorf("the array has %d elements, more than %d", n, MaxElements))
	}
	// Normalizing moves nothing. Places in a form are places in the document that it holds.
	received := document
	if d.Encoding == journalv1.Encoding_ENCODING_JSON {
		received = d.Body
	}
	elements := make([]Delivery, len(spans))
	for i, at := range spans {
		e := &elements[i]
		*e = *d
		e.Body, e.text, e.Element, e.Encoding = at.Of(received), at.Of(document), i+1, journalv1.Encoding_ENCODING_JSON
		e.Span = tracing.Span{} // The array has one span, since its webhooks may be thousands.
	}
	return elements, nil
}
