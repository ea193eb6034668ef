package postgres

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// told is an event about order/1, in the words of the cases below.
type told struct {
	at      int // position
	typ     string
	version string
	number  string // "" makes a bare event: the order's id alone
	table   string
	of      int // corrects the event that came at that position
}

func (e told) record(t *testing.T) sinks.Record {
	t.Helper()
	received := began.Add(time.Duration(e.at) * time.Second)
	order := &eventv1.Order{Id: "1", Number: e.number, Table: e.table}
	event := &eventv1.Event{
		Id: eventID(e.at), Type: e.typ, Source: "shop", Subject: "order/1", SubjectVersion: e.version, ReceivedAt: timestamppb.New(received),
		Data: &eventv1.Event_Order{Order: order},
	}
	if e.typ == "" {
		event.Type = "order.changed"
	}
	if e.of != 0 {
		event.Supersedes, event.ReceivedAt = eventID(e.of), timestamppb.New(began.Add(time.Duration(e.of)*time.Second))
	}
	return record(t, sinks.Position(e.at), event)
}

func TestStateRules(t *testing.T) {
	for _, c := range []struct {
		rule   string
		events []told
		want   string // number, table, version, deleted
	}{
		{"the newest version is the state", []told{{at: 1, version: "9", number: "a"}, {at: 2, version: "10", number: "b"}}, "b - 10 false"},
		{"an older version changes nothing", []told{{at: 1, version: "10", number: "a"}, {at: 2, version: "9", number: "b"}}, "a - 10 false"},
		{"an equal version comes later", []told{{at: 1, version: "1", number: "a"}, {at: 2, version: "1.0", number: "b"}}, "b - 1 false"},
		{"versions that are no numbers compare as text", []told{{at: 1, version: "v9", number: "a"}, {at: 2, version: "v10", number: "b"}}, "a - v9 false"},
		{"without versions the log's order counts", []told{{at: 1, number: "a"}, {at: 2, number: "b"}}, "b - - false"},
		{"an event without a version keeps the greatest one", []told{
			{at: 1, version: "5", number: "a"}, {at: 2, number: "b"}, {at: 3, version: "4", number: "c"},
		}, "b - 5 false"},
		{"a field that the new state does not have is gone", []told{{at: 1, number: "a", table: "7"}, {at: 2, number: "b"}}, "b - - false"},
		{"an event with the id alone keeps the rest", []told{{at: 1, number: "a", table: "7"}, {at: 2}}, "a 7 - false"},
		{"a deletion marks the row and keeps it", []told{{at: 1, number: "a", table: "7"}, {at: 2, typ: "order.deleted"}}, "a 7 - true"},
		{"a deletion's own fields count", []told{{at: 1, number: "a", table: "7"}, {at: 2, typ: "order.deleted", number: "b"}}, "b 7 - true"},
		{"an old deletion changes nothing", []told{{at: 1, version: "2", number: "a"}, {at: 2, version: "1", typ: "order.deleted"}}, "a - 2 false"},
		{"a newer event revives the row", []told{{at: 1, number: "a"}, {at: 2, typ: "order.deleted"}, {at: 3, number: "c"}}, "c - - false"},
		{"an older event does not revive it", []told{
			{at: 1, version: "1", number: "a"}, {at: 2, version: "3", typ: "order.deleted"}, {at: 3, version: "2", number: "c"},
		}, "a - 3 true"},
		{"a subject may begin with its deletion", []told{{at: 1, typ: "order.deleted", number: "a"}}, "a - - true"},
		{"a correction replaces the state that it corrects", []told{{at: 1, number: "a"}, {at: 2, number: "b", of: 1}}, "b - - false"},
		{"a correction of an older event changes nothing", []told{{at: 1, number: "a"}, {at: 2, number: "b"}, {at: 3, number: "c", of: 1}}, "b - - false"},
		{"a correction may be corrected", []told{{at: 1, number: "a"}, {at: 2, number: "b", of: 1}, {at: 3, number: "c", of: 2}}, "c - - false"},
		{"a correction with a greater version is the state", []told{
			{at: 1, version: "1", number: "a"}, {at: 2, version: "1", number: "b"}, {at: 3, version: "2", number: "c", of: 1},
		}, "c - 2 false"},
		{"an event that is delivered again changes nothing", []told{{at: 1, number: "a"}, {at: 2, number: "b"}, {at: 1, number: "a"}}, "b - - false"},
		{"a correction that is delivered again changes nothing", []told{
			{at: 1, number: "a"}, {at: 2, number: "b", of: 1}, {at: 1, number: "a"}, {at: 2, number: "b", of: 1},
		}, "b - - false"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for name, size := range map[string]int{"together": len(c.events), "one by one": 1} {
				s := shared(t)
				sink := s.open(t, func(c *Config) { c.State.Kinds = []string{"order"} })
				for part := range slices.Chunk(c.events, size) {
					var records []sinks.Record
					for _, e := range part {
						records = append(records, e.record(t))
					}
					deliver(t, sink, records...)
				}
				got := one[string](t, s, `select concat_ws(' ', number, coalesce("table", '-'), coalesce(version, '-'), (deleted_at is not null)::text) from bridge.orders`)
				if got != c.want {
					t.Errorf("%s: %s, want %s", name, got, c.want)
				}
				if got := one[string](t, s, `select coalesce(data->>'number', '') from bridge.orders`); got != c.want[:1] {
					t.Errorf("%s: the data have the number %q, want %q", name, got, c.want[:1])
				}
				if err := sink.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestStateAfterRestore: a log that was restored from a backup gives positions a second time. Its new events are newer than rows of events that
// were lost, although their positions are lower.
func TestStateAfterRestore(t *testing.T) {
	s := shared(t)
	sink := s.open(t)
	deliver(t, sink, told{at: 4, number: "a"}.record(t), told{at: 9, number: "lost"}.record(t))
	s.log.from, s.log.second = 4, 8
	if err := sink.MoveTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	e, err := told{at: 6, number: "new"}.record(t).Event()
	if err != nil {
		t.Fatal(err)
	}
	e.ReceivedAt = timestamppb.New(began.Add(time.Hour))
	deliver(t, sink, record(t, 6, e))
	if got := one[string](t, s, "select number from bridge.orders"); got != "new" {
		t.Errorf("the order is %q, want new", got)
	}
}

// TestColumns: each field of the data has the columns that its type gives it, in every kind's table.
func TestColumns(t *testing.T) {
	tables := map[string]bool{}
	for _, name := range Kinds() {
		k := kinds[name]
		if tables[k.table] {
			t.Errorf("two kinds have the table %s", k.table)
		}
		tables[k.table] = true
		seen := map[string]bool{}
		for _, c := range k.columns() {
			if seen[c.name] {
				t.Errorf("%s has two columns %s", k.table, c.name)
			}
			seen[c.name] = true
		}
	}
	if tables["unmappeds"] || !tables["orders"] || !tables["categories"] || len(tables) < 20 {
		t.Errorf("the tables are %v", tables)
	}
}

// TestValues shows what an order looks like.
func TestValues(t *testing.T) {
	s := shared(t)
	at := timestamppb.New(began)
	dineIn := false
	deliver(t, s.open(t), record(t, 1, &eventv1.Event{
		Id: eventID(1), Type: "order.opened", Source: "shop", Subject: "order/1", ReceivedAt: at,
		Data: &eventv1.Event_Order{Order: &eventv1.Order{
			Id: "1", Status: eventv1.OrderStatus_ORDER_STATUS_OPEN, Total: &money.Money{CurrencyCode: "CZK", Units: -12, Nanos: -345_000_000},
			Tip: &money.Money{CurrencyCode: "CZK", Units: 9_007_199_254_740_993, Nanos: 1}, Paid: &money.Money{CurrencyCode: "IDR", Units: 5000},
			DineIn: &dineIn, OpenedAt: at, Lines: []*eventv1.OrderLine{{Name: "Řízek", Quantity: nil}},
		}},
	}))
	var got map[string]any
	text := one[string](t, s, `select to_jsonb(o) - 'data' - 'event_epoch' || jsonb_build_object('total', total::text, 'tip', tip::text, 'paid', paid::text)
		from bridge.orders o`)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	for name, v := range got {
		if v == nil {
			delete(got, name)
		}
	}
	want := map[string]any{
		"source": "shop", "subject": "order/1", "id": "1", "status": "open", "total": "-12.345", "total_currency": "CZK", "tip": "9007199254740993.000000001",
		"tip_currency": "CZK", "paid": "5000.00", "paid_currency": "IDR", "dine_in": false, "opened_at": "2026-03-01T12:00:00+00:00",
		"lines": []any{map[string]any{"name": "Řízek"}}, "event_id": eventID(1), "event_type": "order.opened", "event_at": "2026-03-01T12:00:00+00:00",
		"event_received_at": "2026-03-01T12:00:00+00:00", "event_position": 1.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the order (-want +got):\n%s", diff)
	}
}

// TestStateAlone: without events there is the current state alone, of the kinds that were asked for.
func TestStateAlone(t *testing.T) {
	s := shared(t)
	sink := s.open(t, func(c *Config) { c.WithoutEvents, c.State = true, &State{Kinds: []string{"order"}} })
	deliver(t, sink, newRecords(t, 0, 400, 50)...)
	got := one[string](t, s, "select (select count(*) from bridge.events) || ' ' || (to_regclass('bridge.customers') is null) || ' ' || (select count(*) > 10 from bridge.orders)")
	if got != "0 true true" {
		t.Errorf("events, no customers, orders: %s", got)
	}
}
