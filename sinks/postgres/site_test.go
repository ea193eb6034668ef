package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// site is a schema of a real server, and a proxy in front of it.
type site struct {
	cluster *pgtest.Cluster
	proxy   *pgtest.Proxy
	schema  string
	log     *fakeLog
}

var schemas atomic.Int64

func newSite(tb testing.TB, c *pgtest.Cluster) *site {
	return &site{cluster: c, proxy: c.NewProxy(tb), schema: fmt.Sprintf("sink%d", schemas.Add(1)), log: &fakeLog{id: "log", epoch: 7}}
}

func shared(tb testing.TB) *site {
	tb.Helper()
	return newSite(tb, pgtest.Shared(tb))
}

func (s *site) config() Config {
	return Config{URL: s.cluster.URLBy(s.proxy), Schema: s.schema, State: &State{}, Timeout: 30 * time.Second}
}

// direct leaves the proxy out.
func (s *site) direct(c *Config) { c.URL = s.cluster.Primary().URL(pgtest.User, pgtest.Database) }

func (s *site) origin() sinks.Origin { return sinks.Origin{Log: s.log, Sink: "warehouse"} }

func (s *site) open(tb testing.TB, change ...func(*Config)) *Sink {
	tb.Helper()
	c := s.config()
	for _, f := range change {
		f(&c)
	}
	sink, err := Open(tb.Context(), s.origin(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = sink.Close() })
	return sink
}

// one runs a query that returns one value, as superuser.
func one[T any](tb testing.TB, s *site, query string, args ...any) (v T) {
	tb.Helper()
	if err := s.cluster.Admin(tb).QueryRow(context.Background(), s.sql(query), args...).Scan(&v); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return v
}

func (s *site) sql(query string) string { return strings.ReplaceAll(query, "bridge.", s.schema+".") }

// received returns all events in the order of their arrival.
func (s *site) received(ctx context.Context) ([]*eventv1.Event, error) {
	conn, err := pgx.Connect(ctx, s.cluster.URL())
	if err != nil {
		return nil, err
	}
	defer disconnect(conn)
	rows, err := conn.Query(ctx, s.sql(`select id, type, kind, source, subject, coalesce(subject_version, ''), occurred_at, received_at, stale,
		supersedes, connector, vendor_event, webhook_id, data, encoded from bridge.events order by seq`))
	if code(err) == "42P01" {
		return nil, nil // no sink was open yet
	}
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanEvent)
}

func scanEvent(row pgx.CollectableRow) (*eventv1.Event, error) {
	var (
		e                       = &eventv1.Event{}
		kind                    *string
		occurred, received      *time.Time
		id, supersedes, webhook *uuid.UUID
		data, encoded           []byte
	)
	if err := row.Scan(&id, &e.Type, &kind, &e.Source, &e.Subject, &e.SubjectVersion, &occurred, &received, &e.Stale, &supersedes, &e.Connector,
		&e.VendorEvent, &webhook, &data, &encoded); err != nil {
		return nil, err
	}
	if encoded != nil {
		e = &eventv1.Event{}
		return e, proto.Unmarshal(encoded, e)
	}
	text := func(u *uuid.UUID) string {
		if u == nil {
			return ""
		}
		return u.String()
	}
	e.Id, e.Supersedes, e.WebhookId = text(id), text(supersedes), text(webhook)
	if occurred != nil {
		e.OccurredAt = timestamppb.New(*occurred)
	}
	if received != nil {
		e.ReceivedAt = timestamppb.New(*received)
	}
	whole := &eventv1.Event{}
	if err := protojson.Unmarshal(fmt.Appendf(nil, "{%q: %s}", *kind, data), whole); err != nil {
		return nil, err
	}
	e.Data = whole.Data
	return e, nil
}

// fakeLog has the marks of a log with one epoch, or of one that was restored.
type fakeLog struct {
	id    string
	epoch sinks.Epoch
	// from is where a second epoch begins, if it is not 0.
	from   sinks.Position
	second sinks.Epoch
}

func (l *fakeLog) ID() string { return l.id }

func (l *fakeLog) Mark(p sinks.Position) sinks.Mark {
	if l.from != 0 && p > l.from {
		return sinks.Mark{Epoch: l.second, Position: p}
	}
	return sinks.Mark{Epoch: l.epoch, Position: p}
}

func record(tb testing.TB, p sinks.Position, e *eventv1.Event) sinks.Record {
	tb.Helper()
	encoded, err := proto.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sinks.NewRecord(p, encoded)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func deliver(tb testing.TB, s *Sink, records ...sinks.Record) {
	tb.Helper()
	if n, err := s.Deliver(tb.Context(), records); n != len(records) || err != nil {
		tb.Fatalf("delivered %d of %d: %v", n, len(records), err)
	}
}

// tables are the tables of the site's schema.
func (s *site) tables(tb testing.TB) []string {
	tb.Helper()
	return query(tb, s, "select tablename::text from pg_tables where schemaname = '"+s.schema+"'", pgx.RowTo[string])
}

// backUp copies all tables to another schema.
func (s *site) backUp(tb testing.TB) {
	tb.Helper()
	s.cluster.Exec(tb, "drop schema if exists "+s.schema+"_saved cascade", "create schema "+s.schema+"_saved")
	for _, name := range s.tables(tb) {
		s.cluster.Exec(tb, fmt.Sprintf("create table %[1]s_saved.%[2]s as table %[1]s.%[2]s", s.schema, name))
	}
}

// restore puts the copies back.
func (s *site) restore(tb testing.TB) {
	tb.Helper()
	for _, name := range s.tables(tb) {
		s.cluster.Exec(tb, fmt.Sprintf("truncate %s.%s", s.schema, name), fmt.Sprintf("insert into %[1]s.%[2]s select * from %[1]s_saved.%[2]s", s.schema, name))
	}
}
