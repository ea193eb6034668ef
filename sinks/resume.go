package sinks

import (
	"context"
	"errors"
)

// Resumer is a [Sink] whose destination stores how far it is, in the same step as the events. Such a sink delivers each event
// exactly once: after a crash between a delivery and the save of the cursor, the dispatcher asks the destination and goes on from
// there. A destination without such a step is a plain Sink.
//
// Two openings of one sink may overlap: a process that was frozen thaws after another one took its place. So Resume also fences.
// Once it has returned, what an earlier opening sends never arrives: its Deliver and its MoveTo fail with [ErrFenced].
//
// Deliver stores the position after the last event together with the events. It never moves the stored position back: events from
// before it are repeated on purpose, by an operator's retry or replay, and are stored a second time.
//
// A sink of this kind has one lane: the dispatcher gives it all events, one batch at a time.
type Resumer interface {
	Sink
	// Resume takes the destination over from earlier openings of the sink, and returns what it has reached. It is called before
	// the first Deliver, again after it failed, and not later. It is false for a destination without a position: a new one, or
	// one whose position was removed.
	//
	// Errors: [ErrFenced], [ErrClosed], ctx's; after any other error the caller may ask again.
	Resume(ctx context.Context) (Reached, bool, error)
	// MoveTo makes p the destination's position, forwards or back, and returns once that is durable. It stores no event. The
	// dispatcher calls it between two Delivers: when events before p are not for this sink, and when an operator moved the sink.
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
