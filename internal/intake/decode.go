package intake

import (
	"errors"
	"io"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/encoding"
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

// decodeStored undoes the content encoding of a webhook that was stored as received, as the edge does for one that arrives. The
// limit is today's limit of the source.
func (d *Delivery) decodeStored() *Fault {
	var values []string
	for _, h := range d.Headers {
		if h.GetName() == encodingHeader {
			values = append(values, h.GetValue())
		}
	}
	chain, err := encoding.Parse(values)
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
	if d.Source.Connector.FormField != "" && IsForm(HeaderOf(d.Headers, "content-type")) {
		d.Encoding = journalv1.Encoding_ENCODING_FORM
	}
	return nil
}
