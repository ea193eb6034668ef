package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// maxElements is how many webhooks one body may hold.
const maxElements = intake.MaxEvents

// isList says whether a document begins as an array does.
func isList(document []byte) bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(document, []byte("\uFEFF")), " \t\r\n")
	return len(text) > 0 && text[0] == '['
}

// takeBatch takes in the webhooks of an array, each by itself, and makes all that become of them durable at once. An array
// that is none, or is too much, is kept as it came. Where the source refuses what cannot be decoded, one such element has the
// whole refused.
func (in *Ingress) takeBatch(ctx context.Context, src *source, d *intake.Delivery, named intake.Names) (intake.Outcome, error) {
	elements, err := vendorjson.Split(d.JSON())
	if fault := faultOf(elements, err); fault != nil {
		return in.intake.Quarantine(ctx, d, fault)
	}
	var batch intake.Batch
	element := *d
	element.Encoding, element.Batch = journalv1.Encoding_ENCODING_JSON, &batch
	raw := unmended{document: d.JSON(), received: d.JSON()}
	if d.Encoding == journalv1.Encoding_ENCODING_JSON {
		raw.received = d.Body
	}
	for i, text := range elements {
		element.Body, element.Text, element.Element = raw.next(text), text, i+1
		if _, err := in.takeOne(ctx, src, &element, named); err != nil {
			return 0, err
		}
		if batch.Events() > intake.MaxEvents {
			return in.intake.Quarantine(ctx, d, intake.NewFault(intake.TooManyEvents,
				fmt.Errorf("the array's webhooks make more than %d events", intake.MaxEvents)))
		}
	}
	return intake.Collected, in.intake.Commit(ctx, &batch)
}

// unmended finds what was received for the elements of a document that the connector may have mended. Mending moves nothing.
type unmended struct {
	document, received []byte
	// at is where the last element ended.
	at int
}

// next returns what was received for the next element. What precedes it can be no beginning of it.
func (u *unmended) next(element []byte) []byte {
	start := u.at + bytes.Index(u.document[u.at:], element)
	u.at = start + len(element)
	return u.received[start:u.at:u.at]
}

// faultOf says why an array is no batch of webhooks.
func faultOf(elements [][]byte, err error) *intake.Fault {
	switch n := len(elements); {
	case err != nil:
		return intake.NewFault(intake.Malformed, err)
	case n == 0:
		return intake.NewFault(intake.Shape, errors.New("the array is empty"))
	case n > maxElements:
		return intake.NewFault(intake.Limit, fmt.Errorf("the array has %d elements, more than %d", n, maxElements))
	}
	return nil
}
