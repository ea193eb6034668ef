package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LargestEvent is the largest encoded event, in bytes, that every sink must take or refuse for good: the largest body that
// a source may allow, with room for what is added to it. A sink whose destination takes less refuses with [ErrPermanent].
const LargestEvent = 64<<20 + 64<<10

// Sink is where events are pushed to: a topic, a file, another system.
//
// A sink does one thing: it hands over what it is given, once, and says how far it came. It does not retry, wait, batch,
// log, count or remember; whoever drives it does all that, in one place, the same way for all sinks.
//
// Deliver is called by one goroutine at a time; Close may be called at any time, by any.
type Sink interface {
	// Deliver hands events over in the order given, which need not be that of their positions, and returns how many of them,
	// from the first on, are durable at the destination: they survive a crash of this process and of the destination, as far as its
	// configuration promises.
	//
	// When n is len(events), err is nil. When n is less, err says why, and is about events[n]:
	//
	//   - [ErrPermanent] in its chain: this event will never be taken, however often it is tried; the others may be. It is
	//     about the event, never about the destination's condition.
	//   - a [*RetryAfterError] in its chain: the destination names a time before which it should not be tried again.
	//   - [ErrClosed]: the sink is closed.
	//   - ctx's error: ctx was done first.
	//   - anything else: it may be tried again.
	//
	// Events after the first n may have arrived too, wholly or in part: they will be given again, and so may then be there
	// twice. What may never happen is that events[i] is durable, will not be given again, and some events[j], j < i, is
	// not. An event that must not be overtaken by a later one with the same key is not, on the destination, but for such
	// repeated suffixes.
	//
	// An empty slice is delivered at once, unless the sink is closed: 0, nil. Events, and the slice, are neither changed nor kept after the return.
	// Deliver returns soon after ctx is done. When ctx is done before the call, nothing is sent.
	Deliver(ctx context.Context, events []Record) (n int, err error)
	// Close releases what the sink holds. A Deliver under way returns soon, with what it has achieved; later ones return
	// ErrClosed. What Deliver has reported stays durable. Further calls return nil and do nothing.
	Close() error
}

// ErrPermanent marks an error as final for its event. It must be claimed, by [Permanent]: an error that does not say so is
// tried again, because losing an event is worse than repeating an attempt.
var ErrPermanent = errors.New("refused for good")

// Permanent returns err marked with [ErrPermanent]. The text, which operators read beside the parked event, is err's.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ err error }

func (e *permanentError) Error() string        { return e.err.Error() }
func (e *permanentError) Unwrap() error        { return e.err }
func (e *permanentError) Is(target error) bool { return target == ErrPermanent }

// RetryAfterError says that the destination asked for a pause.
type RetryAfterError struct {
	// After is how long not to try, from now on.
	After time.Duration
	// Err is why.
	Err error
}

func (e *RetryAfterError) Error() string { return fmt.Sprintf("%v (again after %s)", e.Err, e.After) }
func (e *RetryAfterError) Unwrap() error { return e.Err }
