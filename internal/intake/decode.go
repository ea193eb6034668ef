package intake

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/encoding"
	"github.com/webhook-bridge/bridge/internal/source"
)

// decodeWait is how long a stored webhook waits for its turn to be decoded.
const decodeWait = 30 * time.Second

// encodingHeader is kept with a body that is stored encoded.
const encodingHeader = "content-encoding"

// EncodingFault is the fault of a body whose content encoding could not be undone.
func EncodingFault(err error) *Fault {
	switch {
	case errors.Is(err, encoding.ErrUnknown):
		return NewFault(UnknownEncoding, err)
	case errors.Is(err, encoding.ErrTooLarge):
		return NewFault(Limit, err)
	}
	return NewFault(CorruptEncoding, err)
}

// EncodingsOf returns the content encodings of a body. The values of its Content-Encoding headers name them or, if the signature
// does not cover the headers, the body's first bytes show them.
func EncodingsOf(decides source.Decides, values []string, body []byte) (encoding.Chain, error) {
	if decides.ContentEncoding {
		return encoding.Parse(values)
	}
	return encoding.Shown(values, body)
}

// HoldsForm reports whether a body, with its encodings undone, is a form that holds the JSON. Its content type says it or, if the
// signature does not cover that, the body's first byte.
func HoldsForm(c *connectors.Connector, decides source.Decides, contentType string, body []byte) bool {
	switch {
	case c.FormField == "":
		return false
	case decides.ContentType:
		return IsForm(contentType)
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\uFEFF")), " \t\r\n")
	return len(text) > 0 && text[0] != '{' && text[0] != '['
}

// decodeStored undoes the content encoding of a webhook that was stored as received, as the edge does for one that arrives. The
// limit is today's limit of the source.
func (d *Delivery) decodeStored() *Fault {
	var values []string
	for _, h := range d.Headers {
		if h.GetName() == encodingHeader {
			values = append(values, h.GetValue())
		}
	}
	chain, err := EncodingsOf(d.Source.decides, values, d.Body)
	if err != nil {
		return EncodingFault(err)
	}
	body, limit := d.Body, d.Source.Limits.Body
	_, err = chain.Decode(d.Body, limit, decodeWait, func(r io.Reader) (err error) {
		if body, err = io.ReadAll(io.LimitReader(r, limit+1)); err == nil && int64(len(body)) > limit {
			err = encoding.ErrTooLarge
		}
		return err
	})
	if err != nil {
		return EncodingFault(err)
	}
	d.Body, d.Encoding = body, journalv1.Encoding_ENCODING_JSON
	if HoldsForm(d.Source.Connector, d.Source.decides, HeaderOf(d.Headers, "content-type"), body) {
		d.Encoding = journalv1.Encoding_ENCODING_FORM
	}
	return nil
}
