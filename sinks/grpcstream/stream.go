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
	"github.com/webhook-bridge/bridge/sinks/filter"
)

const (
	defaultHeartbeat = 10 * time.Second
	// readRecords is the number of events in one read. It bounds the memory that a client costs when it does not read, and the
	// time that a filter which passes no event can delay a heartbeat. Larger reads are not faster.
	readRecords = 128
	// readPatience is how long a read of events that are there may take. Then the storage does not answer, and the client should not wait
	// without a sign of life.
	readPatience = 10 * time.Second
)

// stream is one call of Tail. All fields except the atomic ones belong to the goroutine that runs it.
type stream struct {
	server   *Server
	out      grpc.ServerStreamingServer[streamv1.TailResponse]
	filter   *filter.Filter
	tokens   *tokens
	view     *view
	interval time.Duration
	due      time.Time // Time of the next heartbeat, unless another message is sent before.

	subscribed atomic.Bool
	next       atomic.Uint64 // Position to read next: all events before it were sent or filtered out.
}

// run opens the stream and serves it until it ends; the result is a status.
func (s *stream) run(ctx context.Context, req *streamv1.TailRequest) error {
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

// step reads once and sends the events that pass the filter, or a heartbeat if it is due.
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

// read returns the next records. When there is none by the time of the next heartbeat, it returns none.
func (s *stream) read(ctx context.Context, records []sinks.Record) ([]sinks.Record, error) {
	log := s.server.log
	if s.position() < log.Bounds().Next {
		// This waits for no event, so the heartbeat sets no deadline. If it did, a stream whose heartbeat interval is shorter than a read
		// would never get further.
		reading, cancel := context.WithTimeout(ctx, readPatience)
		defer cancel()
		read, err := log.Read(reading, s.position(), records)
		if err != nil && ctx.Err() == nil && reading.Err() != nil {
			err = fmt.Errorf("%w: a read took longer than %s", sinks.ErrUnavailable, readPatience)
		}
		return read, err
	}
	waiting, cancel := context.WithDeadline(ctx, s.due)
	defer cancel()
	read, err := log.Read(waiting, s.position(), records)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return nil, nil
	}
	return read, err
}

// deliver sends the records that pass the filter, in order, and moves the stream's position past all records.
func (s *stream) deliver(records []sinks.Record) error {
	var b batch
	next := s.position()
	for i := range records {
		r := &records[i]
		if r.Position != next {
			return &gapError{want: next, got: r.Position}
		}
		next++
		if !s.filter.PassesHeader(&r.Header) || !s.view.shows(&r.Header) {
			continue
		}
		seen, err := s.seen(r)
		if err != nil {
			return err
		}
		if !s.filter.PassesData(&seen) {
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
		b.add(s.tokens, s.server.log.Mark(next), encoded)
	}
	// The log may share this memory with other readers and release it. A client that does not read must not keep it in use.
	clear(records)
	if !b.empty() {
		if err := s.send(b.response()); err != nil {
			return err
		}
	}
	s.next.Store(uint64(next))
	return nil
}

// seen returns an event as the client may see it. A filter looks at nothing else: it must not tell what is masked.
func (s *stream) seen(r *sinks.Record) (sinks.Record, error) {
	if s.view.personal {
		return *r, nil
	}
	masked, err := s.server.masked(*r)
	if err != nil {
		return sinks.Record{}, fmt.Errorf("grpcstream: mask the event at position %d: %w", r.Position, err)
	}
	return sinks.Record{Position: r.Position, Header: r.Header, Encoded: masked}, nil
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
		return s.sendGoodbye(&Ending{streamv1.GoodbyeCause_GOODBYE_CAUSE_JOURNAL, "journal is closing"})
	default:
		return s.status(ctx, err)
	}
}

// token returns the token of a client that has dealt with all events before p.
func (s *stream) token(p sinks.Position) string { return s.tokens.token(s.server.log.Mark(p)) }

func (s *stream) position() sinks.Position { return sinks.Position(s.next.Load()) }

// unread is the stream's lag once it has a position.
func (s *stream) unread() uint64 {
	if !s.subscribed.Load() {
		return 0
	}
	return s.lag()
}

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

// sendGoodbye ends the stream. A stream that was not subscribed yet has no token to say goodbye with, so it gets only the
// status.
func (s *stream) sendGoodbye(e *Ending) error {
	if s.subscribed.Load() {
		err := s.send(&streamv1.TailResponse{Message: &streamv1.TailResponse_Goodbye{Goodbye: &streamv1.Goodbye{
			Token:  s.token(s.position()),
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
