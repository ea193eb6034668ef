package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// handshakeTimeout is how long a TLS handshake may take.
	handshakeTimeout = 10 * time.Second
	// lingering is how long a refused connection stays open, so that the sender can read the answer: as long as net/http's.
	lingering = 500 * time.Millisecond
)

// HTTP returns the connections for an [http.Server] that [Protect] has prepared. With a TLS configuration they speak TLS. They
// speak HTTP/1.1 alone.
func (l *Listener) HTTP(t *tls.Config) net.Listener {
	if t != nil {
		t = t.Clone()
		t.NextProtos = []string{"http/1.1"}
	}
	return &httpListener{l, t}
}

type httpListener struct {
	*Listener
	tls *tls.Config
}

func (l *httpListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := accepted.(*Conn)
	if l.tls == nil {
		return newPlain(conn, conn), nil
	}
	return newHTTPS(tls.Server(conn, l.tls), conn), nil
}

// newPlain returns a connection without TLS. What plain reads is what conn has.
func newPlain(plain net.Conn, conn *Conn) *plainConn {
	c := &httpConn{Conn: plain, conn: conn}
	c.reads.set, c.writes.set, c.writes.near = conn.SetReadDeadline, conn.SetWriteDeadline, true
	return &plainConn{c}
}

func newHTTPS(t *tls.Conn, conn *Conn) *httpsConn {
	return &httpsConn{httpConn: httpConn{Conn: t, conn: conn}, tls: t}
}

// Protect prepares a server for the connections of [Listener.HTTP] or [Shared.Web], so that all answers have the standard headers. A
// handler that sets one of them decides its value.
func Protect(s *http.Server) {
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(contextKey{}).(carrier)
		if h, ok := c.(interface{ http() *httpConn }); ok {
			h.http().answer.Store(headDue)
		} else {
			setHeaders(w.Header())
		}
		if c != nil {
			if c.carried().listener.draining.Load() {
				w.Header().Set("Connection", "close")
			}
			r.TLS = c.carried().secured.Load() // net/http does not know it of HTTP/2 that it did not take out of TLS itself
		}
		next.ServeHTTP(w, r)
	})
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if c, ok := c.(carrier); ok {
			return context.WithValue(ctx, contextKey{}, c)
		}
		return ctx
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(carrier); ok {
			c.note(state)
		}
	}
}

// httpConn is a connection that speaks HTTP/1.1. net/http reads it in one goroutine at a time.
type httpConn struct {
	net.Conn // conn, or TLS over it
	conn     *Conn
	scanner  scanner
	// refused is why nothing more is read.
	refused *refusal
	// answer is what is written now.
	answer atomic.Uint32
	// head is the beginning of an answer's head whose end was not written yet.
	head []byte

	// reads and writes have the deadlines. TLS reads and writes as it needs, so over TLS they are not used.
	reads, writes deadline
}

// States of an answer.
const (
	// noHandler: what net/http writes without a handler, or nothing.
	noHandler = iota
	// headDue: a handler answers, and its head was not written yet.
	headDue
	// headDone: the rest of a handler's answer.
	headDone
)

func (c *httpConn) http() *httpConn { return c }

func (c *httpConn) carried() *Conn { return c.conn }

// note implements carrier.
func (c *httpConn) note(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.conn.begin()
	case http.StateIdle:
		c.answer.Store(noHandler)
		c.conn.started.Store(false)
		c.conn.end()
	}
}

// Read reads what a request has one meaning for. Of a refused request, the server sees an error that it does not answer: the answer
// is written here.
func (c *httpConn) Read(p []byte) (int, error) {
	if c.refused != nil {
		return 0, c.refuse()
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.conn.started.Store(true)
	}
	passed, refused := c.scanner.scan(p[:n])
	if refused == nil {
		return n, err
	}
	if c.refused = refused; passed == 0 {
		return 0, c.refuse()
	}
	return passed, nil
}

var errRefused = errors.New("listener: refused request")

// refuse answers and closes. While a handler's answer is being written, it only ends the reading: the server closes then.
func (c *httpConn) refuse() error {
	end := &net.OpError{Op: "read", Net: "tcp", Err: errRefused}
	if c.answer.Load() != noHandler {
		return end
	}
	c.conn.count(reasonMalformed)
	_ = c.SetDeadline(time.Now().Add(lingering))
	status := fmt.Sprintf("%d %s", c.refused.status, http.StatusText(c.refused.status))
	_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s: %s\n",
		status, standardText, status, c.refused.text)
	_ = c.CloseWrite()
	_, _ = io.CopyN(io.Discard, c.Conn, 256<<10)
	_ = c.conn.Close()
	return end
}

// CloseWrite ends the sending side, as net/http wants it.
func (c *httpConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// plainConn is an httpConn without TLS.
type plainConn struct{ *httpConn }

func (c *plainConn) Read(p []byte) (int, error) {
	c.reads.begin()
	defer c.reads.end()
	return c.httpConn.Read(p)
}

func (c *plainConn) Write(p []byte) (int, error) {
	c.writes.begin()
	defer c.writes.end()
	return c.httpConn.Write(p)
}

// SetReadDeadline bounds the read that waits, and later ones.
func (c *plainConn) SetReadDeadline(t time.Time) error {
	c.reads.note(t)
	return nil
}

// SetWriteDeadline bounds the write that waits, and later ones. A write may fail half a second before a deadline that is far away.
func (c *plainConn) SetWriteDeadline(t time.Time) error {
	c.writes.note(t)
	return nil
}

// SetDeadline sets both.
func (c *plainConn) SetDeadline(t time.Time) error {
	c.reads.note(t)
	c.writes.note(t)
	return nil
}

// httpsConn is an httpConn over TLS.
type httpsConn struct {
	httpConn
	tls *tls.Conn
}

// ConnectionState makes the handshake. net/http calls it first of all, in the connection's own goroutine.
func (c *httpsConn) ConnectionState() tls.ConnectionState {
	_ = c.conn.SetDeadline(time.Now().Add(handshakeTimeout))
	err := c.tls.Handshake()
	if err == nil {
		_ = c.conn.SetDeadline(time.Time{})
		state := c.tls.ConnectionState()
		c.conn.secured.Store(&state)
		return state
	}
	failHandshake(c.conn, err)
	return tls.ConnectionState{}
}

// failHandshake closes a connection whose handshake failed. A client that speaks HTTP in plain text is told so.
func failHandshake(conn *Conn, err error) {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
		_, _ = fmt.Fprintf(record.Conn, "HTTP/1.0 400 Bad Request\r\n%sConnection: close\r\n\r\nThis address speaks HTTPS.\n", standardText)
	}
	conn.drop(reasonHandshake)
}

// looksLikeHTTP reports whether the first bytes are those of a request in plain text.
func looksLikeHTTP(record [5]byte) bool {
	switch string(record[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}
