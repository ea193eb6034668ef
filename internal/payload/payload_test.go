package payload

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/intake/intaketest"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/payload"
)

const (
	vendor = streamv1.Payload_PAYLOAD_VENDOR
	raw    = streamv1.Payload_PAYLOAD_RAW
	noted  = "retino_credit_note.created"
)

// shop has received webhooks of one source.
type shop struct {
	*intaketest.Book

	source *intake.Source
	intake *intake.Intake
	asked  atomic.Int32
	forget map[string]bool
	err    error
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{Book: &intaketest.Book{}, forget: make(map[string]bool)}
	var err error
	if s.intake, err = intake.New(intake.Config{Journal: s.Book}); err != nil {
		t.Fatal(err)
	}
	s.source = s.intake.Source(source.Source{
		Name: "shop", Connector: retino.New(), Currency: "CZK", Zone: time.UTC, Window: connectors.DefaultWindow,
		Limits: source.Limits{Body: 1 << 20},
	}, nil)
	return s
}

// Webhook implements [Archive].
func (s *shop) Webhook(ctx context.Context, id string) (*journalv1.Webhook, error) {
	s.asked.Add(1)
	if s.err != nil {
		return nil, s.err
	}
	if s.forget[id] {
		return nil, journal.ErrNotFound
	}
	return s.Book.Webhook(ctx, id)
}

// receive returns the record of the one event that a body makes.
func (s *shop) receive(t *testing.T, event, body string) sinks.Record {
	t.Helper()
	d := &intake.Delivery{
		Source: s.source, PathEvent: event, ReceivedAt: time.Now(), Body: []byte(body), Encoding: journalv1.Encoding_ENCODING_JSON,
		Headers: []*journalv1.Header{{Name: "content-type", Value: "application/json"}},
	}
	drafts := s.source.Drafts(d)
	if err := s.intake.Commit(t.Context(), drafts...); err != nil || drafts[0].Outcome != intake.Accepted {
		t.Fatalf("commit: %v, %v, %v", drafts[0].Outcome, drafts[0].Fault, err)
	}
	all := s.All()
	return record(t, all[len(all)-1].Events[0])
}

func record(t *testing.T, e *eventv1.Event) sinks.Record {
	t.Helper()
	encoded, err := proto.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const note = `{"event_type":"retino_credit_note.created","created_at":"2026-01-23T10:28:10.010Z","mood":"new","credit_note":{` +
	`"id":"0b1a9a5e-52a4-4a11-8b5c-0a3f5f1d8a77","ticket_id":"0b1a9a5e-52a4-4a11-8b5c-0a3f5f1d8a78","currency":"CZK",` +
	`"order_id":"20210001","bank_account":{"type":"CZECH_BANK_ACCOUNT","czech_bank_account":"123456789/0100"},"lines":[]}}`

func one(t *testing.T, s *Store, want streamv1.Payload, personal bool, r sinks.Record) payload.Payload {
	t.Helper()
	found, err := s.Lookup(t.Context(), want, personal, []sinks.Record{r}, 1)
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v", found, err)
	}
	return found[0]
}

func TestRawIsTheBody(t *testing.T) {
	shop := newShop(t)
	store := New(shop, nil) // What was received does not depend on today's sources.
	got := one(t, store, raw, true, shop.receive(t, noted, note))
	if string(got.Raw.GetBody()) != note || got.Raw.GetContentType() != "application/json" || got.Vendor != nil || got.Missing != "" {
		t.Errorf("got %v", got)
	}
}

func TestVendorIsTheTypedMessage(t *testing.T) {
	shop := newShop(t)
	store := New(shop, map[string]*intake.Source{"shop": shop.source})
	r := shop.receive(t, noted, note)
	for personal, want := range map[bool]string{true: "123456789/0100", false: "•••"} {
		got := one(t, store, vendor, personal, r)
		m := &retinov1.RetinoCreditNoteCreated{}
		if err := got.Vendor.UnmarshalTo(m); err != nil || got.Raw != nil {
			t.Fatalf("got %v: %v", got, err)
		}
		if m.GetCreditNote().GetOrderId() != "20210001" {
			t.Errorf("got %v", m)
		}
		if account := m.GetCreditNote().GetBankAccount().GetCzechBankAccount(); account != want {
			t.Errorf("personal %v: the account is %q, want %q", personal, account, want)
		}
	}
}

// A payload that is not there says why, and nothing of the webhook.
func TestMissing(t *testing.T) {
	shop := newShop(t)
	sources := map[string]*intake.Source{"shop": shop.source}
	gone := shop.receive(t, noted, note)
	shop.forget[string(gone.Header.WebhookID)] = true
	other := retino.New()
	other.Name = "other"
	now := shop.intake.Source(source.Source{Name: "shop", Connector: other, Zone: time.UTC}, nil)
	unmodelled := shop.receive(t, "weather.changed", `{"event_type":"weather.changed","secret":"s3cret"}`)
	known := shop.receive(t, noted, strings.Replace(note, "20210001", "2", 1))
	for _, c := range []struct {
		name    string
		sources map[string]*intake.Source
		want    streamv1.Payload
		record  sinks.Record
		missing string
	}{
		{"gone", sources, vendor, gone, "no longer kept"},
		{"gone raw", sources, raw, gone, "no longer kept"},
		{"no webhook", sources, raw, record(t, &eventv1.Event{}), "no longer kept"},
		{"no source", nil, vendor, known, "not configured"},
		{"another connector", map[string]*intake.Source{"shop": now}, vendor, known, "another connector"},
		{"unmodelled", sources, vendor, unmodelled, "no message for this event"},
	} {
		got := one(t, New(shop, c.sources), c.want, true, c.record)
		if !strings.Contains(got.Missing, c.missing) || got.Vendor != nil || got.Raw != nil {
			t.Errorf("%s: got %v, want …%s…", c.name, got, c.missing)
		}
	}
}

// A lookup is bounded, reads the webhook of neighbours once, and fails with the storage.
func TestLookupIsBounded(t *testing.T) {
	shop := newShop(t)
	store := New(shop, nil)
	var records []sinks.Record
	for range 30 {
		r := shop.receive(t, noted, strings.Replace(note, "20210001", strings.Repeat("x", len(records)+1), 1))
		records = append(records, r, r, r)
	}
	found, err := store.Lookup(t.Context(), raw, true, records, 1)
	if err != nil || len(found) != 1 || shop.asked.Load() > parallel {
		t.Errorf("for one byte %d were found and %d asked for, %v", len(found), shop.asked.Load(), err)
	}
	shop.asked.Store(0)
	found, err = store.Lookup(t.Context(), raw, true, records, 1<<20)
	if err != nil || len(found) != len(records) || shop.asked.Load() != 30 {
		t.Errorf("%d of %d were found, %d asked for, %v", len(found), len(records), shop.asked.Load(), err)
	}
	for i, p := range found {
		if want := strings.Repeat("x", i/3*3+1); !strings.Contains(string(p.Raw.GetBody()), `"`+want+`"`) {
			t.Fatalf("payload %d is %s", i, p.Raw.GetBody())
		}
	}
	shop.err = sinks.ErrUnavailable
	if _, err = store.Lookup(t.Context(), raw, true, records, 1); !errors.Is(err, sinks.ErrUnavailable) {
		t.Errorf("a storage that does not answer gives %v", err)
	}
}
