package grpcstream

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	defaultHeartbeat = 10 * time.Second
	// readRecords is how many events are read at a time. It bounds what a client that does not read keeps in memory, and how
	// long a filter that lets nothing pass can hold up a heartbeat. More are not faster.
	readRecords = 128
)

// stream is one call of Tail. Its fields but the atomic ones belong to the goroutine that runs it.
type stream struct {
	server   *Server
	out      grpc.ServerStreamingServer[streamv1.TailResponse]
	filter   *filter
	tokens   *tokens
	interval time.Duration
	due      time.Time // When the next heartbeat is, unless something else is sent before.

	subscribed atomic.Bool
	next       atomic.Uint64 // Position to read next: everything before it was sent or filtered out.
}

// run opens the stream and serves it until it ends; the result is a status.
func (s *stream) run(req *streamv1.TailRequest) error {
	ctx, cancel := context.WithCancel(s.out.Context())
	defer cancel()
	defer context.AfterFunc(s.server.draining, cancel)()

	if err := s.start(ctx, req); err != nil {
		return s.end(ctx, err)
	}
	if err := s.sendSubscribed(); err != nil {
		return err
	}
	records := make([]sinks.Record, 0, readRecords)
	for {
		if err := s.step(ctx, records); err != nil {
			return s.end(ctx, err)
		}
	}
}

// step reads once and sends what passes the filter, or a heartbeat if that is due.
func (s *stream) step(ctx context.Context, records []sinks.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	read, err := s.read(ctx, records)
	if err != nil {
		return err
	}
	if err := s.deliver(read); err != nil {
		return err
	}
	if time.Now().Before(s.due) {
		return nil
	}
	return s.sendHeartbeat()
}

// read returns the next records, or none when none has come until a heartbeat is due.
func (s *stream) read(ctx context.Context, records []sinks.Record) ([]sinks.Record, error) {
	log := s.server.log
	if s.position() < log.Bounds().Next {
		// This does not wait. A deadline would keep a stream whose heartbeat is shorter than a read from ever moving on.
		return log.Read(ctx, s.position(), records)
	}
	waiting, cancel := context.WithDeadline(ctx, s.due)
	defer cancel()
	read, err := log.Read(waiting, s.position(), records)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return nil, nil
	}
	return read, err
}

// deliver sends the records that pass, in order, and moves on past all of them.
func (s *stream) deliver(records []sinks.Record) error {
	var b batch
	next := s.position()
	for i := range records {
		r := &records[i]
		if r.Position != next {
			return &gapError{want: next, got: r.Position}
		}
		next++
		if !s.filter.passes(&r.Header) {
			continue
		}
		if b.full(r.Encoded) {
			if err := s.send(b.response()); err != nil {
				return err
			}
			b = batch{}
		}
		if b.empty() {
			b.grow(records[i:])
		}
		b.add(s.tokens, s.server.log.Mark(next), r.Encoded)
	}
	// The log may share these with others and drop them; a client that does not read must not keep them alive.
	clear(records)
	if !b.empty() {
		if err := s.send(b.response()); err != nil {
			return err
		}
	}
	s.next.Store(uint64(next))
	return nil
}

// end turns what stopped the stream into its status, after a goodbye if it is the server that goes.
func (s *stream) end(ctx context.Context, err error) error {
	switch {
	case s.out.Context().Err() != nil:
		return status.FromContextError(s.out.Context().Err()).Err()
	case s.server.draining.Err() != nil && ctx.Err() != nil:
		return s.sendGoodbye("server is shutting down")
	case errors.Is(err, sinks.ErrClosed):
		return s.sendGoodbye("journal is closing")
	default:
		return s.status(ctx, err)
	}
}

// token returns the token of a client that has dealt with all events before p.
func (s *stream) token(p sinks.Position) string { return s.tokens.token(s.server.log.Mark(p)) }

func (s *stream) position() sinks.Position { return sinks.Position(s.next.Load()) }

func (s *stream) lag() uint64 { return lag(s.server.log.Bounds().Next, s.position()) }

func (s *stream) sendSubscribed() error {
	s.subscribed.Store(true)
	return s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Subscribed{Subscribed: &streamv1.Subscribed{
		Token:             s.token(s.position()),
		HeartbeatInterval: durationpb.New(s.interval),
		Lag:               s.lag(),
	}}})
}

func (s *stream) sendHeartbeat() error {
	return s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Heartbeat{Heartbeat: &streamv1.Heartbeat{
		Token: s.token(s.position()),
		Lag:   s.lag(),
	}}})
}

// sendGoodbye ends the stream. Nothing was promised to a stream that did not get as far as `subscribed`, so it gets the
// status alone.
func (s *stream) sendGoodbye(reason string) error {
	if s.subscribed.Load() {
		err := s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Goodbye{Goodbye: &streamv1.Goodbye{
			Token:  s.token(s.position()),
			Reason: reason,
		}}})
		if err != nil {
			return err
		}
	}
	return unavailable(reason)
}

// send blocks while the client does not read.
func (s *stream) send(m *streamv1.TailResponse) error {
	err := s.out.Send(m)
	s.due = time.Now().Add(s.interval)
	return err
}
