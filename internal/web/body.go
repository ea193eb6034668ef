package web

import (
	"encoding/binary"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/webhook-bridge/bridge/internal/listener"
)

const (
	// envelope is the length of what is before each message of a stream: a byte of flags, and four bytes of length.
	envelope = 5
	// messageTimeout is how long a message may take to arrive. It gets longer with each byte that has arrived: see slowest.
	messageTimeout = 10 * time.Second
	// slowest is how slowly a large message may arrive, in bytes a second.
	slowest = 8 << 10
	// lingering is how long the rest of a request may take that nobody reads.
	lingering = 500 * time.Millisecond
	// writeTimeout is how long a client may take to read what was written.
	writeTimeout = 2 * time.Minute
)

// limitOf is the largest message that a call may send.
func limitOf(l listener.CallLimits) uint32 { return uint32(max(0, l.Message)) }

func tooLarge(limit uint32) error {
	return status.Errorf(codes.ResourceExhausted, "the request is larger than %d bytes", limit)
}

// body is the body of a request. It bounds how long each message may take to arrive, and how large it may be.
type body struct {
	io.ReadCloser
	w *writer
	// limit is the largest message. 0 leaves that to the reader.
	limit uint32
	http2 bool
	// enveloped: each message has its length before it. Otherwise the body is one message, and left is how much of it has come.
	enveloped bool

	// due is when the current message, or the first one, must be here. It is zero between two.
	due time.Time
	// head has the beginning of an envelope, and headed how much of it is here. left is how much of the message has yet to come.
	head   [envelope]byte
	headed int
	left   uint64
	// broken: a message is too large, and its length cannot say so.
	broken bool
	// whole: the body was read to its end. closed: nothing more may be read. The transcoder closes from another goroutine than reads.
	whole, closed atomic.Bool
}

// boundBody bounds the time that the first message may take. It comes before anything else: what a handler leaves unread, the server reads.
func boundBody(w *writer, r *http.Request) {
	b := &body{ReadCloser: r.Body, w: w, http2: r.ProtoMajor == 2}
	if r.ContentLength != 0 {
		b.wait(time.Now().Add(messageTimeout))
	}
	r.Body = b
}

func bodyOf(r *http.Request) *body { return r.Body.(*body) }

func (b *body) wait(due time.Time) {
	b.due = due
	_ = b.w.controller.SetReadDeadline(due)
}

// Read reads, and changes the length of a message that is too large to one that all readers refuse.
func (b *body) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	due := b.due
	switch {
	case n == 0:
	case b.enveloped:
		if due = b.follow(p[:n], due); b.broken {
			return 0, tooLarge(b.limit)
		}
	default:
		if b.left += uint64(n); b.limit > 0 && b.left > uint64(b.limit) {
			return 0, tooLarge(b.limit)
		}
	}
	switch {
	case err == io.EOF:
		due = time.Time{}
		b.whole.Store(true)
	case err == nil && !due.IsZero():
		due = due.Add(time.Duration(n) * time.Second / slowest)
	}
	if !due.Equal(b.due) {
		b.wait(due)
	}
	return n, err
}

// Close ends a Read that waits. Over HTTP/1.1 it leaves the rest of the body to net/http, for a moment: if net/http saw a body closed, and
// not as its own type, it would read what comes of it later as another request.
func (b *body) Close() error {
	b.closed.Store(true)
	if b.http2 || b.whole.Load() {
		return b.ReadCloser.Close()
	}
	return b.w.controller.SetReadDeadline(time.Now().Add(lingering))
}

type bodyKey struct{}

// unblock is a handler behind the transcoder, whose body waits for a Read before it closes. So the body of the client is closed first.
func unblock(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, ok := r.Context().Value(bodyKey{}).(*body); ok {
			r.Body = &unblocked{r.Body, b}
		}
		next.ServeHTTP(w, r)
	})
}

type unblocked struct {
	io.ReadCloser
	client *body
}

func (u *unblocked) Close() error {
	_ = u.client.Close()
	return u.ReadCloser.Close()
}

// follow follows the messages of a stream. It returns when the current one is due, or zero between two.
func (b *body) follow(p []byte, due time.Time) time.Time {
	for len(p) > 0 {
		if b.left > 0 {
			n := min(b.left, uint64(len(p)))
			b.left -= n
			p = p[n:]
			continue
		}
		if due.IsZero() {
			due = time.Now().Add(messageTimeout)
		}
		n := copy(b.head[b.headed:], p)
		if b.headed += n; b.headed == envelope {
			b.headed = 0
			b.left = uint64(binary.BigEndian.Uint32(b.head[1:]))
			if b.limit > 0 && b.left > uint64(b.limit) {
				b.broken = n < 4 // a part of the length was handed on before
				copy(p[max(0, n-4):n], "\xff\xff\xff\xff")
			}
		}
		p = p[n:]
	}
	if b.headed == 0 && b.left == 0 {
		return time.Time{}
	}
	return due
}
