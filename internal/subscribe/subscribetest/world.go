package subscribetest

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// The types of the events, and their source.
const (
	created = "order.created"
	changed = "order.changed"
	other   = "customer.created"
	source  = "shop"
)

// fact is an event of the log, as the test knows it.
type fact struct {
	id, kind, subject string
	// at is when it was about to be appended.
	at time.Time
	// expired says that retention may have removed it.
	expired bool
}

// world is all that was appended, or is about to be: position p is facts[p-1]. There is one appender, so positions are known before.
type world struct {
	mu     sync.Mutex
	facts  []fact
	byID   map[string]sinks.Position
	groups []*group
}

func newWorld() *world { return &world{byID: map[string]sinks.Position{}} }

// next returns the position behind the last event.
func (w *world) next() sinks.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return sinks.Position(len(w.facts) + 1)
}

// position returns where an event is, or 0.
func (w *world) position(id string) sinks.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byID[id]
}

// fact returns the event at a position.
func (w *world) fact(p sinks.Position) (fact, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == 0 || int(p) > len(w.facts) {
		return fact{}, false
	}
	return w.facts[p-1], true
}

// add records events before they are appended, and returns the webhook with them.
func (w *world) add(events []fact) journal.Entry {
	id := uuid.Must(uuid.NewV7())
	now := time.Now()
	entry := journal.Entry{
		Webhook: &journalv1.Webhook{
			Id: id.String(), Source: source, Connector: "test", VendorEvent: "order", ReceivedAt: timestamppb.New(now),
			Encoding: journalv1.Encoding_ENCODING_JSON, Body: []byte(`{}`),
		},
		Keys: []journal.Key{{Hash: hash("key", id), Window: time.Hour}}, Bytes: hash("bytes", id), Meaning: hash("meaning", id),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, f := range events {
		f.at, f.id = now, fmt.Sprintf("%s/%d", id, i)
		w.facts = append(w.facts, f)
		p := sinks.Position(len(w.facts))
		w.byID[f.id] = p
		for _, g := range w.groups {
			g.history.Appended(p, f.subject, g.passes(f))
		}
		entry.Events = append(entry.Events, encode(&eventv1.Event{
			Id: f.id, Type: f.kind, Source: source, Connector: "test", VendorEvent: "order", Subject: f.subject,
			ReceivedAt: timestamppb.New(now), WebhookId: id.String(),
		}))
	}
	return entry
}

// register records all events in a group's history, now and from now on.
func (w *world) register(g *group) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.groups = append(w.groups, g)
	for i, f := range w.facts {
		g.history.Appended(sinks.Position(i+1), f.subject, g.passes(f))
	}
}

// expire records that retention is about to remove what was appended before a time. It returns the first position that stays.
func (w *world) expire(before time.Time) sinks.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	keep := 0
	for keep < len(w.facts) && w.facts[keep].at.Before(before) {
		w.facts[keep].expired = true
		keep++
	}
	for _, g := range w.groups {
		g.history.Expiring(sinks.Position(keep + 1))
	}
	return sinks.Position(keep + 1)
}

// kept returns the first position that is surely kept.
func (w *world) kept() sinks.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, f := range w.facts {
		if !f.expired {
			return sinks.Position(i + 1)
		}
	}
	return sinks.Position(len(w.facts) + 1)
}

func encode(e *eventv1.Event) []byte {
	b, err := proto.Marshal(e)
	if err != nil {
		panic(err) // An event of a test is valid.
	}
	return b
}

func hash(parts ...any) journal.Hash {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	return journal.Hash(sum[:16])
}
