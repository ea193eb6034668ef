// Package stdout prints events to a stream that this process has: its standard output, for containers and pipes.
//
// # Delivery
//
// At least once. Each event is a line: protobuf's JSON, with the event's position in the log. An event counts as delivered when
// the system has accepted its line. If the output is a regular file, it is synced too. What a pipe or a terminal has accepted is lost
// if its reader ends before it reads it; no sink can know that.
//
// A write cannot be interrupted. If the reader stops reading, Deliver returns when its context is done, and the write goes on. Until it
// has ended no other begins, also not by a later opening. Its lines are then repeated.
//
// # Ordering
//
// The order of the log. After a failure a suffix may be repeated. A line that a failed write broke off is ended before the next one.
//
// # Errors
//
// An event is refused permanently if JSON cannot represent it. All errors of the stream may be retried.
//
// # Configuration
//
// None. Nothing else in the process may write to the stream.
package stdout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/cloudevents"
)

// chunk is the number of bytes from which on a write begins.
const chunk = 1 << 20

// Output is the stream. All openings of sinks share it: one write at a time.
type Output struct {
	stream io.Writer
	sync   func() error
	// writing has a token while a write is under way.
	writing chan struct{}
	// broken: the last write ended within a line. Whoever has the token may use it.
	broken bool
}

// New returns the output to a stream. Nothing else may write to the stream from then on.
func New(stream io.Writer) *Output {
	o := &Output{stream: stream, sync: func() error { return nil }, writing: make(chan struct{}, 1)}
	if f, ok := stream.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			o.sync = f.Sync
		}
	}
	return o
}

// Open returns a sink that prints the origin's events.
func (o *Output) Open(from sinks.Origin) *Sink {
	s := &Sink{output: o, from: from}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Sink implements [sinks.Sink].
type Sink struct {
	output *Output
	from   sinks.Origin
	life   context.Context // Done when closed.
	end    context.CancelFunc
}

var _ sinks.Sink = (*Sink)(nil)

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (n int, err error) {
	if err := s.interrupted(ctx); err != nil {
		return 0, err
	}
	for n < len(events) {
		var lines []byte
		var ends []int
		var refused error
		for _, r := range events[n:] {
			if len(lines) >= chunk {
				break
			}
			line, err := s.line(r)
			if refused = err; err != nil {
				break
			}
			lines = append(lines, line...)
			ends = append(ends, len(lines))
		}
		if len(lines) > 0 {
			written, err := s.print(ctx, lines, ends)
			if n += written; err != nil {
				return n, err
			}
		}
		if refused != nil {
			return n, refused
		}
	}
	return n, nil
}

// line returns an event as a line. It returns an error that is final for the event.
func (s *Sink) line(r sinks.Record) ([]byte, error) {
	if len(r.Encoded) == 0 {
		return nil, sinks.Permanent(fmt.Errorf("stdout: event at %d is empty", r.Position))
	}
	e := &eventv1.Event{}
	if err := proto.Unmarshal(r.Encoded, e); err != nil {
		return nil, sinks.Permanent(fmt.Errorf("stdout: event at %d: %w", r.Position, err))
	}
	e.LogPosition = &eventv1.LogPosition{
		Log:      s.from.Log.ID(),
		Epoch:    uint64(s.from.Log.Mark(r.Position + 1).Epoch),
		Position: uint64(r.Position),
		Replay:   string(r.Header.Replay),
	}
	line, err := cloudevents.JSON(e)
	if err != nil {
		return nil, sinks.Permanent(fmt.Errorf("stdout: event at %d: %w", r.Position, err))
	}
	return append(line, '\n'), nil
}

// print writes lines, which end at ends, and returns how many the stream has.
func (s *Sink) print(ctx context.Context, lines []byte, ends []int) (int, error) {
	select {
	case s.output.writing <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.life.Done():
		return 0, sinks.ErrClosed
	}
	type result struct {
		n   int
		err error
	}
	written := make(chan result, 1)
	go func() {
		defer func() { <-s.output.writing }()
		n, err := s.output.write(lines, ends)
		written <- result{n, err}
	}()
	select {
	case w := <-written:
		return w.n, w.err
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.life.Done():
		return 0, sinks.ErrClosed
	}
}

// write writes lines, and returns how many of them are written.
func (o *Output) write(lines []byte, ends []int) (int, error) {
	if o.broken {
		if _, err := o.stream.Write([]byte("\n")); err != nil {
			return 0, fmt.Errorf("stdout: %w", err)
		}
		o.broken = false
	}
	size, err := o.stream.Write(lines)
	whole, within := slices.BinarySearch(ends, size)
	if within {
		whole++
	}
	o.broken = !within && size > 0
	if synced := o.sync(); synced != nil {
		whole, err = 0, errors.Join(err, synced)
	}
	if err != nil {
		return whole, fmt.Errorf("stdout: %w", err)
	}
	return whole, nil
}

// Close implements [sinks.Sink]. The stream stays open.
func (s *Sink) Close() error {
	s.end()
	return nil
}

func (s *Sink) interrupted(ctx context.Context) error {
	if s.life.Err() != nil {
		return sinks.ErrClosed
	}
	return ctx.Err()
}
