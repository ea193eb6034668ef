package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"
)

// remedies are the flags that help a command that reaches no server.
type remedies struct {
	// address says how to choose another address, plain how to do without TLS.
	address, plain string
}

// problem says why no connection to addr can be made, and what to do. err is an error of a dial, a TLS handshake or an HTTP request.
// The result is nil if the error says nothing that a person understands better than its own text.
func (r remedies) problem(addr string, err error) error {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("there is no host %q: %s", dns.Name, r.address)
	case errors.As(err, &dns):
		return fmt.Errorf("the name %q cannot be resolved now (%s): %s", dns.Name, dns.Err, r.address)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no server answers at %s: is `bridge serve` running? %s", addr, sentence(r.address))
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("there is no way to %s from this machine: %s", addr, r.address)
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate of %s is signed by an authority that this machine does not know: --ca FILE trusts the certificates in FILE", addr)
	case errors.As(err, &host):
		return fmt.Errorf("the certificate of %s is for another host: %w", addr, host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of %s has expired, or is not valid yet: %w", addr, invalid)
	case errors.As(err, &invalid):
		return fmt.Errorf("the certificate of %s is not valid: %w", addr, invalid)
	case errors.As(err, &record) && bytes.HasPrefix(record.RecordHeader[:], []byte("HTTP")):
		// The gRPC listener answers HTTP/1.1, too.
		return fmt.Errorf("%s is an HTTP server without TLS: %s; if it is another listener, %s", addr, r.plain, r.address)
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("the server at %s does not use TLS: %s", addr, r.plain)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Errorf("%s does not answer: a firewall may drop the packets, or the address is another machine's. %s", addr, sentence(r.address))
	default:
		return nil
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// sentence begins a text with a capital letter.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// witness sees the connections that a client makes, and remembers what happened to the latest one. gRPC itself passes on texts
// only. It is safe for concurrent use.
type witness struct {
	mu sync.Mutex
	// err ended the dial or the TLS handshake.
	err error
	// began is the first bytes that the server sent, as they are on the wire.
	began []byte
	// connected is whether a connection was made, spoke whether one sent HTTP/2.
	connected, spoke bool
}

// dial opens a connection, as the client's dialer.
func (w *witness) dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.began = err, nil
	if err != nil {
		return nil, err
	}
	w.connected = true
	return &witnessed{Conn: c, witness: w}, nil
}

// fail records an error of a TLS handshake.
func (w *witness) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// wire is how many bytes of a connection's begin are kept: an HTTP/2 frame's head.
const wire = 9

// sent records bytes from the server.
func (w *witness) sent(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = append(w.began, b[:min(len(b), wire-len(w.began))]...)
	if len(w.began) == wire && settings(w.began) {
		w.spoke = true
	}
}

// settings reports whether b is the head of the frame that an HTTP/2 server begins with.
func settings(b []byte) bool { return b[3] == 4 && bytes.Equal(b[5:9], []byte{0, 0, 0, 0}) }

// seen returns what happened to the latest connection.
func (w *witness) seen() (err error, began []byte, connected, spoke bool) { //nolint:revive,staticcheck // the error is a finding
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err, bytes.Clone(w.began), w.connected, w.spoke
}

// witnessed is a connection that tells its witness how the server began.
type witnessed struct {
	net.Conn

	witness *witness
	enough  bool // only the one reader uses it
}

func (c *witnessed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.enough {
		c.witness.sent(b[:n])
		_, began, _, _ := c.witness.seen()
		c.enough = len(began) >= wire
	}
	return n, err
}

// witnessedTLS are credentials that tell a witness why a handshake failed.
type witnessedTLS struct {
	credentials.TransportCredentials

	witness *witness
}

func (t witnessedTLS) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := t.TransportCredentials.ClientHandshake(ctx, authority, c)
	if err != nil {
		t.witness.fail(err)
	}
	return secured, info, err
}

func (t witnessedTLS) Clone() credentials.TransportCredentials {
	return witnessedTLS{t.TransportCredentials.Clone(), t.witness}
}

// proxied reports whether the environment names a proxy for the address. gRPC then dials through it.
func proxied(addr string) bool {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: addr}})
	return err == nil && proxy != nil
}

// probeTimeout is how long a failed command may spend on finding the reason.
const probeTimeout = 2 * time.Second

// speaksTLS reports whether the server at addr completes a TLS handshake, with any certificate. Nothing is sent to it.
func speaksTLS(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} //nolint:gosec // it sends nothing, and trusts no answer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = c.Close()
	}
	// A server that wants a client's certificate, or another protocol, says so in an alert.
	var alert tls.AlertError
	return err == nil || errors.As(err, &alert)
}
