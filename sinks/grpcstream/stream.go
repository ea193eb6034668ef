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
	// readRecords is the number of events in one read. It bounds the memory that a client costs when it does not read, and the
	// time that a filter which passes no event can delay a heartbeat. Larger reads are not faster.
	readRecords = 128
)

// stream is one call of Tail. All fields except the atomic ones belong to the goroutine that runs it.
type stream struct {
	*Reader

	server   *Server
	out      grpc.ServerStreamingServer[streamv1.TailResponse]
	interval time.Duration
	due      time.Time // Time of the next heartbeat, unless another message is sent before.
	// subscribed is whether the client knows where the stream starts.
	subscribed bool
	// started is the reader once it has a place, for [Streams.Stats].
	started atomic.Pointer[Reader]
}

// run opens the stream and serves it until it ends; the result is a status.
func (s *stream) run(ctx context.Context, req *streamv1.TailRequest) error {
	if err := s.start(ctx, req); err != nil {
		return s.end(ctx, err)
	}
	if err := s.sendSubscribed(); err != nil {
		return err
	}
	for {
		if err := s.step(ctx); err != nil {
			return s.end(ctx, err)
		}
	}
}

// step reads once and sends the events that pass the filter, or a heartbeat if it is due.
func (s *stream) step(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	read, err := s.Read(ctx, s.due, readRecords)
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

// deliver sends the records that pass the filter, in order, and moves the stream's position past all records.
func (s *stream) deliver(records []sinks.Record) error {
	var b batch
	next := s.Position()
	for i := range records {
		seen, passes, err := s.Visible(&records[i], next)
		if err != nil {
			return err
		}
		next++
		if !passes {
			continue
		}
		encoded := seen.Encoded
		if b.full(encoded) {
			if err := s.send(b.response()); err != nil {
				return err
			}
			b = batch{}
		}
		if b.empty() {
			b.grow(records[i:])
		}
		b.add(s.Reader, next, encoded)
	}
	s.Release(records)
	if !b.empty() {
		if err := s.send(b.response()); err != nil {
			return err
		}
	}
	s.Pass(next)
	return nil
}

// end returns the stream's status for the error that ended it. When it is the server that ends the stream, it sends a goodbye first.
func (s *stream) end(ctx context.Context, err error) error {
	var ending *Ending
	switch {
	case s.out.Context().Err() != nil:
		return status.FromContextError(s.out.Context().Err()).Err()
	case errors.As(context.Cause(ctx), &ending):
		return s.sendGoodbye(ending)
	case errors.Is(err, sinks.ErrClosed):
		return s.sendGoodbye(EndJournal)
	default:
		return s.Status(ctx, err)
	}
}

// unread is the stream's lag.
func (s *stream) unread() uint64 {
	if r := s.started.Load(); r != nil {
		return r.Lag()
	}
	return 0
}

func (s *stream) sendSubscribed() error {
	s.subscribed = true
	s.started.Store(s.Reader)
	return s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Subscribed{Subscribed: &streamv1.Subscribed{
		Token:             s.Token(s.Position()),
		HeartbeatInterval: durationpb.New(s.interval),
		Lag:               s.Lag(),
	}}})
}

func (s *stream) sendHeartbeat() error {
	return s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Heartbeat{Heartbeat: &streamv1.Heartbeat{
		Token: s.Token(s.Position()),
		Lag:   s.Lag(),
	}}})
}

// sendGoodbye ends the stream. A stream that was not subscribed yet has no token to say goodbye with, so it gets only the
// status.
func (s *stream) sendGoodbye(e *Ending) error {
	if s.subscribed {
		err := s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Goodbye{Goodbye: &streamv1.Goodbye{
			Token:  s.Token(s.Position()),
			Reason: e.Reason,
			Cause:  e.Cause,
		}}})
		if err != nil {
			return err
		}
	}
	return e.Status()
}

// send blocks while the client does not read.
func (s *stream) send(m *streamv1.TailResponse) error {
	err := s.out.Send(m)
	s.due = time.Now().Add(s.interval)
	return err
}
