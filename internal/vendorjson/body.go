package vendorjson

import (
	"fmt"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"
)

// Body is the request body for the generated gateway. After the handler has returned, Drift and Err have the decoder's results,
// which the gateway itself loses. It belongs to one request and is not safe for concurrent use.
type Body struct {
	// Data is the document. It is neither copied nor changed.
	Data []byte
	// Drift has the differences between the document and its message.
	Drift []Drift
	// Err is the reason for refusing the document; nil if it was decoded, and before that. It is of type [*Error], unless the
	// handler asked for something other than a protobuf message.
	Err error

	// rest has the bytes that Read has not yet returned.
	rest []byte
}

// NewBody returns a body for one document, which must not change while the body is in use.
func NewBody(data []byte) *Body {
	return &Body{Data: data, rest: data}
}

// Read reads the document's bytes. After decoding there is nothing left to read.
func (b *Body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// WriteTo writes the unread bytes, so that io.Copy needs no buffer.
func (b *Body) WriteTo(w io.Writer) (int64, error) {
	if len(b.rest) == 0 {
		return 0, nil
	}
	n, err := w.Write(b.rest)
	b.rest = b.rest[n:]
	return int64(n), err
}

// Close does nothing: a body has no open resources.
func (b *Body) Close() error { return nil }

// decode decodes the whole document into v, also if a part of it was read before.
func (b *Body) decode(v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		b.Err = fmt.Errorf("vendorjson: decode: %T is no protobuf message", v)
		return b.Err
	}
	b.rest = nil
	b.Drift, b.Err = Unmarshal(b.Data, m)
	return b.Err
}

// Marshaler makes the generated gateway decode with this package. It decodes a [*Body] in place, without reading it, and
// refuses any other reader, which might have no end.
//
// Marshal returns a constant, because the gateway's own answer is dropped: the edge gives each vendor the answer that it needs.
type Marshaler struct{}

var _ runtime.Marshaler = Marshaler{}

// answer is the gateway's answer, which is dropped.
var answer = []byte("{}")

// ContentType is JSON's.
func (Marshaler) ContentType(any) string { return "application/json" }

// Marshal returns an empty JSON object, which is shared and must not be changed.
func (Marshaler) Marshal(any) ([]byte, error) { return answer, nil }

// Unmarshal decodes data into v, a protobuf message, as [Unmarshal] does. It drops the drifts.
func (Marshaler) Unmarshal(data []byte, v any) error { return NewBody(data).decode(v) }

// NewDecoder returns a decoder of r, which must be a [*Body]. The results of Decode are also in the body.
func (Marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	b, ok := r.(*Body)
	if !ok || b == nil {
		return runtime.DecoderFunc(func(any) error {
			return fmt.Errorf("vendorjson: decode: the request's body is a %T, not a *vendorjson.Body", r)
		})
	}
	return runtime.DecoderFunc(b.decode)
}

// NewEncoder returns an encoder that writes the same constant as Marshal.
func (Marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(any) error {
		_, err := w.Write(answer)
		return err
	})
}
