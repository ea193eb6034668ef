package move

import (
	"encoding/binary"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Kind is a kind of records.
type Kind string

// The kinds, in the order in which they are copied.
const (
	Events      Kind = "events"
	Webhooks    Kind = "webhooks"
	Keys        Kind = "dedupe keys"
	Versions    Kind = "versions of subjects"
	Quarantined Kind = "quarantined webhooks"
	Corrections Kind = "corrections"
	Drift       Kind = "counts of drift"
	Readers     Kind = "readers"
	Parked      Kind = "parked events"
	Gaps        Kind = "gaps"
	Requests    Kind = "requests"
	Replays     Kind = "replays"
	Groups      Kind = "groups"
	Shares      Kind = "shares of groups"
)

// Growing are the kinds whose records are added and do not change. They are copied while the source serves.
var Growing = []Kind{Events, Webhooks, Keys, Versions}

// Changing are the kinds whose records change and go. They are copied as a whole, at the end.
var Changing = []Kind{Quarantined, Corrections, Drift, Readers, Groups, Shares, Parked, Gaps, Requests, Replays}

// Record is a record of any kind. Times are Unix nanoseconds, as the clock showed them in the record's epoch.
type Record interface {
	// Append adds the record's bytes for a comparison. Equal records have equal bytes.
	Append(b []byte) []byte
}

// Event is a record of [Events].
type Event struct {
	Position sinks.Position
	// At is when it was committed.
	At int64
	// Encoded is the bridge.event.v1.Event.
	Encoded []byte
}

// Append implements [Record].
func (e *Event) Append(b []byte) []byte {
	b = appendNumbers(b, uint64(e.Position), uint64(e.At))
	return append(b, e.Encoded...)
}

// Webhook is a record of [Webhooks] or [Quarantined].
type Webhook struct {
	ID uuid.UUID
	// First is the position of the first event, or where it would be.
	First  sinks.Position
	Events uint32
	// Quarantined webhooks are in quarantine, or were released from there: they are records of [Quarantined].
	Quarantined bool
	// Duplicate and Released are also in the webhook: the journal knows them apart.
	Duplicate, Released bool
	// Encoded is the bridge.journal.v1.Webhook without the fields that the journal sets.
	Encoded []byte
}

// ReceivedAt is when the webhook was received, in Unix milliseconds.
func (w *Webhook) ReceivedAt() int64 { return int64(binary.BigEndian.Uint64(w.ID[:]) >> 16) }

// Append implements [Record].
func (w *Webhook) Append(b []byte) []byte {
	b = append(b, w.ID[:]...)
	b = appendNumbers(b, uint64(w.First), uint64(w.Events), flag(w.Duplicate), flag(w.Released))
	return append(b, w.Encoded...)
}

// Key is a record of [Keys]. A source may have several for one key; the target unites them.
type Key struct {
	Hash  journal.Hash
	Epoch uint32
	// Contents have times that are not corrected.
	Contents []journal.Seen
}

// At is the time of the newest content.
func (k *Key) At() (at int64) {
	for _, s := range k.Contents {
		at = max(at, s.At.UnixNano())
	}
	return at
}

// Append implements [Record].
func (k *Key) Append(b []byte) []byte {
	b = appendNumbers(append(b, k.Hash[:]...), uint64(k.Epoch))
	for _, s := range k.Contents {
		b = appendNumbers(b, uint64(s.At.UnixNano()))
		b = append(append(b, s.Bytes[:]...), s.Meaning[:]...)
	}
	return b
}

// Version is a record of [Versions]: the greatest version of a subject until a time. A source may have several for one subject; the
// newest counts.
type Version struct {
	Subject journal.Hash
	Epoch   uint32
	At      int64
	Text    string
}

// Append implements [Record].
func (v *Version) Append(b []byte) []byte {
	b = appendNumbers(append(b, v.Subject[:]...), uint64(v.Epoch), uint64(v.At))
	return append(b, v.Text...)
}

// Correction is a record of [Corrections].
type Correction struct {
	Webhook uuid.UUID
	First   sinks.Position
	Indexes []uint32
	At      int64
}

// Append implements [Record].
func (c *Correction) Append(b []byte) []byte {
	b = appendNumbers(append(b, c.Webhook[:]...), uint64(c.First), uint64(c.At))
	for _, i := range c.Indexes {
		b = appendNumbers(b, uint64(i))
	}
	return b
}

// DriftCount is a record of [Drift].
type DriftCount struct{ *journalv1.DriftCount }

// Append implements [Record].
func (d DriftCount) Append(b []byte) []byte { return appendMessage(b, d.DriftCount) }

// Reader is a record of [Readers].
type Reader struct {
	Name     string
	Position sinks.Position
	// Touched is when the cursor was written last.
	Touched int64
	Paused  bool
	// Moved: an operator moved the cursor since its holder saved it.
	Moved bool
}

// Append implements [Record].
func (r *Reader) Append(b []byte) []byte {
	b = appendNumbers(b, uint64(r.Position), uint64(r.Touched), flag(r.Paused), flag(r.Moved))
	return append(b, r.Name...)
}

// ParkedEvent is a record of [Parked].
type ParkedEvent struct{ *journalv1.Parked }

// Append implements [Record].
func (p ParkedEvent) Append(b []byte) []byte { return appendMessage(b, p.Parked) }

// Gap is a record of [Gaps].
type Gap struct{ *journalv1.Gap }

// Append implements [Record].
func (g Gap) Append(b []byte) []byte { return appendMessage(b, g.Gap) }

// Request is a record of [Requests]: an operator asked the holder of a reader to pass ('p') or to retry ('r') an event.
type Request struct {
	Reader   string
	Position sinks.Position
	Kind     byte
	At       int64
}

// Append implements [Record].
func (r *Request) Append(b []byte) []byte {
	b = appendNumbers(b, uint64(r.Position), uint64(r.Kind), uint64(r.At))
	return append(b, r.Reader...)
}

// Replay is a record of [Replays].
type Replay struct{ *journalv1.Replay }

// Append implements [Record].
func (r Replay) Append(b []byte) []byte { return appendMessage(b, r.Replay) }

// Group is a record of [Groups]. The one with an empty name is no group: no group that was deleted had an epoch or a version above its version. It is
// there if a group was deleted.
type Group struct {
	Name       string
	Version    uint64
	Definition []byte
}

// Append implements [Record].
func (g *Group) Append(b []byte) []byte {
	b = append(appendNumbers(b, g.Version, uint64(len(g.Name))), g.Name...)
	return append(b, g.Definition...)
}

// Share is a record of [Shares]. Owners are not moved: no session outlives a move.
type Share struct {
	Group          string
	Index          int
	Epoch, Version uint64
	State          []byte
}

// Append implements [Record].
func (s *Share) Append(b []byte) []byte {
	b = append(appendNumbers(b, uint64(s.Index), s.Epoch, s.Version, uint64(len(s.Group))), s.Group...)
	return append(b, s.State...)
}

func appendNumbers(b []byte, all ...uint64) []byte {
	for _, n := range all {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

// appendMessage never fails: the messages were read from bytes.
func appendMessage(b []byte, m proto.Message) []byte {
	b, _ = proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, m)
	return b
}
