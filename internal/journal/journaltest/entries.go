package journaltest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// window is the window of keys where a case does not say another.
const window = 24 * time.Hour

func hash(parts ...any) journal.Hash {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	return journal.Hash(sum[:16])
}

// spec describes an entry.
type spec struct {
	// keys, bytes and meaning are names. Without a meaning the entry has none.
	keys           []string
	bytes, meaning string
	events         int
	// window is that of all keys; 0 is the default.
	window time.Duration
	drift  []string
	// versions are those of the events' subject: one for each event, or none.
	subject  string
	versions []string
	// quarantined: the webhook goes into quarantine.
	quarantined bool
	// ping: the webhook tells no fact.
	ping bool
}

// plain is an entry with one key, one event and contents of its own.
func plain(name string) spec {
	return spec{keys: []string{name}, bytes: name, meaning: name, events: 1}
}

func quarantined(name string) spec {
	return spec{keys: []string{name}, bytes: name, quarantined: true}
}

// with returns the entry with other contents.
func (s spec) with(bytes, meaning string) spec {
	s.bytes, s.meaning = bytes, meaning
	return s
}

func (s spec) under(keys ...string) spec {
	s.keys = keys
	return s
}

func (s spec) lasting(window time.Duration) spec {
	s.window = window
	return s
}

func (s spec) adding(events int) spec {
	s.events = events
	return s
}

// about returns the entry with an event for each version of a subject.
func (s spec) about(subject string, versions ...string) spec {
	s.subject, s.versions, s.events = subject, versions, len(versions)
	return s
}

func (s spec) drifting(paths ...string) spec {
	s.drift = paths
	return s
}

// webhookID is an id of a webhook that was received at a time.
func webhookID(at time.Time, n int) string {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:8], uint64(at.UnixMilli())<<16|0x7000)
	binary.BigEndian.PutUint64(u[8:], 1<<63|uint64(n))
	return u.String()
}

// entry makes an entry with a webhook of its own, received now.
func (t *test) entry(s spec) journal.Entry {
	t.made++
	return newEntry(s, t.now, t.made)
}

func newEntry(s spec, now time.Time, n int) journal.Entry {
	e := journal.Entry{
		Webhook: &journalv1.Webhook{
			Id: webhookID(now, n), Source: "till", Connector: "kasafik", VendorEvent: "orders",
			ReceivedAt: timestamppb.New(now), Encoding: journalv1.Encoding_ENCODING_JSON, Body: []byte(s.bytes),
		},
		Bytes: hash("bytes", s.bytes),
	}
	if s.meaning != "" {
		e.Meaning = hash("meaning", s.meaning)
	}
	if s.window == 0 {
		s.window = window
	}
	for _, k := range s.keys {
		e.Keys = append(e.Keys, journal.Key{Hash: hash("key", k), Window: s.window})
	}
	for _, path := range s.drift {
		e.Webhook.Drift = append(e.Webhook.Drift, &journalv1.Drift{Kind: journalv1.DriftKind_DRIFT_KIND_UNKNOWN, Path: path})
	}
	if s.quarantined {
		e.Webhook.Quarantine = &journalv1.Quarantine{Reason: "malformed_json", Detail: "unexpected end"}
	}
	if s.ping {
		e.Webhook.Ping = "empty"
	}
	addEvents(&e, s.events, e.Webhook.GetId())
	addVersions(&e, s.window, s.subject, s.versions...)
	return e
}

func addEvents(e *journal.Entry, n int, prefix string) {
	for i := range n {
		e.Events = append(e.Events, encode(&eventv1.Event{
			Id: fmt.Sprintf("%s/%d", prefix, i), Type: "unmapped", Source: e.Webhook.GetSource(), Connector: e.Webhook.GetConnector(),
			VendorEvent: e.Webhook.GetVendorEvent(), Subject: "order/1", ReceivedAt: e.Webhook.GetReceivedAt(),
			WebhookId: e.Webhook.GetId(),
			Data:      &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: string(e.Webhook.GetBody())}},
		}))
	}
}

// addVersions sets the versions of the events. An event whose version is empty has none.
func addVersions(e *journal.Entry, window time.Duration, subject string, versions ...string) {
	for _, v := range versions {
		if v == "" {
			e.Versions = append(e.Versions, journal.Version{})
		} else {
			e.Versions = append(e.Versions, journal.Version{Subject: hash("subject", subject), Text: v, Window: window})
		}
	}
}

func encode(e *eventv1.Event) []byte {
	b, err := proto.Marshal(e)
	if err != nil {
		panic(err)
	}
	return b
}

func decode(b []byte) *eventv1.Event {
	e := new(eventv1.Event)
	if err := proto.Unmarshal(b, e); err != nil {
		panic(err)
	}
	return e
}

// releaseOf releases the webhook of e, with contents under a key of its own.
func releaseOf(e journal.Entry, events int, now time.Time, contents string) journal.Entry {
	w := proto.CloneOf(e.Webhook)
	w.ReleasedAt = timestamppb.New(now)
	r := journal.Entry{
		Operation: journal.Release, Webhook: w, Bytes: hash("bytes", contents), Meaning: hash("meaning", contents),
		Keys:     []journal.Key{{Hash: hash("released", w.GetId()), Window: window}},
		NewDrift: []*journalv1.Drift{{Kind: journalv1.DriftKind_DRIFT_KIND_VALUE, Path: "$.released"}},
	}
	addEvents(&r, events, w.GetId()+"/released")
	return r
}

// correctionOf corrects events of the webhook of e.
func correctionOf(e journal.Entry, contents string, indexes ...uint32) journal.Entry {
	r := journal.Entry{
		Operation: journal.Correct, Webhook: e.Webhook, Indexes: indexes,
		Bytes: hash("bytes", contents), Meaning: hash("meaning", contents),
		Keys: []journal.Key{{Hash: hash("corrected", e.Webhook.GetId()), Window: window}},
	}
	addEvents(&r, len(indexes), e.Webhook.GetId()+"/corrected/"+contents)
	return r
}

// stored is the webhook of an entry as the journal keeps it.
func stored(e journal.Entry, r journal.Receipt) *journalv1.Webhook {
	w := proto.CloneOf(e.Webhook)
	w.FirstPosition, w.EventCount, w.Duplicate = uint64(r.First), uint32(len(e.Events)), r.Duplicate
	if r.Duplicate {
		w.EventCount = 0
	}
	return w
}
