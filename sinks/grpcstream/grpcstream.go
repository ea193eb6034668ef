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
// # Errors
//
// Tail's comment in proto/bridge/stream/v1 lists them. Failures of the log itself are logged; the client gets INTERNAL. An event that is
// damaged on disk is DATA_LOSS, with its position: the stream never leaves it out.
package grpcstream

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// DefaultMaxStreams is the default of [Config.MaxStreams].
const DefaultMaxStreams = 256

// Config of a server. The zero value is good.
type Config struct {
	// MaxStreams is the largest number of open streams; more are refused. 0 is DefaultMaxStreams.
	MaxStreams int
	// Sources are the names of the sources whose events the log gets. Nil: they are not known here.
	Sources []string
	// Logger gets the failures of the log. Nil discards them.
	Logger *slog.Logger
	// Viewer returns the caller of a call, by its context. Nil: everyone may see everything.
	Viewer func(context.Context) Viewer
	// Masked returns an event without personal data, in wire format. It does not change the record. It is called for viewers that may
	// not see personal data, and must be set if there are any.
	Masked func(sinks.Record) ([]byte, error)
}

// UnknownSource is the key of the header metadata that names each source of a filter that is not in [Config.Sources]. The stream is
// served: the log may have events of a source that was removed, and a source may be added later.
const UnknownSource = "bridge-unknown-source-bin"

// Server implements [streamv1.EventStreamServiceServer]. It is safe for concurrent use.
type Server struct {
	streamv1.UnimplementedEventStreamServiceServer

	log        sinks.Log
	logger     *slog.Logger
	maxStreams int
	sources    []string
	viewer     func(context.Context) Viewer
	masked     func(sinks.Record) ([]byte, error)

	celFailures atomic.Uint64 // Events that did not pass because an expression failed for them.

	draining context.Context // Done when streams must say goodbye.
	drain    context.CancelFunc
	cut      context.Context // Done when streams must end at once.
	cutAll   context.CancelFunc
	open     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams map[*stream]struct{}
}

// New returns a server for the events in log. It starts no goroutine.
func New(log sinks.Log, c Config) *Server {
	if c.MaxStreams <= 0 {
		c.MaxStreams = DefaultMaxStreams
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Viewer == nil {
		c.Viewer = func(context.Context) Viewer { return anyone{} }
	}
	s := &Server{
		log: log, logger: c.Logger, maxStreams: c.MaxStreams, sources: c.Sources, viewer: c.Viewer, masked: c.Masked,
		streams: make(map[*stream]struct{}),
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.cut, s.cutAll = context.WithCancel(context.Background())
	return s
}

// Tail implements [streamv1.EventStreamServiceServer]. It returns when the client or the server ends the stream, or when
// the stream cannot go on.
func (s *Server) Tail(req *streamv1.TailRequest, out grpc.ServerStreamingServer[streamv1.TailResponse]) error {
	st := &stream{server: s, out: out}
	if err := s.enter(st); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := st.run(req)
		// Leave first, then tell the client: a client that opens its next stream at once must find room.
		s.leave(st)
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-s.cut.Done():
		// A Send that is blocked in flow control ends only when its handler has returned.
		return errShutdown
	}
}

func (s *Server) enter(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errShutdown
	}
	if len(s.streams) >= s.maxStreams {
		return tooManyStreams(s.maxStreams)
	}
	s.streams[st] = struct{}{}
	s.open.Add(1)
	return nil
}

func (s *Server) leave(st *stream) {
	s.mu.Lock()
	delete(s.streams, st)
	s.mu.Unlock()
	s.open.Done()
}

// Shutdown refuses new streams, lets every open stream say goodbye, and waits until all have ended. When ctx is done first,
// it ends the remaining streams, whose clients do not read, without a goodbye, and returns ctx's cause. A further call waits
// for them. All clients get UNAVAILABLE.
//
// Call it before grpc.Server.GracefulStop, which waits for streams. After an error, call grpc.Server.Stop instead: the end of
// a stream reaches a client only after the client has read all earlier messages.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drain()
	gone := make(chan struct{})
	go func() {
		s.open.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		s.cutAll()
		return context.Cause(ctx)
	}
}

// Stats describes the streams that are open now.
type Stats struct {
	// Open is the number of open streams.
	Open int
	// MaxLag is the largest number of events, before filtering, that an open stream has still to read.
	MaxLag uint64
	// CELFailures is how many events did not pass a filter, since the start, because its CEL expression failed for them.
	CELFailures uint64
}

// Stats describes the streams that are open now.
func (s *Server) Stats() Stats {
	next := s.log.Bounds().Next
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Open: len(s.streams), CELFailures: s.celFailures.Load()}
	for st := range s.streams {
		if st.subscribed.Load() {
			stats.MaxLag = max(stats.MaxLag, lag(next, sinks.Position(st.next.Load())))
		}
	}
	return stats
}

// lag returns 0 when the stream has already passed next.
func lag(next, position sinks.Position) uint64 {
	if position >= next {
		return 0
	}
	return uint64(next - position)
}
