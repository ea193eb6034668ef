package listener

import (
	"bytes"
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
		return &httpConn{Conn: conn, conn: conn}, nil
	}
	t := tls.Server(conn, l.tls)
	return &httpsConn{httpConn: httpConn{Conn: t, conn: conn}, tls: t}, nil
}

// Protect prepares a server for the connections of [Listener.HTTP]. It wraps the handler, so that all its answers have the standard
// headers.
func Protect(s *http.Server) {
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(contextKey{}).(*httpConn); ok {
			c.answering.Store(true)
		}
		setHeaders(w.Header())
		next.ServeHTTP(w, r)
	})
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if c, ok := c.(interface{ http() *httpConn }); ok {
			return context.WithValue(ctx, contextKey{}, c.http())
		}
		return ctx
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(interface{ http() *httpConn }); ok {
			c.http().note(state)
		}
	}
}

// standard are the headers of all answers, shared and only read. Bridge serves no pages: a browser must not guess a type, keep,
// frame or run an answer.
var standard = []struct {
	name  string
	value []string
}{
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"Cache-Control", []string{"no-store"}},
	{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
	{"Referrer-Policy", []string{"no-referrer"}},
}

func setHeaders(h http.Header) {
	for i := range standard {
		h[standard[i].name] = standard[i].value
	}
}

// standardText is the standard headers on the wire.
var standardText = func() (text []byte) {
	for _, h := range standard {
		text = fmt.Appendf(text, "%s: %s\r\n", h.name, h.value[0])
	}
	return text
}()

// httpConn is a connection that speaks HTTP/1.1. net/http reads it in one goroutine at a time.
type httpConn struct {
	net.Conn // conn, or TLS over it
	conn     *Conn
	scanner  scanner
	// refused is why nothing more is read.
	refused *refusal
	// answering: what is written now is a handler's.
	answering atomic.Bool
}

func (c *httpConn) http() *httpConn { return c }

// note follows the server's view of the connection.
func (c *httpConn) note(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.conn.begin()
	case http.StateIdle:
		c.answering.Store(false)
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
	if c.answering.Load() {
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

// Write adds the standard headers to an answer that net/http writes without a handler.
func (c *httpConn) Write(p []byte) (int, error) {
	if c.answering.Load() || !bytes.HasPrefix(p, []byte("HTTP/1.")) {
		return c.Conn.Write(p)
	}
	line := bytes.IndexByte(p, '\n') + 1
	with := make([]byte, 0, len(p)+len(standardText))
	with = append(append(append(with, p[:line]...), standardText...), p[line:]...)
	n, err := c.Conn.Write(with)
	return min(n, len(p)), err
}

// CloseWrite ends the sending side, as net/http wants it.
func (c *httpConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
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
		return c.tls.ConnectionState()
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
		_, _ = fmt.Fprintf(record.Conn, "HTTP/1.0 400 Bad Request\r\n%sConnection: close\r\n\r\nThis address speaks HTTPS.\n", standardText)
	}
	c.conn.drop(reasonHandshake)
	return tls.ConnectionState{}
}

// looksLikeHTTP reports whether the first bytes are those of a request in plain text.
func looksLikeHTTP(record [5]byte) bool {
	switch string(record[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}
