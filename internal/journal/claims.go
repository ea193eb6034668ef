package journal

import (
	"context"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// WhenFull says what becomes of a reader that is behind when the disk runs low.
type WhenFull int

const (
	// Hold keeps everything that the reader has not passed. When the disk is full the journal takes no more.
	Hold WhenFull = iota
	// Skip lets retention go past the reader while the disk is low. Its next read is ErrExpired.
	Skip
)

// Claims gives each named reader to one instance at a time, and keeps its cursor.
type Claims interface {
	// Register makes a reader's cursor known for this run, so that retention spares what the reader has not passed. A new
	// cursor stands at from, durably when Register returns: a reader that starts at the end misses nothing that comes after.
	// Errors: sinks.ErrFuture, ErrUnavailable, sinks.ErrClosed, ctx's.
	Register(ctx context.Context, name string, from sinks.Position, full WhenFull) error
	// Claim waits until no other holder has the name, and until the reader is not paused. A name without a cursor can be
	// claimed too; then only the exclusion counts. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Claim(ctx context.Context, name string) (Claim, error)
}

// Claim is the sole right to a reader. Every write fails with ErrLost once the claim is lost.
type Claim interface {
	// Position is the first position that the reader has not dealt with, as last saved.
	Position() sinks.Position
	// Save moves the cursor to p and returns once that is durable. It may move back. Errors: ErrLost, sinks.ErrFuture,
	// ErrUnavailable, sinks.ErrClosed, ctx's; except for ErrLost the cursor counts as not moved, and may have moved.
	Save(ctx context.Context, p sinks.Position) error
	// Park keeps an event that the reader refused for good, and returns once that is durable. An event that is parked
	// already keeps its first time and its history; p is added to both. p is not kept and not changed.
	// Errors: ErrLost, ErrUnavailable, sinks.ErrClosed, ctx's.
	Park(ctx context.Context, p *journalv1.Parked) error
	// RecordGap records that the reader was not given the events from one position up to, not including, another, and
	// returns how many of them are newly recorded, once that is durable. Errors: those of Park.
	RecordGap(ctx context.Context, from, to sinks.Position) (added uint64, err error)
	// Lost is closed when the claim can no longer be relied on, before another holder can have it.
	Lost() <-chan struct{}
	// Release gives the claim back. Errors: ErrUnavailable, ctx's; the claim is given back all the same.
	Release(ctx context.Context) error
}
