package journal

import (
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// Hash is the first 16 bytes of a SHA-256.
type Hash [16]byte

// Operation says what an entry does.
type Operation uint8

const (
	// Receive adds a webhook that came in.
	Receive Operation = iota
	// Release takes a webhook out of quarantine, and adds the events that were made of it since. The entry's webhook replaces
	// the stored one: it has the same id, and released_at is set. It stays among the quarantined webhooks for as long as
	// those are kept. If the entry is a duplicate, the webhook is released without events. If the webhook is not in
	// quarantine, the error is ErrNotFound.
	Release
	// Correct adds events that correct earlier ones of a stored webhook, which stays as it is. If the entry is a duplicate,
	// nothing is added. If the webhook is not stored, or is in quarantine, the error is ErrNotFound.
	Correct
)

// Entry is one webhook with everything that becomes durable with it: all of it at once, or nothing.
type Entry struct {
	Operation Operation
	// Webhook to store. The journal sets first_position, event_count and duplicate.
	Webhook *journalv1.Webhook
	// Indexes says, for Correct, which of the webhook's events each of Events replaces, counted from 0.
	Indexes []uint32
	// Events at consecutive positions, each a bridge.event.v1.Event in wire format. Empty for a webhook in quarantine.
	Events [][]byte
	// Versions are the vendor's versions of the events' subjects: one for each event, or none if no event has one.
	Versions []Version
	// NewDrift is, for Release, the drift that the webhook did not have when it was stored. It is counted with the release.
	NewDrift []*journalv1.Drift
	// Keys identify the webhook: at least one. The caller scopes them by source, event and kind.
	Keys []Key
	// Bytes is the digest of what was received.
	Bytes Hash
	// Meaning is the digest of what the events say, without what only the receipt adds. Zero where nothing was translated;
	// then Bytes alone tells contents apart.
	Meaning Hash
}

// Key identifies a webhook. Under a key the journal keeps one [Seen] for each content that it received.
type Key struct {
	Hash Hash
	// Window is how long a content counts under this key, from the time at which it was committed. At least a second.
	Window time.Duration
	// LookupOnly: what is found under the key counts, and nothing is recorded under it. For keys of an older version.
	LookupOnly bool
}

// Seen is one content under a key.
type Seen struct {
	// At is when it was committed, by the journal's clock.
	At time.Time
	// Bytes and Meaning are the entry's.
	Bytes, Meaning Hash
}

// Same reports whether an entry has this content: the same bytes, or the same meaning where both have one.
func (s Seen) Same(bytes, meaning Hash) bool {
	return s.Bytes == bytes || s.Meaning == meaning && meaning != Hash{}
}

// Receipt is the result for an entry. It is returned after the sync that covers the entry.
type Receipt struct {
	// Duplicate: one of the keys knows the content, and the entry that brought it is durable. No event was added.
	Duplicate bool
	// Kept: the duplicate's bytes were new, so its webhook was stored beside the first, without events.
	Kept bool
	// Revised: one of the keys knew other contents, and none knew this one. The events were added.
	Revised bool
	// Stale is how many of the events that were added are older than what was known of their subjects.
	Stale int
	// First is the position of the first event, if events were added.
	First sinks.Position
}
