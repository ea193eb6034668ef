package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/encoding"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/listener"
)

const (
	// smallBody is how large most bodies are; buffers start with it.
	smallBody = 4 * kibi
	// pooledBody is the largest buffer that is kept for later. Rare large bodies must not stay in memory.
	pooledBody = 64 * kibi
)

// body is a webhook's body, with the content encoding undone if that was possible.
type body struct {
	data []byte
	// buffer is data's memory.
	buffer *buffer
	// fault is why the content encoding could not be undone; data is then what was received.
	fault *intake.Fault
	// form: data is a form that holds the JSON.
	form bool
}

func (b *body) encoding() journalv1.Encoding {
	switch {
	case b.fault != nil:
		return journalv1.Encoding_ENCODING_RAW
	case b.form:
		return journalv1.Encoding_ENCODING_FORM
	}
	return journalv1.Encoding_ENCODING_JSON
}

// release gives the memory back. The data is not to be used any more, by anybody.
func (b *body) release() {
	b.buffer.release()
	b.data = nil
}

// buffer is pooled memory.
type buffer struct {
	bytes []byte
	// usable is how much of the capacity is reserved. Pooled memory may be larger than what is needed.
	usable int
	// arrival is the reader of the body, where its time is bounded by what has arrived.
	arrival arrival
}

var buffers = sync.Pool{New: func() any { return &buffer{bytes: make([]byte, 0, smallBody)} }}

func newBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) release() {
	b.arrival = arrival{}
	if cap(b.bytes) <= pooledBody {
		b.bytes, b.usable = b.bytes[:0], 0
		buffers.Put(b)
	}
}

