package listener

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/peer"
)

// Conn is an open connection of a [Listener].
type Conn struct {
	net.Conn
	listener *Listener
	address  netip.Prefix

	// index is the place in the listener's table, and removed says that it has none. Guarded by the listener's mutex.
	index   int
	removed bool

	// heard: something has arrived on this connection.
	heard atomic.Bool
	// verified: a request on this connection has shown its credential.
	verified atomic.Bool
	// active is how many requests are being answered.
	active atomic.Int32
	// started: bytes of a request of HTTP have arrived that is not answered.
	started atomic.Bool
	// begun is when the newest request began, in nanoseconds since 1970.
	begun atomic.Int64
	// idleSince is when the last request ended, or when the connection was accepted, in nanoseconds since 1970.
	idleSince atomic.Int64
	// strange is how many calls without a credential are open.
	strange atomic.Int32
	// secured is the state of TLS after its handshake. nil is plain text, or no handshake yet.
	secured atomic.Pointer[tls.ConnectionState]

	closing  sync.Once
	closeErr error
}

// Ranks of connections: the lowest is closed first to make room.
const (
	// rankSilent is a connection that has sent nothing yet.
	rankSilent = iota
	// rankStranger has shown no credential yet.
	rankStranger
	// rankKnown has shown a credential.
	rankKnown
	ranks
)

func (c *Conn) rank() int {
	switch {
	case c.verified.Load():
		return rankKnown
	case c.heard.Load():
		return rankStranger
	}
	return rankSilent
}

// Read reads, and notes that something has arrived.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	return n, err
}

// Close closes the connection and gives its place to others.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.listener.mu.Lock()
		c.listener.remove(c)
		c.listener.mu.Unlock()
		c.closeErr = c.Conn.Close()
	})
	return c.closeErr
}

// CloseWrite ends the sending side, as net/http wants it.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// drop closes the connection and counts why.
func (c *Conn) drop(why reason) {
	c.count(why)
	_ = c.Close()
}

// count counts why the connection is closed.
func (c *Conn) count(why reason) {
	c.listener.metrics.dropped[why].Inc()
	c.listener.config.Log.Debug("closed a connection", "listener", c.listener.config.Name, "reason", why.String())
}

// begin and end count a request.
func (c *Conn) begin() {
	c.begun.Store(time.Now().UnixNano())
	c.active.Add(1)
}

func (c *Conn) end() {
	c.idleSince.Store(time.Now().UnixNano())
	c.active.Add(-1)
}

// carrier is a connection of an [http.Server] over a Conn.
type carrier interface {
	carried() *Conn
	// note follows the server's view of the connection.
	note(state http.ConnState)
}

type contextKey struct{}

// connOf returns the connection of a request or of a call. It returns nil for one that came in another way.
func connOf(ctx context.Context) *Conn {
	if c, ok := ctx.Value(contextKey{}).(carrier); ok {
		return c.carried()
	}
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(authInfo); ok {
			return info.conn
		}
	}
	return nil
}

// Verified notes that the request or call of ctx has shown its credential. Its connection is then no stranger's.
func Verified(ctx context.Context) {
	if c := connOf(ctx); c != nil && !c.verified.Load() {
		c.verified.Store(true)
	}
}

// IsVerified reports whether a request or call on the same connection has shown its credential. It is true for a request that
// came without a connection of this package.
func IsVerified(ctx context.Context) bool {
	c := connOf(ctx)
	return c == nil || c.verified.Load()
}

// TLS returns the state of TLS of a request's or call's connection. It is nil for plain text, and for a request that came without a
// connection of this package.
func TLS(ctx context.Context) *tls.ConnectionState {
	if c := connOf(ctx); c != nil {
		return c.secured.Load()
	}
	return nil
}
