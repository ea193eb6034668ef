package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/tracing"
	"github.com/webhook-bridge/bridge/sinks"
)

// Log is the log whose events are delivered. [journal.Reader] implements it and documents the methods.
type Log interface {
	sinks.Marks
	Bounds() sinks.Bounds
	// Resolve reports whether a destination's mark belongs to the log as it is.
	Resolve(ctx context.Context, m sinks.Mark) error
	// Read waits for events from a position on.
	Read(ctx context.Context, from sinks.Position, records []sinks.Record) ([]sinks.Record, error)
	// CommittedAt returns the commit time of an event.
	CommittedAt(ctx context.Context, p sinks.Position) (time.Time, error)
}

// Config has the parts and settings of a Dispatcher. Name, Log, Claim and Sinks have no default.
type Config struct {
	// Name is the configured sink's.
	Name string
	Log  Log
	// Claim is the right to the sink's cursor. It belongs to the caller, who releases it after Run.
	Claim journal.Claim
	// Sinks is one for each lane, all of them connections to the same destination. They belong to the caller, who closes them
	// after Run. A [sinks.Resumer] is alone.
	Sinks []sinks.Sink
	// Choose reports whether an event is for the sink. The events that it leaves out are passed over, and counted. An event for which
	// it fails is treated as one that the sink refused permanently, without an attempt. Choose is called by several goroutines, and
	// keeps nothing of the record. Nil chooses all.
	Choose func(*sinks.Record) (bool, error)
	// Parked returns parked events, as [journal.DeadLetters] does. A [sinks.Resumer] needs it: an event that was parked before a crash is
	// not delivered after it. Nil has such an event tried again.
	Parked func(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error)
	// Counters are those of the sink, also of dispatchers before this one. Default is new ones.
	Counters *Counters

	Batch   Batch
	Backoff Backoff
	Breaker Breaker
	// StrictOrder stops at an event that is refused permanently, instead of parking it.
	StrictOrder bool

	// Window is the largest distance between two lanes, in positions. Default 1,000,000.
	Window uint64
	// SaveInterval and SaveEvents say how often the cursor is saved, whichever is reached first. Default 1s and 50,000.
	SaveInterval time.Duration
	SaveEvents   uint64
	// RequestInterval is how often operators' requests are looked for. Default 1s.
	RequestInterval time.Duration
	// Grace is how long a Deliver under way may go on after Run's context is done or the claim is lost. Default 5s.
	Grace time.Duration

	// Tracer shows deliveries of events that belong to traces. Default is none. System is the destination's, such as kafka.
	Tracer tracing.Tracer
	System string
	// Logger gets pauses, refusals and gaps, never an event's content. Default is none.
	Logger *slog.Logger
	// Jitter returns a number in [0, 1), and is called by several goroutines. Default is random.
	Jitter func() float64
}

// Batch limits the events of one Deliver. The limit that is reached first counts.
type Batch struct {
	// Count is in events. Default 1000.
	Count int
	// Bytes is of encoded events; a larger event goes alone. Default 1 MiB.
	Bytes int
	// Delay is how long to wait for more events after the first one. Default 0: no wait.
	Delay time.Duration
}

// Backoff is the wait after a failed attempt: Min, doubled each time up to Max. Jitter shortens it by up to half. Default 100ms
// and 30s.
type Backoff struct {
	Min, Max time.Duration
}

// Breaker stops trying for a while.
type Breaker struct {
	// Failures is the number of failed attempts in a row after which it opens. Default 8.
	Failures int
	// Pause is the time without attempts while it is open. Jitter shortens it by up to half. Default Backoff.Max.
	Pause time.Duration
}

func (c Config) withDefaults() Config {
	orDefault(&c.Batch.Count, 1000)
	orDefault(&c.Batch.Bytes, 1<<20)
	orDefault(&c.Backoff.Min, 100*time.Millisecond)
	orDefault(&c.Backoff.Max, 30*time.Second)
	orDefault(&c.Breaker.Failures, 8)
	orDefault(&c.Breaker.Pause, c.Backoff.Max)
	orDefault(&c.Window, 1_000_000)
	orDefault(&c.SaveInterval, time.Second)
	orDefault(&c.SaveEvents, 50_000)
	orDefault(&c.RequestInterval, time.Second)
	orDefault(&c.Grace, 5*time.Second)
	orDefault(&c.Logger, slog.New(slog.DiscardHandler))
	if c.Counters == nil {
		c.Counters = new(Counters)
	}
	if c.Jitter == nil {
		c.Jitter = random
	}
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c Config) check() error {
	var errs []error
	for _, x := range []struct {
		bad    bool
		reason string
	}{
		{c.Name == "", "no name given"},
		{c.Log == nil, "no log given"},
		{c.Claim == nil, "no claim given"},
		{len(c.Sinks) == 0, "no sink given"},
		{len(c.Sinks) > 1 && resumes(c.Sinks), "a sink whose destination stores its position has one lane"},
		{c.Batch.Count < 0 || c.Batch.Bytes < 0 || c.Batch.Delay < 0, "a batch cannot be less than nothing"},
		{c.Backoff.Min < 0 || c.Backoff.Max < c.Backoff.Min, "backoff must have 0 <= min <= max"},
		{c.Breaker.Failures < 0 || c.Breaker.Pause < 0, "a breaker cannot have less than no failures or pause"},
		{c.SaveInterval < 0 || c.RequestInterval < 0 || c.Grace < 0, "intervals and grace cannot be negative"},
	} {
		if x.bad {
			errs = append(errs, errors.New(x.reason))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("dispatch: new: %w", err)
	}
	return nil
}
