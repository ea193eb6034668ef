package subscribe

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/tracing"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/grpcstream"
)

// Config of a server.
type Config struct {
	// Log has the events.
	Log sinks.Log
	// Tail reads it: its streams, its tokens, its callers and their rights are this service's, too.
	Tail *grpcstream.Server
	// Groups runs the groups.
	Groups *groups.Manager
	// Tracer shows what is sent of events that belong to traces. Nil is off.
	Tracer tracing.Tracer
	// Logger gets internal errors. Nil discards them.
	Logger *slog.Logger
}

// Server implements [streamv1.EventStreamServiceServer]. It is safe for concurrent use.
type Server struct {
	streamv1.UnimplementedEventStreamServiceServer

	log    sinks.Log
	tail   *grpcstream.Server
	groups *groups.Manager
	tracer tracing.Tracer
	logger *slog.Logger
}

// trace notes that an event of a chunk belongs to a trace.
func (s *Server) trace(c *chunk, h *sinks.Header) {
	if s.tracer != nil && len(h.Traceparent) > 0 {
		c.traced.Add(h.Traceparent, h.ReceivedAt, time.Now())
	}
}

// New returns a server. It starts no goroutine.
func New(c Config) *Server {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{log: c.Log, tail: c.Tail, groups: c.Groups, tracer: c.Tracer, logger: c.Logger}
}

// Tail implements [streamv1.EventStreamServiceServer].
func (s *Server) Tail(req *streamv1.TailRequest, out grpc.ServerStreamingServer[streamv1.TailResponse]) error {
	return s.tail.Tail(req, out)
}

// open begins a subscription: of a member of a group, or of a client alone.
func (s *Server) open(
	ctx context.Context, out grpc.ServerStream, start *streamv1.SubscribeStart,
) (feed, *streamv1.Subscribed, error) {
	if err := s.tail.NameUnknown(out, start.GetFilter()); err != nil {
		return nil, nil, err
	}
	if start.GetGroup() == "" {
		return s.openAlone(ctx, start)
	}
	return s.openMember(ctx, start)
}
