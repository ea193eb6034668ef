package pebble

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// Position is an event's place. Positions start at 1, are dense, one an event, and are never used twice.
type Position uint64

var (
	// ErrUnavailable means that the journal cannot commit now: a sync failed, the disk is full or nearly so, it is reopening. The
	// entry may exist whole or not at all; append it again later.
	ErrUnavailable = errors.New("journal: cannot commit")
	// ErrClosed means that the journal is closed or closing. The entry does not exist, unless it was being committed already.
	ErrClosed = errors.New("journal: closed")
	// ErrRevised means that another entry with the same key and another body is there. Append again under a key of its own.
	ErrRevised = errors.New("journal: same key, other body")
	// ErrNotFound means that there is no such webhook, or it is no longer kept, or, where it is to leave the quarantine, it has.
	ErrNotFound = errors.New("journal: no such webhook")
	// ErrExpired means that the position was there and is no longer kept.
	ErrExpired = errors.New("journal: position is no longer kept")
	// ErrFuture means that the position lies past the end.
	ErrFuture = errors.New("journal: position is past the end")
	// ErrEncoding means that an event cannot be written down, such as one with a string that is no UTF-8. Appending it again
	// changes nothing.
	ErrEncoding = errors.New("journal: event cannot be encoded")
	// ErrLocked means that another process has the folder open.
	ErrLocked = errors.New("journal: folder is in use by another process")
	// ErrNewerFormat means that the folder was written by a newer version of this program.
	ErrNewerFormat = errors.New("journal: folder has a newer format")
)

// Hash is the first 16 bytes of a SHA-256.
type Hash [16]byte

// Act is what an entry does.
type Act uint8

const (
	// Receive adds a webhook that came in.
	Receive Act = iota
	// Release takes a webhook out of quarantine, with the events that were made of it since. The stored webhook is replaced by
	// the entry's, whose released_at is set and whose id is the same. It stays among the quarantined on disk, for as long as
	// those are kept. If the entry is a duplicate, the webhook is released without events. If the webhook is not in
	// quarantine, the error is ErrNotFound.
	Release
	// Correct publishes events that correct earlier ones of a stored webhook, which stays as it is. If the entry is a duplicate
	// nothing is published. If the webhook is not there, or is in quarantine, the error is ErrNotFound.
	Correct
)

// Entry is one webhook with all that is made durable with it, at once or not at all.
type Entry struct {
	// Act is what to do; the zero value receives.
	Act Act
	// Webhook. Its first_position and event_count are set by the journal.
	Webhook *journalv1.Webhook
	// Indexes says, for Correct, which of the webhook's events each of Events takes the place of, counted from 0.
	Indexes []uint32
	// Events at consecutive positions. Empty for a webhook that is in quarantine.
	Events []*eventv1.Event
	// Key is what makes the entry a duplicate of an earlier one. The caller scopes it by source and event.
	Key Hash
	// Body tells bodies apart under one key.
	Body Hash
	// Window is how long the key counts. An entry with a key seen within its window is a duplicate if its body is the same,
	// else ErrRevised. It must be at least a second.
	Window time.Duration
}

// Receipt is what became of an entry. It is returned once the sync that covers it has ended.
type Receipt struct {
	// Duplicate: the same entry was there already, and is durable; nothing was added.
	Duplicate bool
	// First is the position of the first event, if events were added.
	First Position
}

// RevisedError is the ErrRevised of several entries appended at once. None was added.
type RevisedError struct {
	// Entries are the indexes of those that were revised, ascending.
	Entries []int
}

func (e *RevisedError) Error() string { return ErrRevised.Error() }

// Unwrap makes it ErrRevised.
func (e *RevisedError) Unwrap() error { return ErrRevised }

// Correction is an event that corrects one of a stored webhook's.
type Correction struct {
	// Index is which of the webhook's events it takes the place of, counted from 0. It may be past the last.
	Index uint32
	// Position is its own.
	Position Position
}

// Query selects stored webhooks. The zero value selects all, the oldest first.
type Query struct {
	// After and Before are ids that bound the selection, both exclusive; empty is no bound. IDAt makes one of a time.
	After, Before string
	// Backwards is the newest first.
	Backwards bool
	// Quarantined selects only what is in quarantine: neither translated nor released.
	Quarantined bool
	// Match selects further, if set. It must not call the journal, nor keep what it is given.
	Match func(*journalv1.Webhook) bool
	// Limit is how many webhooks to return, Scan how many to look at, of which some 64 MiB are read. 0 is 100, and ten
	// thousand.
	Limit, Scan int
}

// Page is a part of a selection.
type Page struct {
	// Webhooks in order of their ids, which is that of their receipt, or in reverse. Less are returned than selected when they
	// are large: a page has at most some 16 MiB, but at least one.
	Webhooks []*journalv1.Webhook
	// Next is the id to continue after, or before. Empty at the end.
	Next string
}

// Record is an event in its place.
type Record struct {
	Position Position
	// Encoded is the event in protobuf's wire format. It is not decoded on the way: most readers only pass it on. Records of
	// one Read share memory.
	Encoded []byte
}

// Event decodes the event. The result is the caller's own.
func (r Record) Event() (*eventv1.Event, error) {
	e := new(eventv1.Event)
	if err := proto.Unmarshal(r.Encoded, e); err != nil {
		return nil, fmt.Errorf("journal: decode event at %d: %w", r.Position, err)
	}
	return e, nil
}

// Bounds is the extent of the journal: events from Earliest up to, not including, Next are durable and kept.
type Bounds struct {
	Earliest, Next Position
}

// Log is the journal's interface to those who write to it and read from it.
type Log interface {
	Append(ctx context.Context, e Entry) (Receipt, error)
	Read(ctx context.Context, from Position, records []Record) ([]Record, error)
	Bounds() Bounds
}
