package listener

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc/credentials"
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

// grpcCredentials are for connections whose handshake is over: see [Shared].
type grpcCredentials struct{ secure bool }

// authInfo leads from a call to its connection.
type authInfo struct {
	credentials.CommonAuthInfo
	conn *Conn
	kind string
}

// AuthType implements [credentials.AuthInfo].
func (a authInfo) AuthType() string { return a.kind }

// ServerHandshake implements [credentials.TransportCredentials].
func (grpcCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	f, ok := raw.(*frames)
	if !ok {
		return nil, nil, errors.New("listener: a connection of another listener")
	}
	info := authInfo{conn: f.conn, kind: "insecure"}
	info.SecurityLevel = credentials.NoSecurity
	if f.conn.secured.Load() != nil {
		info.kind, info.SecurityLevel = "tls", credentials.PrivacyAndIntegrity
	}
	return f, info, nil
}

// ClientHandshake implements [credentials.TransportCredentials]. These credentials are a server's.
func (grpcCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("listener: credentials of a server")
}

// Info implements [credentials.TransportCredentials].
func (c grpcCredentials) Info() credentials.ProtocolInfo {
	if c.secure {
		return credentials.ProtocolInfo{SecurityProtocol: "tls"}
	}
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

// Clone implements [credentials.TransportCredentials].
func (c grpcCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements [credentials.TransportCredentials].
func (grpcCredentials) OverrideServerName(string) error { return nil }

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
	c := connOf(ctx)
	if c == nil {
		return true
	}
	if c.strange.Add(1) > most {
		c.strange.Add(-1)
		return false
	}
	context.AfterFunc(ctx, func() { c.strange.Add(-1) })
	return true
}

// frames follows the frames of an HTTP/2 connection of a client, and ends the connection when they cost too much: see the package
// comment. It hands every byte on as it came but for the length of a message that is too large: see [frames.prefix].
type frames struct {
	net.Conn
	conn *Conn
	parser
	// deadline is that of the last read, or zero.
	deadline time.Time
	// greeting has what arrived before it was known who serves the connection. walked is how much of it was looked at.
	greeting []byte
	walked   int
	// unsent is what is left of the server's first frame, whose place [frames.greet] has taken. It is negative while it is not known.
	unsent int
	// prefix has the beginning of that frame.
	prefix []byte
}

func newFrames(plain net.Conn, conn *Conn, methods Methods) *frames {
	f := &frames{Conn: plain, conn: conn, unsent: -1}
	f.init(methods, func() bool { return conn.verified.Load() })
	return f
}

// Read reads what arrived while the connection was greeted, and then what arrives.
func (f *frames) Read(p []byte) (int, error) {
	if f.greeting == nil {
		return f.receive(p)
	}
	n := copy(p, f.greeting)
	if f.greeting = f.greeting[n:]; len(f.greeting) == 0 {
		f.greeting = nil
	}
	return n, nil
}

// receive reads, and follows what it read.
func (f *frames) receive(p []byte) (int, error) {
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
		switch {
		case !f.overdue(now):
		case f.settled && !f.first.IsZero() && !now.Before(f.first):
			f.goAway()
			return 0, io.EOF
		default:
			f.conn.drop(reasonSlow)
			return 0, errRefused
		}
	}
}
