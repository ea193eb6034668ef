package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// Methods returns what a gRPC call may send, by the path of its method.
type Methods func(method string) CallLimits

// CallLimits bounds what one call may send.
type CallLimits struct {
	// Message is the largest message, in bytes. 0 leaves it to grpc.
	Message int
	// Messages: the client may send more than one.
	Messages bool
}

// GRPC returns the credentials for a gRPC server that serves the connections of a [Listener]. Without a TLS configuration they are
// plain text.
func GRPC(t *tls.Config, methods Methods) credentials.TransportCredentials {
	c := &grpcCredentials{methods: methods}
	if t != nil {
		c.tls = credentials.NewTLS(t)
	}
	return c
}

type grpcCredentials struct {
	tls     credentials.TransportCredentials
	methods Methods
}

// authInfo leads from a call to its connection.
type authInfo struct {
	credentials.CommonAuthInfo
	conn *Conn
	kind string
	// strange is how many calls without a credential are open.
	strange *atomic.Int32
}

// AuthType implements [credentials.AuthInfo].
func (a authInfo) AuthType() string { return a.kind }

// ServerHandshake implements [credentials.TransportCredentials]. grpc bounds its time.
func (c *grpcCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := raw.(*Conn)
	if !ok {
		return nil, nil, errors.New("listener: a connection of another listener")
	}
	info := authInfo{conn: conn, kind: "insecure", strange: new(atomic.Int32)}
	info.SecurityLevel = credentials.NoSecurity
	if c.tls == nil {
		return newFrames(conn, conn, c.methods), info, nil
	}
	plain, secured, err := c.tls.ServerHandshake(raw)
	if err != nil {
		conn.drop(reasonHandshake)
		return nil, nil, err
	}
	if t, ok := secured.(credentials.TLSInfo); ok {
		conn.secured.Store(&t.State)
	}
	info.kind, info.SecurityLevel = "tls", credentials.PrivacyAndIntegrity
	return newFrames(plain, conn, c.methods), info, nil
}

// ClientHandshake implements [credentials.TransportCredentials]. These credentials are a server's.
func (*grpcCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("listener: credentials of a server")
}

// Info implements [credentials.TransportCredentials].
func (c *grpcCredentials) Info() credentials.ProtocolInfo {
	if c.tls == nil {
		return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
	}
	return c.tls.Info()
}

// Clone implements [credentials.TransportCredentials].
func (c *grpcCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements [credentials.TransportCredentials].
func (*grpcCredentials) OverrideServerName(string) error { return nil }

// Call counts a call as open on its connection until ctx is done. A connection with open calls that have shown a credential is not
// closed to make room.
func Call(ctx context.Context) {
	if c := connOf(ctx); c != nil {
		c.begin()
		context.AfterFunc(ctx, c.end)
	}
}

// OpenWithout counts a call that needs no credential, until ctx is done. It reports false, and counts nothing, if the connection has
// so many of them already.
func OpenWithout(ctx context.Context, most int32) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return true
	}
	info, ok := p.AuthInfo.(authInfo)
	if !ok {
		return true
	}
	if info.strange.Add(1) > most {
		info.strange.Add(-1)
		return false
	}
	context.AfterFunc(ctx, func() { info.strange.Add(-1) })
	return true
}

// frames follows the frames of an HTTP/2 connection of a client, and ends the connection when they cost too much: see the package
// comment. It hands every byte on as it came but for the length of a message that is too large: see [frames.prefix].
type frames struct {
	net.Conn
	conn *Conn
	parser
	// deadline is that of the last Read, or zero.
	deadline time.Time
}

func newFrames(plain net.Conn, conn *Conn, methods Methods) *frames {
	f := &frames{Conn: plain, conn: conn}
	f.init(methods, func() bool { return conn.verified.Load() })
	return f
}

// Read reads, and follows what it read.
func (f *frames) Read(p []byte) (int, error) {
	for {
		if due := f.due(); due != f.deadline {
			_ = f.SetReadDeadline(due)
			f.deadline = due
		}
		n, err := f.Conn.Read(p)
		now := time.Now()
		if why, broken := f.follow(p[:n], now); broken {
			f.conn.drop(why)
			return 0, errRefused
		}
		if n > 0 || f.deadline.IsZero() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if f.overdue(now) {
			f.conn.drop(reasonSlow)
			return 0, errRefused
		}
	}
}
