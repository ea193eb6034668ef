package move

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/sinks"
)

var (
	// ErrOccupied means that the target holds a log already, or the copy of another one.
	ErrOccupied = errors.New("move: the target is not empty")
	// ErrDiffers means that the target has records that the source does not have, or has otherwise. The target cannot be used.
	ErrDiffers = errors.New("move: the target differs from the source")
	// ErrInUse means that an instance uses the source.
	ErrInUse = errors.New("move: an instance uses the source")
)

// Stamp is a moment in a log. The commits of a log have stamps that never decrease, by Next, and also by Epoch and At.
type Stamp struct {
	// Next is the position after the last event.
	Next sinks.Position `json:"next"`
	// Epoch is the number of the epoch, and At a time in it as the clock showed it, in Unix nanoseconds.
	Epoch uint32 `json:"epoch"`
	At    int64  `json:"at"`
}

// Before reports whether a record with this epoch and time was committed before the stamp.
func (s Stamp) Before(epoch uint32, at int64) bool {
	return epoch < s.Epoch || epoch == s.Epoch && at < s.At
}

// Log describes a log.
type Log struct {
	ID     string
	Bounds sinks.Bounds
	// WebhooksFrom and QuarantinedFrom are when the oldest webhooks that are kept were received, in Unix milliseconds.
	WebhooksFrom, QuarantinedFrom int64
	// Epochs are all epochs, in order.
	Epochs []epoch.Epoch
	// Stamp is the log's end: everything that was committed before it is there, and can be read.
	Stamp Stamp
}

// clockSlack is how much earlier than its commit a webhook may have been received.
const clockSlack = time.Hour

// ReceivedFrom returns a time: webhooks that were committed since a stamp were received then or later.
func (l *Log) ReceivedFrom(since Stamp) time.Time {
	if since == (Stamp{}) {
		return time.Time{}
	}
	return time.Unix(0, l.CommittedFrom(since)).Add(-clockSlack)
}

// CommittedFrom returns the least time, in Unix nanoseconds, that the clock showed since a stamp.
func (l *Log) CommittedFrom(since Stamp) int64 {
	least := since.At
	for _, e := range l.Epochs {
		if e.Number > since.Epoch {
			least = min(least, e.Floor)
		}
	}
	return least
}

// continues reports whether this log still has everything that it had at a stamp.
func (l *Log) continues(since Stamp) bool {
	for _, e := range l.Epochs {
		if e.Number > since.Epoch && e.First < since.Next {
			return false
		}
	}
	return l.Stamp.Next >= since.Next && l.Stamp.Epoch >= since.Epoch
}

// Page is a part of the records of a kind.
type Page struct {
	Records []Record
	// Next is where the records go on, empty at the end.
	Next string
}

// Source is a place that can be read.
type Source interface {
	// Log describes the log as of now.
	Log(ctx context.Context) (Log, error)
	// Read returns a page of the records of a kind, at most some 16 MiB: of a growing kind all that were committed at since or later, and perhaps older
	// ones. from is empty, or the Next of a page, also of a page that an older state of the same log gave. Events come in the order of
	// their positions, and webhooks in that of their ids.
	Read(ctx context.Context, k Kind, since Stamp, from string) (Page, error)
}

// Origin is the source of a move. While it is open no instance can begin to use it, unless it was opened for a copy only.
type Origin interface {
	Source
	// Note returns the note of an earlier move, or nil.
	Note(ctx context.Context) (*Note, error)
	// MarkMoved makes the log unusable, durably: every opening fails with [journal.ErrMoved].
	MarkMoved(ctx context.Context, n Note) error
}

// Target is the place that a log is moved to. No instance can use it until Finish.
type Target interface {
	Source
	// Note returns the note of an earlier run, or nil for an empty target. Errors: ErrOccupied.
	Note(ctx context.Context) (*Note, error)
	// Prepare makes the target a copy of the log that is not complete, and replaces the note.
	Prepare(ctx context.Context, l Log, n Note) error
	// Write writes records by their keys, together with the note.
	Write(ctx context.Context, k Kind, records []Record, n Note) error
	// Clear removes all records of a kind.
	Clear(ctx context.Context, k Kind) error
	// Missing returns how many records of [Keys] or [Versions] are not in the target, neither as they are nor united with others.
	Missing(ctx context.Context, k Kind, records []Record) (int, error)
	// Finish makes the target the log, durably, with the bounds that l has.
	Finish(ctx context.Context, l Log) error
}

// State says what a note is about.
type State string

// The states of a note.
const (
	// Copying: records are missing still.
	Copying State = "copying"
	// Compared: the target is complete and equal to the source, which may be marked.
	Compared State = "compared"
	// Moved: the log is in another place.
	Moved State = "moved"
)

// Note says how far a copy is, in the target, or where the log went, in the source.
type Note struct {
	State State `json:"state"`
	// Log is the id of the log.
	Log string `json:"log"`
	// Place is the other place, without secrets.
	Place string    `json:"place"`
	At    time.Time `json:"at"`
	// Pair is the same in the note of a compared target and in the mark of the source that belongs to it. The source may have been
	// compared with another target before.
	Pair string `json:"pair,omitempty"`
	// Format is the format of a log that was marked as moved, to undo the mark.
	Format uint32 `json:"format,omitempty"`
	// Copied is how far complete passes came, zero before the first one.
	Copied Stamp `json:"copied"`
	// Pass is the pass that is not complete, or nil.
	Pass *Pass `json:"pass,omitempty"`
}

// Pass is a pass over the growing kinds. It copies the records since a stamp.
type Pass struct {
	Since Stamp `json:"since"`
	// Until is the log's end when the pass began.
	Until Stamp `json:"until"`
	// Kind is the kind that is being copied, and From is where its records go on.
	Kind Kind   `json:"kind"`
	From string `json:"from"`
}

// Encode returns the note as text.
func (n Note) Encode() string {
	b, _ := json.Marshal(n) // a note has nothing that cannot be encoded
	return string(b)
}

// ParseNote is the inverse of [Note.Encode]. The empty text is no note.
func ParseNote(text string) (*Note, error) {
	if text == "" {
		return nil, nil
	}
	n := new(Note)
	if err := json.Unmarshal([]byte(text), n); err != nil {
		return nil, fmt.Errorf("move: the note of a move cannot be read: %w", err)
	}
	return n, nil
}

// Refusal is the error with which an engine does not open a log that has a note. Errors: [journal.ErrMoved], [journal.ErrIncomplete].
func (n Note) Refusal() error {
	at := n.At.UTC().Format(time.RFC3339)
	if n.State == Moved {
		return fmt.Errorf("%w: to %s, at %s", journal.ErrMoved, n.Place, at)
	}
	return fmt.Errorf("%w: from %s, begun at %s", journal.ErrIncomplete, n.Place, at)
}
