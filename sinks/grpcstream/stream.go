package grpcstream

import (
	"context"
	"errors"
	"fmt"
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

	chooser  chooser
	stop     stop
	fan      *fan   // Batches that it shares. Nil: none.
	format   format // Of gRPC.
	prepares bool   // The format is known.
}

// run opens the stream and serves it until it ends; the result is a status.
func (s *stream) run(ctx context.Context, req *streamv1.TailRequest) error {
	err := s.start(ctx, req)
	if s.fan != nil {
		defer s.server.fans.leave(s.fan)
	}
	if err != nil {
		return s.end(ctx, err)
	}
	if err := s.sendSubscribed(); err != nil {
		return err
	}
	for {
		if s.stop.reached(s.server.log, s.Position()) {
			return s.sendHeartbeat()
		}
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
	var err error
	if next := s.server.log.Bounds().Next; s.shares(next) {
		err = s.share(ctx, next)
	} else {
		err = s.readAndDeliver(ctx)
	}
	if err != nil || time.Now().Before(s.due) {
		return err
	}
	return s.sendHeartbeat()
}

// shares reports whether the stream should send batches that other streams of its kind send too.
func (s *stream) shares(next sinks.Position) bool {
	if s.fan == nil || lag(next, s.Position()) > nearEvents {
		return false
	}
	if s.Position() < next {
		return true
	}
	_, wakes := s.server.log.(awaiter)
	return wakes
}

// share sends the batch at the stream's position. At the log's end it waits for an event until the next heartbeat.
func (s *stream) share(ctx context.Context, next sinks.Position) error {
	if s.Position() >= next {
		if err := s.await(ctx, s.due); err != nil {
			return err
		}
		if next = s.server.log.Bounds().Next; s.Position() >= next {
			return s.readAndDeliver(ctx) // It is the next heartbeat's time, or the log has an error to tell.
		}
		s.server.pace.live()
	}
	b, err := s.fan.get(ctx, s.Position(), next, func(from, end sinks.Position) (batch, sinks.Position, error) {
		read, err := s.readAt(ctx, from, int(end-from))
		defer s.Release(read)
		if err != nil {
			return batch{}, from, err
		}
		return s.chooser.batch(ctx, from, read)
	})
	if err != nil {
		return err
	}
	if !b.batch.empty() {
		if err := s.sendShared(b); err != nil {
			return err
		}
	}
	s.Pass(b.next)
	return nil
}

func (s *stream) sendShared(b *shared) error {
	var m any = &Shared{b.batch.response(), b}
	if s.prepares {
		var err error
		if m, err = b.prepared.get(s.format, &b.batch, s.out); err != nil {
			return fmt.Errorf("grpcstream: encode events: %w", err)
		}
	}
	err := s.out.SendMsg(m)
	s.sent()
	return err
}

// readAndDeliver sends the events of one read.
func (s *stream) readAndDeliver(ctx context.Context) error {
	read, err := s.Read(ctx, s.stop.wake(s.due), readRecords)
	if err != nil {
		return err
	}
	return s.deliver(ctx, read)
}

// deliver sends the records that are for the client, in order, and moves the stream's position past all that come before its stop.
func (s *stream) deliver(ctx context.Context, records []sinks.Record) error {
	defer s.Release(records)
	for rest := s.stop.before(records); len(rest) > 0; {
		b, next, err := s.chooser.batch(ctx, s.Position(), rest)
		if err != nil {
			return err
		}
		n := int(next - s.Position())
		if rest = rest[n:]; len(rest) == 0 {
			s.Release(records)
		}
		if !b.empty() {
			if err := s.send(b.response()); err != nil {
				return err
			}
		}
		s.Pass(next)
	}
	return nil
}

// end returns the stream's status for the error that ended it. When it is the server that ends the stream, it sends a goodbye first.
func (s *stream) end(ctx context.Context, err error) error {
	var ending *EndError
	switch {
	case s.out.Context().Err() != nil:
		return status.FromContextError(s.out.Context().Err()).Err()
	case errors.As(context.Cause(ctx), &ending):
		return s.sendGoodbye(ending)
	case errors.Is(err, sinks.ErrClosed):
		return s.sendGoodbye(ErrJournalCloses)
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
	bounds, mark := s.server.log.Bounds(), s.server.log.Mark(s.Position())
	return s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Subscribed{Subscribed: &streamv1.Subscribed{
		Token:             s.tokens.token(mark),
		HeartbeatInterval: durationpb.New(s.interval),
		Lag:               lag(bounds.Next, s.Position()),
		Position:          uint64(s.Position()),
		Epoch:             uint64(mark.Epoch),
		Earliest:          uint64(bounds.Earliest),
		Latest:            uint64(bounds.Next),
	}}})
}

func (s *stream) sendHeartbeat() error {
	return s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Heartbeat{Heartbeat: &streamv1.Heartbeat{
		Token:    s.Token(s.Position()),
		Lag:      s.Lag(),
		Position: uint64(s.Position()),
	}}})
}

// sendGoodbye ends the stream. A stream that was not subscribed yet has no token to say goodbye with, so it gets only the
// status.
func (s *stream) sendGoodbye(e *EndError) error {
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
	s.sent()
	return err
}

func (s *stream) sent() { s.due = time.Now().Add(s.interval) }