// fill reads all of r, whose size is about hint, or unknown if that is negative. It reserves bytes as the buffer grows. Errors
// are the reader's, errTooLarge for more than limit bytes, and the reservation's.
func (b *buffer) fill(ctx context.Context, r io.Reader, hint, limit int64, reserved *reservation) error {
	// One byte more than expected, so that the end is found without growing.
	if err := b.grow(ctx, int(max(hint+1, smallBody)), reserved); err != nil {
		return err
	}
	for {
		if len(b.bytes) == b.usable {
			if err := b.grow(ctx, int(min(2*int64(b.usable), max(limit+1, smallBody))), reserved); err != nil {
				return err
			}
		}
		n, err := r.Read(b.bytes[len(b.bytes):b.usable])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case int64(len(b.bytes)) > limit:
			return errTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// grow makes size bytes usable.
func (b *buffer) grow(ctx context.Context, size int, reserved *reservation) error {
	if err := reserved.grow(ctx, int64(size-b.usable)); err != nil {
		return err
	}
	if size > cap(b.bytes) {
		b.bytes = append(make([]byte, 0, size), b.bytes...)
	}
	b.usable = size
	return nil
}

// readBody reads a request's body within the source's limits, and verifies it if that could not be done before. The caller
// releases it, unless there is an error.
func (s *endpoint) readBody(w http.ResponseWriter, r *http.Request, now time.Time, reserved *reservation) (body, error) {
	b, err := s.readVerified(w, r, now, reserved)
	if err != nil {
		return body{}, err
	}
	if encodings := r.Header["Content-Encoding"]; encodings != nil || !s.decides.ContentEncoding {
		if b, err = s.decode(r.Context(), b, encodings, reserved); err != nil {
			return body{}, err
		}
	}
	b.form = b.fault == nil && intake.HoldsForm(s.Connector, s.decides, r.Header.Get("Content-Type"), b.data)
	if copies := copies(s.Connector, b.form); copies > 0 && b.fault == nil {
		if err := reserved.grow(context.WithoutCancel(r.Context()), int64(copies*len(b.data))); err != nil {
			b.release()
			return body{}, err
		}
	}
	return b, nil
}

// readVerified reads a verified sender's body as it came over the wire. The sender's quota is used only after it is verified.
func (s *endpoint) readVerified(w http.ResponseWriter, r *http.Request, now time.Time, reserved *reservation) (body, error) {
	if s.verifier.signed != nil {
		return s.readSigned(w, r, now, reserved)
	}
	hint := int64(-1) // a stranger's announced length reserves nothing
	if !s.verifier.none {
		listener.Verified(r.Context())
		hint = r.ContentLength
	}
	if err := s.limits.admit(now); err != nil {
		return body{}, err
	}
	return s.readWire(w, r, hint, reserved)
}

// readSigned reads a body whose sender is known only after its signature is verified. Until then the body reserves from the
// unverified budget, for the bytes that have arrived beyond the first smallBody.
func (s *endpoint) readSigned(w http.ResponseWriter, r *http.Request, now time.Time, reserved *reservation) (body, error) {
	unverified := reservation{budget: s.unverified, free: smallBody}
	defer unverified.release()
	b, err := s.readWire(w, r, -1, &unverified)
	if err != nil {
		return body{}, err
	}
	err = s.verifier.verifySigned(r, b.data, now)
	if err == nil {
		listener.Verified(r.Context())
		err = s.limits.admit(now)
	}
	if err == nil {
		err = reserved.grow(context.WithoutCancel(r.Context()), int64(b.buffer.usable))
	}
	if err != nil {
		b.release()
		return body{}, err
	}
	return b, nil
}

// readWire reads a body as it came over the wire, whose size is about hint, or unknown if that is negative.
func (s *endpoint) readWire(w http.ResponseWriter, r *http.Request, hint int64, reserved *reservation) (body, error) {
	if r.ContentLength > s.limits.body {
		return body{}, errTooLarge
	}
	received, content := newBuffer(), io.Reader(r.Body)
	// The server's own deadline suffices for a small body of a verified sender.
	if verified := s.verifier.signed == nil && !s.verifier.none; !verified || r.ContentLength < 0 || r.ContentLength > pooledBody {
		received.arrival.begin(w, r.Body, verified)
		content = &received.arrival
	}
	if err := received.fill(r.Context(), content, hint, s.limits.body, reserved); err != nil {
		received.release()
		return body{}, bodyError(err)
	}
	return body{data: received.bytes, buffer: received}, nil
}

// bodyError tells apart why a body did not arrive.
func bodyError(err error) error {
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errBusy):
		return err
	case errors.Is(err, encoding.ErrTooLarge):
		return errTooLarge
	case errors.Is(err, encoding.ErrBusy):
		return errBusy
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	}
	return fmt.Errorf("%w: %w", errIncomplete, err)
}

// decode undoes the content encodings that a header's values name. A body whose encoding is corrupt or unknown is still a verified
// sender's: it comes back as it was received, with the fault.
func (s *endpoint) decode(ctx context.Context, received body, encodings []string, reserved *reservation) (body, error) {
	chain, err := intake.EncodingsOf(s.decides, encodings, received.data)
	if err != nil {
		received.fault = intake.EncodingFault(err)
		return received, nil
	}
	if chain == (encoding.Chain{}) {
		return received, nil
	}
	plain := newBuffer()
	result, err := chain.Decode(received.data, s.limits.body, reserveTimeout, func(r io.Reader) error {
		// All of it is here: the sender may hang up.
		return plain.fill(context.WithoutCancel(ctx), r, -1, s.limits.body, reserved)
	})
	if err == nil && result.Ignored {
		s.mislabelled.Inc()
	}
	switch {
	case err == nil && result.Decoded:
		received.release()
		return body{data: plain.bytes, buffer: plain}, nil
	case err == nil:
	case errors.Is(err, encoding.ErrCorrupt):
		received.fault = intake.EncodingFault(err)
	default:
		plain.release()
		received.release()
		return body{}, bodyError(err)
	}
	plain.release()
	return received, nil
}
