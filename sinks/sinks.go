// Package sinks is the vocabulary of the log, and the contract with the programs that read it.
//
// [Position], [Record], [Bounds] and the errors below are the words that the journal, the dispatcher, the streams and the
// sinks share. There are two kinds of readers. A [Sink] is pushed to: it gets events, and says how many of them are
// durable. A reader that pulls, such as a gRPC stream, gets a [Log]. It keeps no events of its own: a slow client, or one
// that went away, costs nothing but its position.
package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Position is an event's place in the log. Positions start at 1, are dense, one for each event, and are never used twice,
// also not after a crash. 0 is before the first event.
type Position uint64

// Epoch names a part of a log: the events from one opening of the log to the next. It is random and never 0, so that two
// logs that go on from one backup have different epochs.
type Epoch uint64

// Mark is a position that leaves the program, in a token for example: the reader has dealt with all events before it. It
// names the epoch of the last of these events. [Log.Resolve] finds out later whether the log still is the one that the
// reader saw. Epoch 0 stands for an unknown epoch; such a mark comes from an older version.
type Mark struct {
	Epoch    Epoch
	Position Position
}

var (
	// ErrExpired means that events at the position were in the log and are no longer kept. Ask [Log.Bounds] for the earliest
	// event that is kept.
	ErrExpired = errors.New("sinks: position is no longer kept")
	// ErrFuture means that the position lies past the log's end: another log gave it out, or a later state of this one.
	ErrFuture = errors.New("sinks: position is past the log's end")
	// ErrForked means that the mark belongs to a state of the log that is gone: the log was restored from a backup that is
	// older than the mark. Events that the reader has seen may be lost, and their positions may hold other events.
	ErrForked = errors.New("sinks: position belongs to a state of the log that was lost in a restore")
	// ErrDamaged means that the storage cannot give back an event that it had confirmed. Every later read of the position
	// fails too. Stop there and tell the operator; do not go past it, and do not read again in a loop. A [*DamagedError]
	// has the position.
	ErrDamaged = errors.New("sinks: the log is damaged")
	// ErrUnavailable means that the storage does not answer now. Try again later.
	ErrUnavailable = errors.New("sinks: the log is not available now")
	// ErrClosed means that the log or the sink is closed, or is closing.
	ErrClosed = errors.New("sinks: closed")
)

// DamagedError is an [ErrDamaged] with its place.
type DamagedError struct {
	// Position is the first one that cannot be read.
	Position Position
	// Err is the storage's own error.
	Err error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%v: the event at position %d cannot be read: %v", ErrDamaged, e.Position, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Is makes the error an [ErrDamaged].
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

// LostError is an [ErrExpired] for events that the storage lost, and whose loss an operator has accepted. Continue at To, and
// tell the reader what it misses.
type LostError struct {
	// From and To bound the lost positions that follow. To is excluded; it may be the log's end.
	From, To Position
}

func (e *LostError) Error() string {
	return fmt.Sprintf("sinks: the events from position %d up to %d were lost", e.From, e.To-1)
}

// Is makes the error an [ErrExpired].
func (e *LostError) Is(target error) bool { return target == ErrExpired }

// Record is an event at its position. Make one with [NewRecord].
type Record struct {
	// Position of the event. A reader that has dealt with it continues at Position+1.
	Position Position
	// Header is the part of the event that routes it.
	Header Header
	// Encoded is the event, a bridge.event.v1.Event, in protobuf's wire format: as logs store it and as clients get it, so
	// that no program in between decodes it. Other readers may share it, so it must not be changed.
	Encoded []byte
	// Memo remembers what readers derive from the event. Nil: nobody else has this record. See [Derive].
	Memo *Memo
}

// Event decodes the event. The result belongs to the caller.
func (r Record) Event() (*eventv1.Event, error) {
	e := &eventv1.Event{}
	if err := proto.Unmarshal(r.Encoded, e); err != nil {
		return nil, fmt.Errorf("sinks: decode event at %d: %w", r.Position, err)
	}
	return e, nil
}

// Clone returns a copy that shares no memory with r, and has no memo, for a reader that keeps few of the events of a read.
func (r Record) Clone() Record {
	c := Record{Position: r.Position, Encoded: bytes.Clone(r.Encoded)}
	if c.Header.read(c.Encoded) != nil {
		c.Header = Header{} // r was not made by NewRecord.
	}
	c.Header.Replay = bytes.Clone(r.Header.Replay)
	return c
}

// Bounds is the extent of a log: the events from Earliest up to, not including, Next can be read.
type Bounds struct {
	Earliest, Next Position
}

// Log is the durable, ordered log of canonical events. What it shows is durable: it is still there after a crash. It is
// safe for concurrent use.
type Log interface {
	// ID identifies the log for as long as its data live. A position has a meaning only together with it.
	ID() string
	// Bounds returns what this instance knows of the log's extent. Where several instances write, Next may lag behind what
	// the others committed. It never leads, and never goes back.
	Bounds() Bounds
	// Mark returns the mark of a reader that has dealt with all events before p. p is at most Bounds().Next.
	Mark(p Position) Mark
	// Resolve reports whether a reader can continue at a mark. It asks the storage where this instance does not know. When it
	// returns nil, Bounds().Next is at least the mark's position. The position is checked before the epoch.
	//
	// Errors: ErrExpired, ErrFuture, ErrForked, ErrClosed, ctx's; ErrUnavailable, or another one, if the storage does not answer now.
	Resolve(ctx context.Context, m Mark) error
	// Seek returns the position of the first event received at t or later, or the log's end.
	Seek(ctx context.Context, t time.Time) (Position, error)
	// Read appends to records the events from position from on, in order, at most up to cap(records) and about a mebibyte of
	// them, but always at least one, and returns the extended slice. When there is none yet it waits for one, or until ctx
	// is done; then it returns ctx's error. Nothing stays open between calls. Position 0 reads as 1.
	//
	// Errors: ErrExpired, a [*LostError] among them; ErrFuture, which is final, since the storage was asked; ErrDamaged, after
	// all events before the damage were returned; ErrClosed; ctx's; ErrUnavailable, or another one, if the storage does not answer now.
	Read(ctx context.Context, from Position, records []Record) ([]Record, error)
}
