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
	// Unregister ends the registration by this run: the reader's cursor stays, and retention treats it as after a restart without the
	// reader. The caller holds no claim of it. A name that is not registered stays so.
	Unregister(name string)
	// Claim waits until no other holder has the name, and until the reader is not paused. A name without a cursor can be
	// claimed too; then only the exclusion counts. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Claim(ctx context.Context, name string) (Claim, error)
}

// Claim is the sole right to a reader. Every write fails with ErrLost once the claim is lost.
type Claim interface {
	// Position is the first position that the reader has not dealt with, as last saved.
	Position() sinks.Position
	// Moved reports that an operator moved the cursor since it was last saved: [Operations].MoveTo sets it, durably, and Save ends
	// it. So a destination that knows a position of its own does not undo the move.
	Moved() bool
	// Save moves the cursor to p and returns once that is durable. It may move back. Errors: ErrLost, sinks.ErrFuture,
	// ErrUnavailable, sinks.ErrClosed, ctx's; except for ErrLost the cursor counts as not moved, and may have moved.
	Save(ctx context.Context, p sinks.Position) error
	// Park stores an event that the reader refused permanently, and returns when that is durable. An event that is parked
	// already keeps its first time and its history; p is added to both. p is not kept and not changed.
	// Errors: ErrLost, ErrUnavailable, sinks.ErrClosed, ctx's.
	Park(ctx context.Context, p *journalv1.Parked) error
	// AddAttempt adds a failed retry to an event that is parked, as Park does. An event that is parked no more, because an
	// operator discarded it during the retry, stays gone. Errors: those of Park.
	AddAttempt(ctx context.Context, p *journalv1.Parked) error
	// RecordGap records that the reader was not given the events from one position up to, not including, another, and
	// returns how many of them are newly recorded, once that is durable. Errors: those of Park.
	RecordGap(ctx context.Context, from, to sinks.Position) (added uint64, err error)
	// SaveReplay stores how far a replay of the reader is. One that has ended stays as it is: an operator may have cancelled it
	// meanwhile. r is not kept and not changed. Errors: those of Park.
	SaveReplay(ctx context.Context, r *journalv1.Replay) error
	// Requests returns what operators asked for since. It is cheap, and asked often. Errors: ErrLost, ErrUnavailable,
	// sinks.ErrClosed, ctx's.
	Requests(ctx context.Context) (Requests, error)
	// Unpark removes a parked event that was delivered after all. Errors: those of Park.
	Unpark(ctx context.Context, p sinks.Position) error
	// Note returns the note of the name, as it was saved last: at first that of an earlier holder, or nil.
	Note() []byte
	// SaveNote replaces the note of the name. It has what other instances, and the next holder, should know of the holder's work.
	// A note is small, and need not survive the end of all instances. Errors: those of Park.
	SaveNote(ctx context.Context, note []byte) error
	// Lost is closed when the claim can no longer be relied on, before another holder can have it.
	Lost() <-chan struct{}
	// Release gives the claim back. Errors: ErrUnavailable, ctx's; the claim is given back all the same.
	Release(ctx context.Context) error
}

// Requests are what operators asked of a reader. Its holder carries them out.
type Requests struct {
	// Retry are parked events to deliver again.
	Retry []*journalv1.Parked
	// Pass are positions that a strictly ordered reader may leave behind, parked.
	Pass []sinks.Position
	// Replays are the replays that have not ended, in the order in which they were requested.
	Replays []*journalv1.Replay
}

// ReaderState describes a reader to operators.
type ReaderState struct {
	Name string
	// Position is the first position that the reader has not dealt with, as last saved.
	Position sinks.Position
	// Paused: an operator paused it. Registered: this run of the program has it configured. Claimed: some instance holds it.
	Paused, Registered, Claimed bool
	// Owner is the name of the instance that holds it, if some instance does and the engine is made for several.
	Owner string
	// Note is what its holder saved with SaveNote, or an earlier holder.
	Note []byte
	// Parked is how many events it has parked, and Missed how many positions it was not given.
	Parked, Missed uint64
}

// Operations is the operators' side of the readers. Each change is durable when its method returns, and takes effect
// wherever the reader's holder runs.
type Operations interface {
	// Readers returns all readers that have a cursor, ordered by name. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Readers(ctx context.Context) ([]ReaderState, error)
	// Pause ends the claim of a reader, and refuses new claims until Resume. Errors: ErrNotFound, ErrUnavailable,
	// sinks.ErrClosed, ctx's.
	Pause(ctx context.Context, name string) error
	// Resume ends a pause. Errors: those of Pause.
	Resume(ctx context.Context, name string) error
	// MoveTo takes the claim of a reader away and moves its cursor to p, forwards or back. Errors: those of Pause,
	// sinks.ErrFuture, sinks.ErrExpired.
	MoveTo(ctx context.Context, name string, p sinks.Position) error
	// Forget removes a reader's cursor, so that it holds nothing back. Errors: those of Pause.
	Forget(ctx context.Context, name string) error
}

// DeadLetters are the events that readers refused permanently.
type DeadLetters interface {
	// Parked returns up to limit parked events of a reader, in order of their positions, from the given one on. An empty name
	// stands for all readers, in order of their names; from must be 0 then. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Parked(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error)
	// RequestRetry asks the holder to deliver a parked event again. Errors: ErrNotFound, ErrUnavailable, sinks.ErrClosed,
	// ctx's.
	RequestRetry(ctx context.Context, name string, p sinks.Position) error
	// RequestPass asks the holder of a strictly ordered reader to park the event that it waits at, and to go on. Errors:
	// those of RequestRetry; ErrNotFound for a reader that does not exist.
	RequestPass(ctx context.Context, name string, p sinks.Position) error
	// DiscardParked removes a parked event. Errors: those of RequestRetry.
	DiscardParked(ctx context.Context, name string, p sinks.Position) error
	// Gaps returns the recorded gaps of a reader, or of all when the name is empty, in order. Errors: ErrUnavailable,
	// sinks.ErrClosed, ctx's.
	Gaps(ctx context.Context, name string) ([]*journalv1.Gap, error)
}

// ReaderReplays deliver events to a reader once more. They move no cursor, and hold back no retention.
type ReaderReplays interface {
	// StartReplay stores a replay, durably. The reader's holder carries it out. Ids are unique, and greater than those of earlier
	// replays. Of the replays that have ended, the latest [KeptReplays] of each reader are kept. r is not kept and not changed.
	// Errors: ErrNotFound for a reader that does not exist, ErrLimit above [MaxReplays] that have not ended, ErrUnavailable,
	// sinks.ErrClosed, ctx's.
	StartReplay(ctx context.Context, r *journalv1.Replay) error
	// ListReplays returns the replays of a reader, or of all readers when the name is empty, ordered by reader and id. They belong to
	// the caller. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	ListReplays(ctx context.Context, name string) ([]*journalv1.Replay, error)
	// CancelReplay ends a replay. Errors: ErrNotFound for one that has ended or does not exist, ErrUnavailable, sinks.ErrClosed,
	// ctx's.
	CancelReplay(ctx context.Context, name, id string) error
}

// Limits of a reader's replays.
const (
	MaxReplays  = 20
	KeptReplays = 20
)
