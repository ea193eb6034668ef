// Package listener bounds what a connection may cost before a handler or gRPC sees any of it.
//
// # Connections
//
// A [Listener] has a limit. A connection above the limit does not wait: the listener closes an older one to make room. First it
// chooses among the connections that have sent nothing yet, then among the ones that have shown no credential yet: of the addresses
// that have most such connections, the one that was idle longest. Last it chooses among the authenticated connections that are
// idle. A connection in the middle of an authenticated request is never closed. If only such connections are open, the new one is
// closed.
//
// When the process has no descriptor left, Accept closes a connection in the same order, but none in the middle of a request. It
// counts the error, logs it at most once a minute, and [Listener.Problem] reports it for a minute.
//
// # HTTP/1.1
//
// [Listener.HTTP] reads the head of each request before net/http does, and refuses with 400 what two programs could read in two
// ways (RFC 9112, section 11.2): Content-Length beside Transfer-Encoding, a second Content-Length, another coding than chunked, a
// line that ends without CR, a folded line, a blank before a colon, a second Host. The connection is closed. Behind the status line
// of each answer the connection writes the standard headers that the answer lacks, also of an answer that net/http writes by itself.
//
// # HTTP/2
//
// [Shared] reads the frames before a server does. It bounds the headers of each call, the time that a frame and the headers of a call may take
// to arrive, and the control frames of a connection that has shown no credential. For gRPC it also bounds the messages of each call by
// its method, and the time that a request may take: grpc has one limit for the messages of all methods, and no limit for the rest.
//
// # gRPC and HTTP on one address
//
// [Listener.Share] divides connections between a gRPC server and an [http.Server]. TLS without the protocol h2, and plain text without the
// preface of HTTP/2, is HTTP/1.1. The first call of an HTTP/2 connection decides about it: one with the content type of gRPC goes
// to the gRPC server, any other to the [http.Server]. Until then the listener sends the settings, which are the same for both, and answers
// pings. It hands on all that has arrived, and leaves out the settings that the server sends. A connection that makes no call for 45 seconds is told
// to go away.
package listener
