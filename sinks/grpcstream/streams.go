package grpcstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

const (
	// DefaultMaxStreams is the default of [StreamsConfig].Max.
	DefaultMaxStreams = 256
	// DefaultMaxAge is the default of [StreamsConfig].MaxAge.
	DefaultMaxAge = time.Hour
	// ageGrace is how long a stream may take to say goodbye once it is too old. A client that does not read takes longer.
	ageGrace = 30 * time.Second
)

// StreamsConfig configures [Streams]. The zero value is good.
type StreamsConfig struct {
	// Max is the largest number of open streams; more are refused. 0 is DefaultMaxStreams.
	Max int
	// MaxAge is how long a stream may stay open, a tenth more or less. 0 is DefaultMaxAge.
	MaxAge time.Duration
}

// Streams are the open streams of all services that share them. It bounds their number and their age, and ends them. It is safe for
// concurrent use.
type Streams struct {
	max    int
	maxAge time.Duration

	draining context.Context // Done when streams must say goodbye.
	drain    context.CancelFunc
	cut      context.Context // Done when streams must end at once.
	cutAll   context.CancelFunc
	running  sync.WaitGroup

	celFailures atomic.Uint64 // Events that did not pass because an expression failed for them.

	mu     sync.Mutex
	closed bool
	open   map[*opened]struct{}
}

type opened struct{ lag func() uint64 }

// NewStreams returns a set without streams. It starts no goroutine.
func NewStreams(c StreamsConfig) *Streams {
	if c.Max <= 0 {
		c.Max = DefaultMaxStreams
	}
	if c.MaxAge <= 0 {
		c.MaxAge = DefaultMaxAge
	}
	s := &Streams{max: c.Max, maxAge: c.MaxAge, open: make(map[*opened]struct{})}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.cut, s.cutAll = context.WithCancel(context.Background())
	return s
}

// EndError is the cause of a stream's context when the server ends the stream: it says goodbye, and returns [EndError.Status].
type EndError struct {
	Cause  streamv1.GoodbyeCause
	Reason string
}

func (e *EndError) Error() string { return e.Reason }

// Status is the status of the stream.
func (e *EndError) Status() error { return unavailable(e.Reason) }

var (
	errDrain = &EndError{streamv1.GoodbyeCause_GOODBYE_CAUSE_DRAIN, "server is shutting down"}
	errAge   = &EndError{streamv1.GoodbyeCause_GOODBYE_CAUSE_MAX_AGE, "the stream reached its maximum age"}

	// ErrJournalCloses ends the streams of a journal that closes.
	ErrJournalCloses = &EndError{streamv1.GoodbyeCause_GOODBYE_CAUSE_JOURNAL, "journal is closing"}
)

// Serve runs one stream, and returns its status. lag is asked for [Streams.Stats]. The context of run is done when the client has gone,
// and when the stream must say goodbye: then its cause is an [*EndError]. A run that is blocked in a Send is left behind in the
// end, since only the return of the handler unblocks it. run may call abandon for that, from another goroutine, with the status.
func (s *Streams) Serve(
	ctx context.Context, lag func() uint64, run func(ctx context.Context, abandon context.CancelCauseFunc) error,
) error {
	st := &opened{lag}
	if err := s.enter(st); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stopDrain := context.AfterFunc(s.draining, func() { cancel(errDrain) })
	age := s.maxAge - s.maxAge/10 + rand.N(s.maxAge/5+1) //nolint:gosec // it only spreads the ends
	tooOld := time.AfterFunc(age, func() { cancel(errAge) })
	left := time.NewTimer(age + ageGrace)
	abandoned, abandon := context.WithCancelCause(context.Background())
	defer abandon(nil)
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, abandon)
		cancel(nil)
		// Leave first, then tell the client: a client that opens its next stream at once must find room.
		s.leave(st)
		ended <- err
	}()
	defer func() {
		stopDrain()
		tooOld.Stop()
		left.Stop()
	}()
	select {
	case err := <-ended:
		return err
	case <-abandoned.Done():
		return context.Cause(abandoned)
	case <-left.C:
		return errAge.Status()
	case <-s.cut.Done():
		return errDrain.Status()
	}
}

func (s *Streams) enter(st *opened) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errDrain.Status()
	}
	if len(s.open) >= s.max {
		return tooManyStreams(s.max)
	}
	s.open[st] = struct{}{}
	s.running.Add(1)
	return nil
}

func (s *Streams) leave(st *opened) {
	s.mu.Lock()
	delete(s.open, st)
	s.mu.Unlock()
	s.running.Done()
}

// Draining is closed when the streams must say goodbye.
func (s *Streams) Draining() <-chan struct{} { return s.draining.Done() }

// Shutdown refuses new streams, lets every open stream say goodbye, and waits until all have ended. When ctx is done first,
// it ends the remaining streams, whose clients do not read, without a goodbye, and returns ctx's cause. A further call waits
// for them. All clients get UNAVAILABLE.
//
// Call it before grpc.Server.GracefulStop, which waits for streams. After an error, call grpc.Server.Stop instead: the end of
// a stream reaches a client only after the client has read all earlier messages.
func (s *Streams) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drain()
	gone := make(chan struct{})
	go func() {
		s.running.Wait()
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
func (s *Streams) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{Open: len(s.open), CELFailures: s.celFailures.Load()}
	for st := range s.open {
		stats.MaxLag = max(stats.MaxLag, st.lag())
	}
	return stats
}
