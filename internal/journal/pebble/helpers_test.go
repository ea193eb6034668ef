package pebble

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// start is when the tests' webhooks begin to come in, one a millisecond.
var start = time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC)

func hash(parts ...any) journal.Hash {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	return journal.Hash(sum[:16])
}

// webhookID is the id of the i-th webhook.
func webhookID(i int) string {
	var u uuid.UUID
	ms := uint64(start.UnixMilli()) + uint64(i)
	binary.BigEndian.PutUint64(u[:8], ms<<16|0x7000)
	binary.BigEndian.PutUint64(u[8:], 0x8000_0000_0000_0000|uint64(i))
	return u.String()
}

// entry is the i-th webhook, with a body of this size and this number of events. Its content depends on i alone.
func entry(i, size, events int) journal.Entry {
	at := timestamppb.New(start.Add(time.Duration(i) * time.Millisecond))
	body := make([]byte, size)
	for k := range body {
		body[k] = byte('a' + (i+k*k)%26)
	}
	e := journal.Entry{
		Webhook: &journalv1.Webhook{
			Id: webhookID(i), Source: "till", Connector: "kasafik", VendorEvent: "orders", ReceivedAt: at,
			Encoding: journalv1.Encoding_ENCODING_JSON, Body: body,
			Headers: []*journalv1.Header{{Name: "content-type", Value: "application/json"}},
		},
		Keys: []journal.Key{{Hash: hash("key", i), Window: 96 * time.Hour}}, Bytes: hash("bytes", i),
		Meaning: hash("meaning", i),
	}
	for k := range events {
		e.Events = append(e.Events, encoded(&eventv1.Event{
			Id: fmt.Sprintf("%s/%d", webhookID(i), k), Type: "unmapped", Source: "till", Connector: "kasafik",
			VendorEvent: "orders", Subject: fmt.Sprintf("order/%d", i), ReceivedAt: at, WebhookId: webhookID(i),
			Data: &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: string(body[:min(size, 256)])}},
		}))
	}
	return e
}

func encoded(e *eventv1.Event) []byte {
	b, err := proto.Marshal(e)
	if err != nil {
		panic(err)
	}
	return b
}

// decodedEvent is encoded's inverse.
func decodedEvent(b []byte) *eventv1.Event {
	e := new(eventv1.Event)
	if err := proto.Unmarshal(b, e); err != nil {
		panic(err)
	}
	return e
}

// edited changes the k-th event of an entry.
func edited(e journal.Entry, k int, edit func(*eventv1.Event)) {
	event := decodedEvent(e.Events[k])
	edit(event)
	e.Events[k] = encoded(event)
}

// quarantined returns the i-th webhook, quarantined.
func quarantined(i int) journal.Entry {
	e := entry(i, 64, 0)
	e.Meaning = journal.Hash{}
	e.Webhook.Quarantine = &journalv1.Quarantine{Reason: "malformed_json", Detail: "unexpected end", Path: "$.a", Offset: 63}
	return e
}

// released takes the i-th webhook, which is quarantined(i), out of quarantine with so many events.
func released(i, events int) journal.Entry {
	e := entry(i, 64, events)
	e.Operation = journal.Release
	e.Webhook.Quarantine = quarantined(i).Webhook.Quarantine
	e.Webhook.ReleasedAt = timestamppb.New(start.Add(time.Hour))
	e.Keys[0].Hash = hash("released", i)
	return e
}

// revised gives an entry other contents under the same keys, and the i-th webhook.
func revised(e journal.Entry, i int) journal.Entry {
	e.Webhook = proto.CloneOf(e.Webhook)
	e.Webhook.Id, e.Bytes, e.Meaning = webhookID(i), hash("bytes", i), hash("meaning", i)
	return e
}

// corrected corrects the given events of the i-th webhook.
func corrected(i int, indexes ...uint32) journal.Entry {
	e := entry(i, 64, len(indexes))
	e.Operation, e.Indexes = journal.Correct, indexes
	e.Keys[0].Hash = hash("corrected", i, indexes)
	for k := range e.Events {
		edited(e, k, func(event *eventv1.Event) {
			event.Id = fmt.Sprintf("%s/%d/corrected", webhookID(i), indexes[k])
			event.Supersedes = fmt.Sprintf("%s/%d", webhookID(i), indexes[k])
		})
	}
	return e
}

// drifted adds drift to a webhook, by kind and path.
func drifted(e journal.Entry, kind journalv1.DriftKind, path string) journal.Entry {
	e.Webhook.Drift = append(e.Webhook.Drift, &journalv1.Drift{Kind: kind, Path: path, Sample: []byte(e.Webhook.GetId())})
	return e
}

func eventOf(t *testing.T, r sinks.Record) *eventv1.Event {
	t.Helper()
	e, err := r.Event()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// allWebhooks returns all stored webhooks, by pages.
func allWebhooks(t *testing.T, j *Journal) (all []*journalv1.Webhook) {
	t.Helper()
	for q := (journal.Query{}); ; {
		page, err := j.Find(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Webhooks...)
		if q.After = page.Next; q.After == "" {
			return all
		}
	}
}

// clock is a clock that only tests move.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(start.UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) Advance(d time.Duration) { c.ns.Add(int64(d)) }

// testConfig configures a journal in memory without background work.
func testConfig(fs vfs.FS) Config {
	return Config{Dir: "journal", FS: fs, Interval: math.MaxInt64}
}

func open(t *testing.T, cfg Config) *Journal {
	t.Helper()
	j, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return j
}

func shut(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendAll(t *testing.T, j *Journal, entries ...journal.Entry) []journal.Receipt {
	t.Helper()
	var receipts []journal.Receipt
	for _, e := range entries {
		r, err := j.Append(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	return receipts
}

// readAll returns all events there are.
func readAll(t *testing.T, j *Journal) []sinks.Record {
	t.Helper()
	b := j.Bounds()
	var all []sinks.Record
	for p := b.Earliest; p < b.Next; {
		got, err := j.Read(t.Context(), p, make([]sinks.Record, 0, 64))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if r.Position != p {
				t.Fatalf("position %d, want %d", r.Position, p)
			}
			p++
		}
		all = append(all, got...)
	}
	return all
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// placed is a record, decoded.
type placed struct {
	Position sinks.Position
	Event    *eventv1.Event
}

func decoded(t *testing.T, records []sinks.Record) []placed {
	t.Helper()
	var all []placed
	for _, r := range records {
		all = append(all, placed{r.Position, eventOf(t, r)})
	}
	return all
}

func events(entries ...journal.Entry) []placed {
	var all []placed
	for _, e := range entries {
		for _, event := range e.Events {
			all = append(all, placed{sinks.Position(len(all) + 1), decodedEvent(event)})
		}
	}
	return all
}

// stored is the webhook as the journal keeps it.
func stored(e journal.Entry, first sinks.Position) *journalv1.Webhook {
	w := proto.CloneOf(e.Webhook)
	w.EventCount = uint32(len(e.Events))
	w.FirstPosition = 0
	if len(e.Events) > 0 {
		w.FirstPosition = uint64(first)
	}
	return w
}
