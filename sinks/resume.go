package sinks

import (
	"context"
	"errors"
)

// Resumer is a [Sink] whose destination stores how far it is, in the same step as the events. Such a sink delivers each event
// exactly once: after a crash between a delivery and the save of the cursor, and after a delivery whose answer was lost, the
// dispatcher asks the destination and goes on from there. A destination without such a step is a plain Sink.
//
// Two openings of one sink may overlap: a process that was frozen thaws after another one took its place. So Resume also fences.
// Once it has returned, what an earlier opening sends never arrives: its Deliver, its MoveTo and its next Resume fail with
// [ErrFenced]. A destination that has one writer by itself, a locked file for example, may refuse the second opening instead.
//
// Deliver stores the position after the last event together with the events. When it returns n, the first n events and the
// position after them are durable. It never moves the stored position back: events from before that position come again on
// purpose, by an operator's retry or replay. They are delivered like others, and are not dropped because of their positions.
//
// A sink of this kind has one lane: the dispatcher gives it all events, one batch at a time. Except for an operator's retry or
// replay, the positions ascend. They may have gaps.
type Resumer interface {
	Sink
	// Resume takes the destination over from earlier openings of the sink, and returns what it has reached. It is false for a
	// destination without a position: a new one, or one whose position was removed. A destination that does not answer is an
	// error.
	//
	// It is called before the first Deliver, and again after each Deliver, MoveTo or Resume that failed, except after
	// [ErrPermanent]. So a sink need not remember a delivery whose result it does not know. Resume settles it: either its events
	// and its position are durable when Resume returns, or they never arrive.
	//
	// Errors: [ErrFenced], [ErrClosed], ctx's, a [*RetryAfterError]; after any other error too the caller may ask again.
	Resume(ctx context.Context) (Reached, bool, error)
	// MoveTo makes p the destination's position, forwards or back, and returns once that is durable. It stores no event. The
	// dispatcher calls it between two Delivers: when events before p are not for this sink, when an operator moved the sink, and
	// when what Resume returned is of no use for the log.
	//
	// Errors: those of Resume.
	MoveTo(ctx context.Context, p Position) error
}

// Reached is the position that a destination has stored.
type Reached struct {
	// Log is the [Log.ID] of the log that the position belongs to.
	Log string
	// Mark has the position: the destination has all events before it that were for the sink, and none from it on.
	Mark Mark
}

// ErrFenced means that a later opening of the sink has taken the destination over. This opening is of no use any more: close it.
var ErrFenced = errors.New("sinks: another opening of the sink has taken the destination over")

// Origin tells a sink where its events come from. A [Resumer] stores it at the destination.
type Origin struct {
	// Log names the log, and the marks of its positions. A [Log] is one.
	Log Marks
	// Sink is the configured sink's name. It is unique for the log.
	Sink string
}

// Marks is the part of a [Log] by which positions are known elsewhere.
type Marks interface {
	ID() string
	Mark(p Position) Mark
}

// Reached returns what a destination has reached that has dealt with all events before p.
func (o Origin) Reached(p Position) Reached { return Reached{Log: o.Log.ID(), Mark: o.Log.Mark(p)} }
