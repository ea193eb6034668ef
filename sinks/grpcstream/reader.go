package grpcstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/filter"
)

// readPatience is how long a read of events that are there may take. Then the storage does not answer, and the client should not wait
// without a sign of life.
const readPatience = 10 * time.Second

// Reader goes through the log for one client: from a place, by a filter, with tokens, and with what the client may see. It belongs to one
// goroutine, except that Position and Lag may be called by others.
type Reader struct {
	server *Server
	filter *filter.Filter
	tokens *tokens
	view   *View
	// next is the position to read next: all events before it were sent or filtered out.
	next    atomic.Uint64
	records []sinks.Record
}

// NewReader returns a reader by the rights of the caller. Its place is not known before [Reader.Start]. Errors are statuses.
func (s *Server) NewReader(ctx context.Context, f *streamv1.Filter) (*Reader, error) {
	compiled, err := s.NewFilter(f)
	if err != nil {
		return nil, err
	}
	r := &Reader{server: s, filter: compiled, view: s.NewView(ctx)}
	if err := r.view.viewer.Filter(f.GetSources(), f.GetTypes()); err != nil {
		return nil, err
	}
	r.tokens = newTokens(hashLog(s.log.ID()), compiled.Hash())
	return r, nil
}

// NewFilter returns a filter whose failures are counted in [Stats]. Errors are statuses.
func (s *Streams) NewFilter(f *streamv1.Filter) (*filter.Filter, error) {
	compiled, err := filter.New(f, &s.celFailures)
	if err != nil {
		return nil, Invalid(err)
	}
	return compiled, nil
}

// Start sets the place to read from. Errors: those of [Reader.Locate].
func (r *Reader) Start(ctx context.Context, start *streamv1.Start) error {
	next, err := r.Locate(ctx, start)
	if err != nil {
		return err
	}
	r.Pass(next)
	return nil
}

// Locate returns the position of a place. Errors are for [Reader.Status].
func (r *Reader) Locate(ctx context.Context, start *streamv1.Start) (sinks.Position, error) {
	log := r.server.log
	switch at := start.GetAt().(type) {
	case *streamv1.Start_Latest:
		return durableEnd(ctx, log)
	case *streamv1.Start_Time:
		return log.Seek(ctx, at.Time.AsTime())
	case *streamv1.Start_Token:
		return r.resume(ctx, at.Token)
	default:
		return log.Bounds().Earliest, nil
	}
}

// durableEnd returns the log's end. Where several instances write, this one may not know the last events yet: an answer about a position
// past all that it knows comes from the storage, and it knows the end then.
func durableEnd(ctx context.Context, log sinks.Log) (sinks.Position, error) {
	err := log.Resolve(ctx, sinks.Mark{Position: log.Bounds().Next + 1})
	if err != nil && !errors.Is(err, sinks.ErrFuture) {
		return 0, err
	}
	return log.Bounds().Next, nil
}

// resume returns the position that a token names. It fails when the token belongs to another log or filter, or when the log
// cannot be read from that position.
func (r *Reader) resume(ctx context.Context, text string) (sinks.Position, error) {
	k, err := r.readToken(text)
	if err != nil {
		return 0, err
	}
	if err := r.server.log.Resolve(ctx, k.mark); err != nil {
		return 0, err
	}
	return max(k.mark.Position, 1), nil
}

// readToken reads a token of this log and filter.
func (r *Reader) readToken(text string) (token, error) {
	k, err := parseToken(text)
	switch {
	case err != nil:
		return token{}, Invalid(err)
	case k.log != r.tokens.log:
		return token{}, errForeignLog
	case !bytes.HasPrefix(r.tokens.filter[:], k.filter):
		return token{}, errForeignFilter
	}
	return k, nil
}

// Read returns the next records, at most limit. If there are none yet, it waits for them until the given time; the result is empty then.
// The records are valid until the next call, and should be released by [Reader.Release] before anything that takes long.
func (r *Reader) Read(ctx context.Context, until time.Time, limit int) ([]sinks.Record, error) {
	if cap(r.records) < limit {
		r.records = make([]sinks.Record, 0, limit)
	}
	if r.Position() >= r.server.log.Bounds().Next {
		return r.wait(ctx, until, limit)
	}
	return r.readAt(ctx, r.Position(), limit)
}

