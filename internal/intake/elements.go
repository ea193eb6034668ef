package intake

import (
	"bytes"
	"errors"
	"fmt"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// MaxElements is how many webhooks one body may hold.
const MaxElements = MaxEvents

// Element is one webhook of an array.
type Element struct {
	// Body is what was received for it, Text what the connector has mended, which is Body unless it mends.
	Body, Text []byte
}

// IsList says whether a document begins as an array does.
func IsList(document []byte) bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(document, []byte("\uFEFF")), " \t\r\n")
	return len(text) > 0 && text[0] == '['
}

// Elements takes an array of webhooks apart, or says why it is none. They share the delivery's memory.
func (d *Delivery) Elements() ([]Element, *Fault) {
	document := d.JSON()
	spans, err := vendorjson.Split(document)
	switch n := len(spans); {
	case err != nil:
		return nil, NewFault(Malformed, err)
	case n == 0:
		return nil, NewFault(Shape, errors.New("the array is empty"))
	case n > MaxElements:
		return nil, NewFault(Limit, fmt.Errorf("the array has %d elements, more than %d", n, MaxElements))
	}
	// Mending moves nothing; of a form, only what it holds has places.
	received := document
	if d.Encoding == journalv1.Encoding_ENCODING_JSON {
		received = d.Body
	}
	elements := make([]Element, len(spans))
	for i, at := range spans {
		elements[i] = Element{Body: at.Of(received), Text: at.Of(document)}
	}
	return elements, nil
}
