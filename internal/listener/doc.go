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
// # HTTP/2, for gRPC
//
// [Listener.GRPC] reads the frames before grpc does. It bounds the headers and the messages of each call by its method, the time
// that a frame, the headers and the request of a call may take to arrive, and the control frames of a connection that has shown no
// credential. grpc has one limit for the messages of all methods, and no limit for the rest.
package listener