// readAt returns records from a position on, where there are some.
func (r *Reader) readAt(ctx context.Context, from sinks.Position, limit int) ([]sinks.Record, error) {
	if cap(r.records) < limit {
		r.records = make([]sinks.Record, 0, limit)
	}
	if lag(r.server.log.Bounds().Next, from) > nearEvents {
		r.server.pace.giveWay(ctx)
	}
	// This waits for no event, so the heartbeat sets no deadline. If it did, a stream whose heartbeat interval is shorter than a read
	// would never get further.
	reading, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	read, err := r.server.log.Read(reading, from, r.records[:0:limit])
	if err != nil && ctx.Err() == nil && reading.Err() != nil {
		err = fmt.Errorf("%w: a read took longer than %s", sinks.ErrUnavailable, readPatience)
	}
	return read, err
}

// wait returns the next records as soon as there are some, or none at the given time.
func (r *Reader) wait(ctx context.Context, until time.Time, limit int) ([]sinks.Record, error) {
	if err := r.await(ctx, until); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	read, err := r.server.log.Read(waiting, r.Position(), r.records[:0:limit])
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return nil, nil
	}
	return read, err
}

// awaiter is a log that can wake many waiting readers cheaply, such as that of package tail.
type awaiter interface {
	Await(p sinks.Position) <-chan struct{}
}

// await waits until there may be something to read, or until the given time. It does not wait where the log cannot tell.
func (r *Reader) await(ctx context.Context, until time.Time) error {
	a, ok := r.server.log.(awaiter)
	if !ok {
		return nil
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-a.Await(r.Position()):
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Release gives back the memory of records. The log may share it with other readers. A client that does not read must not keep it in
// use.
func (*Reader) Release(records []sinks.Record) { clear(records) }

// Visible returns an event as the client may see it, and whether the client gets it. want is the position that must come next.
func (r *Reader) Visible(record *sinks.Record, want sinks.Position) (seen sinks.Record, passes bool, err error) {
	if record.Position != want {
		return sinks.Record{}, false, &gapError{want: want, got: record.Position}
	}
	if !r.filter.PassesHeader(&record.Header) || !r.view.Shows(&record.Header) {
		return sinks.Record{}, false, nil
	}
	if seen, err = r.view.Seen(record); err != nil {
		return sinks.Record{}, false, err
	}
	return seen, r.filter.PassesData(&seen), nil
}

// Token returns the token of a client that has dealt with all events before p.
func (r *Reader) Token(p sinks.Position) string { return r.tokens.token(r.server.log.Mark(p)) }

// TokenLen is the length of a token.
const TokenLen = tokenLen

// AppendToken appends [Reader.Token].
func (r *Reader) AppendToken(dst []byte, p sinks.Position) []byte {
	return r.tokens.appendToken(dst, r.server.log.Mark(p))
}

// Position is the place of the reader: the client has got all events before it that pass.
func (r *Reader) Position() sinks.Position { return sinks.Position(r.next.Load()) }

// Pass moves the reader.
func (r *Reader) Pass(p sinks.Position) { r.next.Store(uint64(p)) }

// Lag is how many events lie between the reader and the log's end. It is 0 for a reader that has not started.
func (r *Reader) Lag() uint64 {
	if r.Position() == 0 {
		return 0
	}
	return lag(r.server.log.Bounds().Next, r.Position())
}

// Status maps an error of the log, or of a reader, to the client's status. A status stays.
func (r *Reader) Status(ctx context.Context, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	var lost *sinks.LostError
	switch {
	case errors.As(err, &lost):
		return r.Expired(ctx, lost.To)
	case errors.Is(err, sinks.ErrExpired):
		return r.Expired(ctx, r.server.log.Bounds().Earliest)
	}
	return r.server.Status(ctx, err)
}
