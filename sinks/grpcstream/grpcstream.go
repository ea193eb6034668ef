// Package grpcstream serves the log over gRPC: it implements bridge.stream.v1.EventStreamService.
//
// # Delivery
//
// The client stores its position, as a token. A stream carries exactly the events of the log that pass its filter, each
// once. A stream that resumes with a token continues right after the event that had this token. So a client gets events at
// least once if it handles an event and loses its token, and exactly once if it stores the result and the token together. A
// position that is no longer kept is an error, never a silent skip, also when retention overtakes an open stream.
//
// # Ordering
//
// The log's order.
//
// # Cost of a client
//
// One goroutine reads a bounded number of events, sends them, and only then reads on. A second goroutine waits for the first,
// so that [Server.Shutdown] can end a stream whose client has stopped reading. Between two reads a stream has no lock and no
// iterator of the log open. A client that stops reading blocks its own goroutine in HTTP/2 flow control. It costs the
// memory of one read (see [sinks.Log]) and about 100 KiB of messages, however far it falls behind.
//
// Streams with the same filter, rights and payload, near the log's end, send the same batches: each is filtered, encoded and compressed once, by
// the first stream that gets there. Streams that are not of gRPC share the text that they make of it: see [Shared]. The log of package tail gives them the events from memory, and wakes them cheaply. While they have new
// events to send, the streams that are behind share a pace.
//
// # Errors
//
// Tail's comment in proto/bridge/stream/v1 lists them. Failures of the log itself are logged; the client gets INTERNAL. An event that is
// damaged on disk is DATA_LOSS, with its position: the stream never leaves it out.
package grpcstream

import (
	"context"
	"log/slog"
	"sync/atomic"

	"google.golang.org/grpc"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

// Config of a server. The zero value is good.
type Config struct {
	// Streams are the open streams, which several services may share. Nil: the server has its own, with the defaults.
	Streams *Streams
	// Sources are the names of the sources whose events the log gets. Nil: they are not known here. See [Server.SetSources].
	Sources []string
	// Logger gets the failures of the log. Nil discards them.
	Logger *slog.Logger
	// Viewer returns the caller of a call, by its context. Nil: everyone may see everything.
	Viewer func(context.Context) Viewer
	// Masked returns an event without personal data, in wire format. It does not change the record. It is called for viewers that may
	// not see personal data, and must be set if there are any.
	Masked func(sinks.Record) ([]byte, error)
	// Payloads looks up what clients may get instead of an event's data. Nil: there is nothing but canonical events.
	Payloads payload.Source
}

// UnknownSource is the key of the header metadata that names each source of a filter that is not in [Config.Sources]. The stream is
// served: the log may have events of a source that was removed, and a source may be added later.
const UnknownSource = "bridge-unknown-source-bin"

// Server implements [streamv1.EventStreamServiceServer]. It is safe for concurrent use.
type Server struct {
	streamv1.UnimplementedEventStreamServiceServer

	*Streams

	log     sinks.Log
	logger  *slog.Logger
	sources atomic.Pointer[[]string]
	viewer  func(context.Context) Viewer
	masked  func(sinks.Record) ([]byte, error)

	payloads payload.Source
	fans     fans
	pace     *pace
}

// New returns a server for the events in log. It starts no goroutine.
func New(log sinks.Log, c Config) *Server {
	if c.Streams == nil {
		c.Streams = NewStreams(StreamsConfig{})
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Viewer == nil {
		c.Viewer = func(context.Context) Viewer { return anyone{} }
	}
	s := &Server{
		Streams: c.Streams, log: log, logger: c.Logger, viewer: c.Viewer, masked: c.Masked, payloads: c.Payloads,
		pace: newPace(),
	}
	s.SetSources(c.Sources)
	return s
}

// Tail implements [streamv1.EventStreamServiceServer]. It returns when the client or the server ends the stream, or when
// the stream cannot go on.
func (s *Server) Tail(req *streamv1.TailRequest, out grpc.ServerStreamingServer[streamv1.TailResponse]) error {
	st := &stream{server: s, out: out}
	return s.Serve(out.Context(), st.unread, func(ctx context.Context, _ context.CancelCauseFunc) error { return st.run(ctx, req) })
}

// lag returns 0 when the stream has already passed next.
func lag(next, position sinks.Position) uint64 {
	if position >= next {
		return 0
	}
	return uint64(next - position)
}
