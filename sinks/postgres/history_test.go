package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// said is what a vendor said about an order: the part of an event that the plain program looks at.
type said struct {
	order   int
	version int // 0: none
	deleted bool
	total   int // 0: the event has the order's id alone
	table   string
	id      string
}

// orderNow is the state of an order.
type orderNow struct {
	Version, Total, Table, Event string
	Deleted                      bool
}

// remember is the plain program: it knows no tables, and applies what a vendor said in the order in which it arrived.
func remember(all map[string]*orderNow, s said) {
	name := fmt.Sprint("order/", s.order)
	now := all[name]
	if now != nil && s.version != 0 && now.Version != "" {
		known, _ := new(big.Int).SetString(now.Version, 10)
		if big.NewInt(int64(s.version)).Cmp(known) < 0 {
			return
		}
	}
	if now == nil {
		now = &orderNow{}
		all[name] = now
	}
	now.Deleted, now.Event = s.deleted, s.id
	if s.version != 0 {
		now.Version = strconv.Itoa(s.version)
	}
	if s.total != 0 {
		now.Total = fmt.Sprintf("%d.25", s.total)
	}
	switch {
	case s.table != "":
		now.Table = s.table
	case s.total != 0 && !s.deleted:
		now.Table = "" // the whole state, without a table
	}
}

func (s said) event() *eventv1.Event {
	typ := "order.changed"
	if s.deleted {
		typ = "order.deleted"
	}
	order := &eventv1.Order{Id: strconv.Itoa(s.order), Table: s.table}
	if s.total != 0 {
		order.Total = &money.Money{CurrencyCode: "EUR", Units: int64(s.total), Nanos: 250_000_000}
	}
	e := &eventv1.Event{
		Id: s.id, Type: typ, Source: "shop", Subject: fmt.Sprint("order/", s.order), Connector: "kasafik", VendorEvent: "orders",
		ReceivedAt: timestamppb.New(began), Data: &eventv1.Event_Order{Order: order},
	}
	if s.version != 0 {
		e.SubjectVersion = strconv.Itoa(s.version)
	}
	return e
}

// history makes what a vendor said about some orders: shuffled, with every tenth event twice. Some orders have no versions.
func history(r *rand.Rand, orders, events int) []said {
	all := make([]said, 0, events*11/10)
	for n := range events {
		s := said{order: n % orders, total: 1 + r.IntN(1000), id: eventID(n), deleted: r.IntN(20) == 0}
		if s.order%5 != 0 {
			s.version = 99_999 + n
		}
		if r.IntN(3) == 0 {
			s.table = strconv.Itoa(r.IntN(30))
		}
		if r.IntN(10) == 0 {
			s.total, s.table = 0, ""
		}
		all = append(all, s)
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i := range events / 10 {
		again := all[r.IntN(len(all))]
		again.id = eventID(events + i) // a journal drops an event with an old id
		all = append(all, again)
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// TestHistory: after a shuffled and duplicated history of ten thousand subjects, with batches of all sizes, broken connections, and openings that
// take over and deliver a part again, the tables have the state that the plain program has.
func TestHistory(t *testing.T) {
	s := shared(t)
	r := rand.New(rand.NewPCG(1, 2))
	const orders, events = 10_000, 60_000
	spoken := history(r, orders, events)
	want := map[string]*orderNow{}
	records := make([]sinks.Record, len(spoken))
	for i, e := range spoken {
		remember(want, e)
		records[i] = record(t, sinks.Position(i+1), e.event())
	}
	deliverRoughly(t, s, r, records)

	got := map[string]*orderNow{}
	for _, row := range query(t, s, `select subject, coalesce(version, ''), coalesce(total::text, ''), coalesce("table", ''), event_id::text,
		deleted_at is not null, data from bridge.orders`, scanOrder) {
		got[row.subject] = &row.now
		if row.data.Table != row.now.Table || row.data.ID != strings.TrimPrefix(row.subject, "order/") {
			t.Fatalf("%s has the table %q and the data %+v", row.subject, row.now.Table, row.data)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the state (-plain program +tables):\n%.4000s", diff)
	}
	if n := one[int](t, s, "select count(*) from bridge.events"); n != len(records) {
		t.Errorf("%d events, want %d", n, len(records))
	}
	if n := one[int](t, s, "select count(*) from (select position - lag(position, 1, 0) over (order by seq) as step from bridge.events) s where step <> 1"); n != 0 {
		t.Errorf("%d events did not arrive in order", n)
	}
	t.Logf("%d events about %d orders, %d deleted", len(records), len(got), one[int](t, s, "select count(*) from bridge.orders where deleted_at is not null"))
}

// deliverRoughly delivers with failures as a dispatcher does: it asks the destination how far it is, and goes on from there.
func deliverRoughly(t *testing.T, s *site, r *rand.Rand, records []sinks.Record) {
	t.Helper()
	sink := s.open(t)
	for at := 0; at < len(records); {
		batch := records[at:min(at+1+r.IntN([]int{5, 100, 2000}[r.IntN(3)]), len(records))]
		if r.IntN(2) == 0 { // the events before it, some of them, or more
			sink.Prepare(records[max(at-r.IntN(50), 0):min(at+r.IntN(2000), len(records))])
		}
		switch r.IntN(12) {
		case 0:
			sink = s.open(t) // the one before is left as it is
		case 1:
			held := s.proxy.SwallowCommit(s.sql("update bridge.sink"))
			_, _ = sink.Deliver(t.Context(), batch) // arrives, and nobody hears of it
			held.Resume()
		case 2:
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(20))*time.Millisecond)
			_, _ = sink.Deliver(ctx, batch) // arrives or not
			cancel()
		default:
			deliver(t, sink, batch...)
			at += len(batch)
			continue
		}
		reached, found, err := sink.Resume(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if found {
			at = int(reached.Mark.Position) - 1
		}
	}
}

type orderRow struct {
	subject string
	now     orderNow
	data    struct{ ID, Table string }
}

func scanOrder(row pgx.CollectableRow) (o orderRow, err error) {
	var data []byte
	if err := row.Scan(&o.subject, &o.now.Version, &o.now.Total, &o.now.Table, &o.now.Event, &o.now.Deleted, &data); err != nil {
		return o, err
	}
	return o, json.Unmarshal(data, &o.data)
}

// query returns the rows of a query, as superuser.
func query[T any](tb testing.TB, s *site, sql string, scan pgx.RowToFunc[T]) []T {
	tb.Helper()
	rows, err := s.cluster.Admin(tb).Query(context.Background(), s.sql(sql))
	if err != nil {
		tb.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, scan)
	if err != nil {
		tb.Fatal(err)
	}
	return all
}
