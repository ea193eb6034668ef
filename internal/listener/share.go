package listener

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
)

const (
	// webBuffer is how much of an HTTP/2 connection an [http.Server] reads at once: it reads each frame's header alone.
	webBuffer = 4 << 10
	// fewFields is what net/http adds to its limit of headers for the overhead of HTTP/2.
	fewFields = 320
	// pingAfter is after how long without a frame an HTTP/2 client is asked whether it is there, and pingTimeout how long it has to answer.
	pingAfter, pingTimeout = time.Minute, 20 * time.Second
)

// Shared divides the connections of a [Listener] between a gRPC server and an [http.Server]: see the package comment. Its methods are safe
// for concurrent use.
type Shared struct {
	listener *Listener
	tls      *tls.Config
	methods  Methods
	rpc, web *handed

	mu sync.Mutex
	// closed: no connection is accepted any more. undecided are the connections of which it is not known who serves them. Guarded by mu.
	closed    bool
	undecided map[*Conn]struct{}
	deciding  sync.WaitGroup
}

// Share divides the connections of l. With a TLS configuration they speak TLS. It starts nothing: see [Shared.Serve].
func (l *Listener) Share(t *tls.Config, methods Methods) *Shared {
	if t != nil {
		t = t.Clone()
		t.NextProtos = []string{http2.NextProtoTLS, "http/1.1"}
	}
	return &Shared{
		listener: l, tls: t, methods: methods, rpc: newHanded(l.Addr()), web: newHanded(l.Addr()), undecided: make(map[*Conn]struct{}),
	}
}

// Options returns options that the gRPC server of [Shared.RPC] must have.
func (s *Shared) Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(grpcCredentials{secure: s.tls != nil}),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(MaxGRPCHeaders),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connectionWindow),
	}
}

// RPC has the connections for a gRPC server with [Shared.Options].
func (s *Shared) RPC() net.Listener { return s.rpc }

// Prepare prepares the server of [Shared.Web], as [Protect] does.
func (*Shared) Prepare(s *http.Server) {
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true) // TLS ends before it
	s.MaxHeaderBytes = MaxGRPCHeaders - fewFields
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReadFrameSize:              maxFrame,
		MaxReceiveBufferPerStream:     streamWindow,
		MaxReceiveBufferPerConnection: connectionWindow,
		SendPingTimeout:               pingAfter,
		PingTimeout:                   pingTimeout,
		WriteByteTimeout:              pingAfter,
	}
	Protect(s)
}

// Web has the connections for an [http.Server] that [Shared.Prepare] has prepared.
func (s *Shared) Web() net.Listener { return s.web }

// Serve accepts connections until [Shared.Close], and returns nil then, or until the listener fails. It returns when each connection is
// closed or with its server.
func (s *Shared) Serve() error {
	defer s.deciding.Wait()
	for {
		accepted, err := s.listener.Accept()
		if err != nil {
			if s.isClosed() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		conn := accepted.(*Conn)
		if s.enter(conn) {
			go func() {
				defer s.leave(conn)
				s.decide(conn)
			}()
		}
	}
}

// Close stops accepting, and closes the connections of which it is not known who serves them. Those of the servers stay open.
func (s *Shared) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.undecided {
		_ = conn.Close()
	}
	return err
}

func (s *Shared) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// enter notes a connection as undecided. If no more are accepted, it closes the connection and reports false.
func (s *Shared) enter(conn *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return false
	}
	s.undecided[conn] = struct{}{}
	s.deciding.Add(1)
	return true
}

func (s *Shared) leave(conn *Conn) {
	s.mu.Lock()
	delete(s.undecided, conn)
	s.mu.Unlock()
	s.deciding.Done()
}

// decide finds out what a connection speaks, and hands it to its server.
func (s *Shared) decide(conn *Conn) {
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	if s.tls == nil {
		s.decidePlain(conn)
		return
	}
	t := tls.Server(conn, s.tls)
	if err := t.Handshake(); err != nil {
		failHandshake(conn, err)
		return
	}
	state := t.ConnectionState()
	conn.secured.Store(&state)
	if state.NegotiatedProtocol != http2.NextProtoTLS {
		s.web.hand(newHTTPS(t, conn))
		return
	}
	s.decideHTTP2(newFrames(t, conn, s.methods))
}

// decidePlain tells HTTP/2 from HTTP/1.1 by its preface.
func (s *Shared) decidePlain(conn *Conn) {
	head := make([]byte, 0, preface)
	for len(head) < preface {
		n, err := conn.Read(head[len(head):preface])
		if n == 0 && err != nil {
			_ = conn.Close()
			return
		}
		head = head[:len(head)+n]
		if string(head) != http2.ClientPreface[:len(head)] {
			_ = conn.SetDeadline(time.Time{})
			s.web.hand(newPlain(&replay{Conn: conn, head: head}, conn))
			return
		}
	}
	f := newFrames(conn, conn, s.methods)
	f.follow(head, time.Now())
	f.greeting = head
	s.decideHTTP2(f)
}

// decideHTTP2 tells gRPC from other HTTP/2 by its first call.
func (s *Shared) decideHTTP2(f *frames) {
	rpc, err := f.greet()
	switch {
	case err != nil:
		_ = f.conn.Close()
	case rpc:
		s.rpc.hand(f)
	default:
		s.web.hand(newWebConn(f))
	}
}

// replay is a connection whose first bytes were read before.
type replay struct {
	net.Conn
	head []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.head) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.head)
	r.head = r.head[n:]
	return n, nil
}

// webConn is an HTTP/2 connection of an [http.Server].
type webConn struct {
	*frames
	in *bufio.Reader
}

func newWebConn(f *frames) *webConn {
	return &webConn{frames: f, in: bufio.NewReaderSize(f, webBuffer)}
}

func (c *webConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// SetReadDeadline does nothing: frames bounds the time of reads. The server takes HTTP/2 for HTTP/1.1 at first.
func (*webConn) SetReadDeadline(time.Time) error { return nil }

// SetDeadline bounds writes alone.
func (c *webConn) SetDeadline(t time.Time) error { return c.SetWriteDeadline(t) }

func (c *webConn) carried() *Conn { return c.conn }

// note implements carrier.
func (c *webConn) note(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.conn.begin()
	case http.StateIdle:
		c.conn.end()
	}
}

// handed is a listener whose connections another one has accepted.
type handed struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHanded(addr net.Addr) *handed {
	return &handed{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// hand hands a connection over. It closes the connection if the listener is closed.
func (h *handed) hand(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close()
	}
}

// Accept implements [net.Listener].
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (h *handed) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements [net.Listener].
func (h *handed) Addr() net.Addr { return h.addr }
