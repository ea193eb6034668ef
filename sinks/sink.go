package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LargestEvent is the largest encoded event, in bytes, that a sink gets: the largest body that a source may allow, and room
// for the fields that Bridge adds. A sink whose destination has a lower limit refuses larger events with [ErrPermanent].
const LargestEvent = 64<<20 + 64<<10

// Sink pushes events to a destination: a topic, a file, another system. A [Resumer] is a sink that delivers exactly once.
//
// A sink does one thing: it delivers the events of one call, once, and returns how many of them are durable. It does not
// retry, wait, batch, log, count or remember. Its caller, the dispatcher, does all that, in one place, the same way for all
// sinks.
//
// Deliver is called by one goroutine at a time. Close may be called at any time, by any goroutine.
type Sink interface {
	// Deliver delivers the events in the order of the slice, which is not always the order of their positions. It returns n:
	// the first n events are durable at the destination. They survive a crash of this process and of the destination, as far
	// as the destination's configuration promises.
	//
	// When n is len(events), err is nil. When n is less, err is about events[n]:
	//
	//   - [ErrPermanent] in its chain: the destination will never accept this event; it may accept the others. The error is
	//     about the event, never about the destination's condition.
	//   - a [*RetryAfterError] in its chain: the destination asks for a pause before the next attempt.
	//   - [ErrDisabled] in its chain: the destination wants no more events until an operator has changed something.
	//   - [ErrClosed]: the sink is closed.
	//   - ctx's error: ctx was done first.
	//   - any other error: the caller may try the event again.
	//
	// Events after the first n may have arrived too, as a whole or in part. The caller delivers them again, so the
	// destination may then have them twice. One thing must never happen: events[i] is durable and is not delivered again,
	// but some events[j], j < i, is not durable. So at the destination no event overtakes an earlier one with the same key,
	// except in such repeated suffixes.
	//
	// For an empty slice, Deliver returns 0, nil at once, unless the sink is closed. It changes neither the slice nor the
	// events, and uses neither after it has returned. It returns soon after ctx is done. When ctx is done before the call,
	// it sends nothing.
	Deliver(ctx context.Context, events []Record) (n int, err error)
	// Close releases the sink's resources. A Deliver under way returns soon, with the number of events that are durable by
	// then. Later calls of Deliver return ErrClosed. Events that Deliver has reported stay durable. Further calls of Close
	// return nil and do nothing.
	Close() error
}

// Preparer is a [Sink] that can do a part of a delivery before it: the part that needs no destination, such as decoding and encoding the
// events. So a sink that is behind prepares the next events while its destination stores the ones before them.
type Preparer interface {
	Sink
	// Prepare gets events that the next Deliver may have. It sends nothing, and returns no error: Deliver reports what is wrong with an
	// event. The caller calls it during a Deliver, from one other goroutine, in order, and once or several times before the next Deliver.
	//
	// The events and the slice stay as they are until that Deliver begins. It may have others: fewer, more, or none of them. Then the sink
	// forgets what was prepared for it.
	Prepare(events []Record)
}

// ErrPermanent marks an error as final for its event. A sink marks an error by [Permanent]. After any other error the event is
// tried again, because losing an event is worse than repeating an attempt.
var ErrPermanent = errors.New("refused for good")

// ErrDisabled means that the destination has said that it wants no more events, such as by HTTP's status 410. The caller does not try
// again by itself: it stops, tells the operator, and continues when the operator resumes the sink.
var ErrDisabled = errors.New("the destination wants no more events")

// Permanent returns err, marked with [ErrPermanent]. Its text is err's: operators read it beside the parked event.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string        { return e.err.Error() }
func (e *permanentError) Unwrap() error        { return e.err }
func (e *permanentError) Is(target error) bool { return target == ErrPermanent }

// RetryAfterError means that the destination asked for a pause.
type RetryAfterError struct {
	// After is the length of the pause, from now on.
	After time.Duration
	// Err is the reason.
	Err error
}

func (e *RetryAfterError) Error() string { return fmt.Sprintf("%v (again after %s)", e.Err, e.After) }
func (e *RetryAfterError) Unwrap() error { return e.Err }
