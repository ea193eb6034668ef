package journal

import (
	"context"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// Journal is an open journal. It is safe for concurrent use.
type Journal interface {
	Writer
	Reader
	Archive
	Claims
	Operations
	DeadLetters
	ReaderReplays
	Replicas
	Groups
	// Health returns the journal's state now. It does not wait.
	Health() Health
	// Close commits what is queued, waits for the background work, and releases the storage. Calls that wait, and all later
	// ones, get sinks.ErrClosed. It may be called again, and then returns the same.
	Close() error
}

// Writer adds webhooks and events.
type Writer interface {
	// Append adds an entry, whole or not at all, and returns once it is durable. It uses nothing of the entry after it has
	// returned, also with an error: what may still be committed is a copy. A duplicate is acknowledged once the entry that it repeats is durable, and fails with it.
	//
	// When ctx is done first, Append returns its error, and the entry may still be committed.
	//
	// Errors: ErrUnavailable, ErrNotFound for a webhook that is not where the operation needs it, sinks.ErrClosed, ctx's, and
	// that of an entry that breaks the rules.
	Append(ctx context.Context, e Entry) (Receipt, error)
	// AppendAll adds entries at once: all of them, except duplicates, or none, also across a crash. They are decided in
	// order, so of two equal ones the second is a duplicate. The receipts are in the entries' order. Otherwise it behaves
	// like Append. The entries should be small: they are one group, and others wait for it.
	AppendAll(ctx context.Context, entries []Entry) ([]Receipt, error)
	// Discard removes webhooks from quarantine, and returns how many it removed once that is durable. A webhook that is not
	// there, or was released, stays as it is. Discarding makes room, so it works while the disk is too full for appends.
	// Errors: ErrUnavailable, sinks.ErrClosed, ctx's; some of the webhooks may then be removed.
	Discard(ctx context.Context, ids []string) (int, error)
}

// Reader reads the events.
type Reader interface {
	sinks.Log
	// CommittedAt returns when the event at p was committed. Errors: sinks.ErrExpired, sinks.ErrFuture, ErrUnavailable,
	// sinks.ErrClosed, ctx's.
	CommittedAt(ctx context.Context, p sinks.Position) (time.Time, error)
	// EventAt returns the event at p; it belongs to the caller. Errors: those of CommittedAt, and that of a record that
	// cannot be read.
	EventAt(ctx context.Context, p sinks.Position) (*eventv1.Event, error)
}

// Archive reads the stored webhooks.
type Archive interface {
	// Webhook returns the stored webhook with this id. Errors: ErrNotFound, ErrUnavailable, sinks.ErrClosed, ctx's.
	Webhook(ctx context.Context, id string) (*journalv1.Webhook, error)
	// Find returns the next page of the stored webhooks that q selects. A page that ends before the selection does says where
	// to continue, and may be empty when it looked at many webhooks and none matched. Continuing there leaves out nothing
	// and returns nothing twice, except for what is committed meanwhile: webhooks are ordered by receipt, so a new one may
	// lie behind the page. Webhooks belong to the caller.
	// Errors: ErrUnavailable, sinks.ErrClosed, ctx's, and that of an id that is malformed.
	Find(ctx context.Context, q Query) (Page, error)
	// Corrections returns what was published to correct the events of a stored webhook, in order of publication; nothing for
	// a webhook that is not stored. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Corrections(ctx context.Context, webhookID string) ([]Correction, error)
	// Drift returns how often each difference between webhooks and their declared messages was seen, since the journal was
	// made, ordered by connector, event, path and kind. Of a connector 500 are told apart; the rest is counted by its kind
	// alone. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Drift(ctx context.Context) ([]*journalv1.DriftCount, error)
	// Newest returns when the newest stored webhook of each source, except pings, was received, looking at recent webhooks first and at a
	// bounded number of them. Webhooks whose time lies in the future do not count. Errors: ErrUnavailable, sinks.ErrClosed, ctx's.
	Newest(ctx context.Context, sources []string) (map[string]time.Time, error)
}

// Health is a journal's state at one moment.
type Health struct {
	sinks.Bounds
	// Available is whether an append would be tried now.
	Available bool
	// Queued is how many appends wait for the committer.
	Queued int
	// Problem is why the storage is not open, while it is being opened again: [ErrDataLoss] where only an operator can help.
	Problem error
	// Damaged is the last position at which a read met damage, or 0.
	Damaged sinks.Position
	// LostEvents and LostCommits are what the storage lost, as far as is known, and an operator accepted.
	LostEvents, LostCommits uint64
}

// Correction is an event that corrects one of a stored webhook's events.
type Correction struct {
	// Index is which of the webhook's events it replaces, counted from 0. It may be past the last.
	Index uint32
	// Position is the correction's own.
	Position sinks.Position
}

// Query selects stored webhooks. The zero value selects all, the oldest first.
type Query struct {
	// After and Before are ids that bound the selection, both exclusive; empty is no bound. [IDAt] makes one of a time.
	After, Before string
	// Backwards returns the newest first.
	Backwards bool
	// Quarantined selects only webhooks in quarantine: neither translated nor released.
	Quarantined bool
	// Match selects further, if set. It must not call the journal, nor keep its argument.
	Match func(*journalv1.Webhook) bool
	// Limit is how many webhooks to return, Scan how many to examine. At most about 64 MiB of them are read. 0 is 100, and ten
	// thousand.
	Limit, Scan int
	// Deadline ends the page early once it has passed. It examines a few webhooks at least. The zero time is none.
	Deadline time.Time
}

// Page is a part of a selection.
type Page struct {
	// Webhooks in order of their ids, which is the order of receipt, or in reverse. Fewer than the limit are returned when
	// they are large: a page has at most some 16 MiB, but at least one webhook.
	Webhooks []*journalv1.Webhook
	// Next is the id to continue after, or before. Empty at the end.
	Next string
	// Examined is how many webhooks were looked at to find these.
	Examined int
}
