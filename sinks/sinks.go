// Package sinks is the contract between Bridge's journal and what carries events out of it.
//
// There are two kinds. A [Sink] is pushed to: events are handed to it, and it says how far it came. A sink that clients read
// from, such as a gRPC stream, is given a [Log]. It keeps no events of its own: a client that is
// slow, or gone, costs nothing but its place in the log.
package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// Position is a place in the log: the events before it, in order, are those with smaller positions. Positions are dense
// and are never used twice, also not after a crash. 0 is before the first event ever.
type Position uint64

// ErrExpired is returned by [Log.Read] when events at the asked position were there and are no longer kept. Ask
// [Log.Bounds] for the earliest that is.
var ErrExpired = errors.New("sinks: position is no longer kept")

// ErrFuture is returned by [Log.Read] when the asked position lies past the log's end: it was given out by another log, or
// by a later state of this one.
var ErrFuture = errors.New("sinks: position is past the log's end")

// ErrClosed is returned when the log is closing.
var ErrClosed = errors.New("sinks: log is closed")

// Record is an event in its place.
type Record struct {
	// Position of the event itself; a reader that has dealt with it goes on at Position+1.
	Position Position
	// Encoded is the event, a bridge.event.v1.Event, in protobuf's wire format: as logs keep it and as clients get it, so
	// that nobody in between has to decode it. It may be shared with other readers and must not be changed.
	Encoded []byte
}

// Event decodes the event. The result is the caller's own.
func (r Record) Event() (*eventv1.Event, error) {
	e := &eventv1.Event{}
	if err := proto.Unmarshal(r.Encoded, e); err != nil {
		return nil, fmt.Errorf("sinks: decode event at %d: %w", r.Position, err)
	}
	return e, nil
}

// Bounds is the extent of a log: events from Earliest up to, not including, Next are there to be read.
type Bounds struct {
	Earliest, Next Position
}

// Log is the durable, ordered log of canonical events as a sink sees it. What it shows is durable: it is still there after
// a crash. It is safe for concurrent use.
type Log interface {
	// ID identifies the log for as long as its data live. A position means something only together with it.
	ID() string
	// Bounds returns the extent of the log now.
	Bounds() Bounds
	// Seek returns the position of the first event received at t or later, the log's end if there is none.
	Seek(ctx context.Context, t time.Time) (Position, error)
	// Read appends to records the events from position from on, in order, at most up to cap(records) and about a mebibyte of
	// them, but always at least one, and returns the extended slice. When there is none yet it waits until there is, or until ctx is done; it
	// returns ctx's error then. Nothing stays open between calls.
	//
	// Errors: ErrExpired, ErrFuture, ErrClosed, ctx's.
	Read(ctx context.Context, from Position, records []Record) ([]Record, error)
}
