package postgres

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/encoding/protojson"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// A Deliver uses what was prepared of its own events, and of no others.
func TestPreparedEvents(t *testing.T) {
	records := newRecords(t, 0, 100, 10)
	other := newRecords(t, 0, 100, 10) // at the same positions, in other memory
	sink := &Sink{ctx: t.Context(), events: newEventTable("bridge"), state: newState("bridge", nil, &State{})}
	sink.Prepare(records[10:40])
	sink.Prepare(records[40:60])
	sink.Prepare(other[60:70])
	b := newBatch(records[20:80])
	sink.prepared.take(b)
	for i := range b.records {
		want := i < 40
		if m := b.made[i]; (m.event != nil) != want || (m.text != nil) != want || (m.columns != nil) != want {
			t.Errorf("event %d: prepared %t, want %t", i, m.event != nil, want)
		}
	}
	again := newBatch(records[20:80])
	sink.prepared.take(again)
	if again.made[0].event != nil {
		t.Error("what was prepared for an earlier Deliver is still there")
	}
}

// The rows are the same with and without Prepare.
func TestPreparedRows(t *testing.T) {
	s := shared(t)
	var rows [2]string
	for i, prepare := range []bool{false, true} {
		at := newSite(t, s.cluster)
		sink := at.open(t)
		mustResume(t, sink)
		records := newRecords(t, 0, 1000, 100)
		for p := 0; p < len(records); p += 250 {
			if prepare {
				sink.Prepare(records[p : p+200])
			}
			deliver(t, sink, records[p:p+250]...)
		}
		for _, table := range []string{"events", "orders", "customers", "payments"} {
			all := query(t, at, fmt.Sprintf("select to_jsonb(t)::text from (select * from bridge.%s) t order by 1", table), pgx.RowTo[string])
			rows[i] += strings.Join(all, "\n")
		}
	}
	if rows[0] != rows[1] {
		t.Errorf("rows (-without +with):\n%.2000s", cmp.Diff(rows[0], rows[1]))
	}
}

// A subject whose row appears while the sink writes it, by a user's trigger here, is written over it.
func TestRowAppearsMeanwhile(t *testing.T) {
	s := shared(t)
	sink := s.open(t)
	mustResume(t, sink)
	s.cluster.Exec(t,
		s.sql(`create function bridge.early() returns trigger language plpgsql security definer as $$ begin
			insert into bridge.orders (source, subject) select new.source, new.subject where new.kind = 'order' on conflict do nothing; return new; end $$`),
		s.sql("create trigger early before insert on bridge.events for each row execute function bridge.early()"))
	deliver(t, sink, newRecords(t, 0, 1000, 100_000)...)
	if got := one[int](t, s, "select count(*) from bridge.orders where event_id is not null"); got != 500 {
		t.Errorf("%d orders, want 500", got)
	}
	if got := s.count(t); got != 1000 {
		t.Errorf("%d events, want 1000", got)
	}
}

// PostgreSQL copies no rows into a table with row-level security. The sink inserts them.
func TestRowSecurity(t *testing.T) {
	s := shared(t)
	sink := s.open(t)
	mustResume(t, sink)
	s.cluster.Exec(t, s.sql("alter table bridge.orders enable row level security"), s.sql("alter table bridge.orders force row level security"),
		s.sql("create policy own on bridge.orders using (source = 'shop')"))
	records := newRecords(t, 0, 2000, 100_000)
	deliver(t, sink, records[:1000]...)
	deliver(t, sink, records[1000:]...)
	if got := one[int](t, s, "select count(*) from bridge.orders"); got != 1000 {
		t.Errorf("%d orders, want 1000", got)
	}
}

func TestFieldTexts(t *testing.T) {
	order := &eventv1.Order{
		Id: `a"b\\`, Number: "1,2:3 {[", Table: "}]\"", Total: &money.Money{CurrencyCode: "CZK", Units: 1},
		Lines: []*eventv1.OrderLine{{Name: `x: "y", [`, Total: &money.Money{Units: 2}}, {}},
	}
	for _, text := range []string{"{}", protojson.Format(order), protojson.MarshalOptions{}.Format(order)} {
		var want map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		f := fieldTexts{text: []byte(text)}
		f.divide()
		if len(f.fields) != len(want) {
			t.Errorf("%d fields, want %d", len(f.fields), len(want))
		}
		for name, value := range want {
			if got := f.of(name); string(got) != string(value) {
				t.Errorf("%s: %s, want %s", name, got, value)
			}
		}
		if got := f.of("missing"); got != nil {
			t.Errorf("a field that is not there: %s", got)
		}
	}
}

func FuzzFieldTexts(f *testing.F) {
	f.Add(`a"b\`, "}", int64(3))
	f.Fuzz(func(t *testing.T, number, name string, units int64) {
		order := &eventv1.Order{Number: number, Total: &money.Money{Units: units}, Lines: []*eventv1.OrderLine{{Name: name}}}
		text, err := protojson.Marshal(order)
		if err != nil {
			return // not valid UTF-8
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		fields := fieldTexts{text: text}
		for name, value := range want {
			if got := fields.of(name); string(got) != string(value) {
				t.Errorf("%s: %s, want %s", name, got, value)
			}
		}
	})
}

var _ sinks.Preparer = (*Sink)(nil)
