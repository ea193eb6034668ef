// Package grpcstream hands out the log over gRPC: it implements bridge.stream.v1.EventStreamService.
//
// # Delivery
//
// The client keeps its position, as a token. A stream carries exactly the events of the log that pass its filter, each
// once, and a stream that resumes with a token goes on right after the event that carried it: at least once if the client
// handles an event and then forgets its token, exactly once if it stores the two together. A position that is no longer
// kept is an error, never a silent skip, also when retention overtakes a stream that is open.
//
// # Ordering
//
// That of the log.
//
// # Cost of a client
//
// One goroutine reads a bounded piece of the log, sends it, and only then reads on; a second one waits for the first, so
// that [Server.Shutdown] can end a stream whose client has stopped reading. Between two reads nothing of the log is held:
// no lock, no iterator. A client that stops reading blocks its own goroutine in HTTP/2 flow control, with at most one read
// (see [sinks.Log]) and some 100 KiB of messages in memory, however far it falls behind.
//
// # Errors
//
// Tail's comment in proto/bridge/stream/v1 lists them. Failures of the log itself are logged, and INTERNAL to the client.
package grpcstream

import (
	"context"
	"log/slog"
	"sync"

	"google.golang.org/grpc"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// DefaultMaxStreams is how many streams may be open unless Config says otherwise.
const DefaultMaxStreams = 256

// Config of a server. The zero value is good.
type Config struct {
	// MaxStreams is how many streams may be open at once; more are refused. 0 is DefaultMaxStreams.
	MaxStreams int
	// Logger is told of failures of the log. Nil discards.
	Logger *slog.Logger
}

// Server implements [streamv1.EventStreamServiceServer]. It is safe for concurrent use.
type Server struct {
	streamv1.UnimplementedEventStreamServiceServer

	log        sinks.Log
	logger     *slog.Logger
	maxStreams int

	draining context.Context // Done when streams are to say goodbye.
	drain    context.CancelFunc
	cut      context.Context // Done when streams are to end as they are.
	cutAll   context.CancelFunc
	open     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams map[*stream]struct{}
}

// New returns a server of the events in log. It starts nothing.
func New(log sinks.Log, c Config) *Server {
	if c.MaxStreams <= 0 {
		c.MaxStreams = DefaultMaxStreams
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{log: log, logger: c.Logger, maxStreams: c.MaxStreams, streams: make(map[*stream]struct{})}
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
		// First make room, then tell the client: one that opens its next stream at once must find it.
		s.leave(st)
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-s.cut.Done():
		// A Send that is stuck in flow control ends when its handler has returned, and not before.
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

// Shutdown refuses new streams, lets every open one say goodbye, and waits until all have ended. When ctx is done first, it
// ends those that are left, which are those whose clients do not read, without a goodbye, and returns ctx's cause; a further
// call waits for them. All get UNAVAILABLE.
//
// Call it before grpc.Server.GracefulStop, which waits for streams. After a cut, call grpc.Server.Stop instead: the end of a
// stream reaches a client only once the client has read what came before.
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

// Stats is what goes on now.
type Stats struct {
	// Open is how many streams are open.
	Open int
	// MaxLag is how many events the stream that is furthest behind has not dealt with, before filtering.
	MaxLag uint64
}

// Stats returns what goes on now.
func (s *Server) Stats() Stats {
	next := s.log.Bounds().Next
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Open: len(s.streams)}
	for st := range s.streams {
		if st.subscribed.Load() {
			stats.MaxLag = max(stats.MaxLag, lag(next, sinks.Position(st.next.Load())))
		}
	}
	return stats
}

// lag is 0 when next was looked up before the stream went past it.
func lag(next, position sinks.Position) uint64 {
	if position >= next {
		return 0
	}
	return uint64(next - position)
}
