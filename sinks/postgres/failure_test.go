package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

func mustResume(tb testing.TB, s *Sink) sinks.Position {
	tb.Helper()
	at, _, err := s.Resume(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return at.Mark.Position
}

func (s *site) count(tb testing.TB) int {
	tb.Helper()
	return one[int](tb, s, "select count(*) from bridge.events")
}

// TestLostAnswer: a transaction whose commit was not answered is there once.
func TestLostAnswer(t *testing.T) {
	for _, n := range []int{1, 500} {
		s := shared(t)
		sink := s.open(t)
		mustResume(t, sink)
		records := newRecords(t, 0, n, 100)
		held := s.proxy.SwallowCommit(s.sql("update bridge.sink"))
		if n, err := sink.Deliver(t.Context(), records); n != 0 || err == nil {
			t.Fatalf("without an answer: %d, %v", n, err)
		}
		<-held.Met
		held.Resume()
		if at := mustResume(t, sink); at != sinks.Position(n+1) {
			t.Errorf("the destination is at %d, want %d", at, n+1)
		}
		if got := s.count(t); got != n {
			t.Errorf("%d events, want %d", got, n)
		}
		deliver(t, sink, records...) // also who does not ask has them once
		if got := s.count(t); got != n {
			t.Errorf("%d events after a repetition, want %d", got, n)
		}
	}
}

// TestFrozenPredecessor: a process that freezes before its commit holds a lock. The next opening ends its session, and what it sends later
// never arrives.
func TestFrozenPredecessor(t *testing.T) {
	s := shared(t)
	old := s.open(t)
	mustResume(t, old)
	records := newRecords(t, 0, 300, 100)
	deliver(t, old, records[:100]...)
	held := s.proxy.HoldCommits()
	answered := make(chan error, 1)
	go func() {
		_, err := old.Deliver(context.Background(), records[100:200])
		answered <- err
	}()
	<-held.Met
	behind := s.cluster.NewProxy(t)
	next := s.open(t, func(c *Config) { c.URL = s.cluster.URLBy(behind) })
	began := time.Now()
	if at := mustResume(t, next); at != 101 {
		t.Errorf("the destination is at %d, want 101", at)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the frozen opening was in the way for %s", took)
	}
	deliver(t, next, records[100:]...)
	held.Resume()
	if err := <-answered; !errors.Is(err, sinks.ErrFenced) {
		t.Errorf("the frozen opening got %v, want ErrFenced", err)
	}
	for what, err := range map[string]error{
		"Deliver": func() error { _, err := old.Deliver(t.Context(), records[:1]); return err }(),
		"MoveTo":  old.MoveTo(t.Context(), 1),
		"Resume":  func() error { _, _, err := old.Resume(t.Context()); return err }(),
	} {
		if !errors.Is(err, sinks.ErrFenced) {
			t.Errorf("%s of the frozen opening: %v, want ErrFenced", what, err)
		}
	}
	if got := s.count(t); got != 300 {
		t.Errorf("%d events, want 300", got)
	}
}

// TestServerCrashes: a server that is killed in the middle of a backlog, and comes back, has each event once.
func TestServerCrashes(t *testing.T) {
	s := newSite(t, pgtest.Start(t, pgtest.Options{}))
	sink := s.open(t)
	mustResume(t, sink)
	records := newRecords(t, 0, 6000, 500)
	for at, round := 0, 0; at < len(records); round++ {
		batch := records[at:min(at+500, len(records))]
		if round%4 == 2 {
			held := s.proxy.HoldCommits()
			answered := make(chan error, 1)
			go func() {
				_, err := sink.Deliver(context.Background(), batch)
				answered <- err
			}()
			<-held.Met
			s.cluster.Restart(t)
			held.Resume()
			if err := <-answered; err == nil || errors.Is(err, sinks.ErrPermanent) {
				t.Fatalf("a killed server: %v", err)
			}
			at = int(mustResume(t, sink)) - 1
			continue
		}
		deliver(t, sink, batch...)
		at += len(batch)
	}
	if got := s.count(t); got != len(records) {
		t.Errorf("%d events, want %d", got, len(records))
	}
}

// TestRefused: an event that the database refuses is found in a batch. The events before it are stored with their position, and the others go on.
func TestRefused(t *testing.T) {
	s := shared(t)
	sink := s.open(t)
	mustResume(t, sink)
	records := newRecords(t, 0, 700, 100)
	long := tooLong()
	long.ReceivedAt = newEvent(0, 1).GetReceivedAt()
	bad := newEvent(600, 100)
	bad.Id = "no UUID"
	records[333], records[600] = record(t, 334, long), record(t, 601, bad)
	for _, c := range []struct {
		from, n int
		reason  string
	}{{0, 333, "too large"}, {334, 266, "UUID"}} {
		n, err := sink.Deliver(t.Context(), records[c.from:])
		if n != c.n || !errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), c.reason) || strings.Contains(err.Error(), "deadbeef") {
			t.Fatalf("%d, %v; want %d and an error about what is %q", n, err, c.n, c.reason)
		}
		if at := one[int](t, s, "select position from bridge.sink"); at != c.from+c.n+1 {
			t.Errorf("the position is %d, want %d", at, c.from+c.n+1)
		}
	}
	deliver(t, sink, records[601:]...)
	if got := s.count(t); got != 698 {
		t.Errorf("%d events, want 698", got)
	}
}

// TestConstraint: a constraint that a user added is about the event, and its error shows no value.
func TestConstraint(t *testing.T) {
	s := shared(t)
	sink := s.open(t)
	mustResume(t, sink)
	s.cluster.Exec(t, s.sql("alter table bridge.customers add constraint grown check (email not like 'jana2@%')"))
	n, err := sink.Deliver(t.Context(), newRecords(t, 0, 10, 100))
	if n != 2 || !errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), "constraint grown") || strings.Contains(err.Error(), "jana") {
		t.Errorf("%d, %v", n, err)
	}
}

// TestValuesStayOut: no error shows a value: neither the text of a trigger, whose author may quote the row, nor the client's about a value that
// does not fit a column that was altered, in statements and in copies.
func TestValuesStayOut(t *testing.T) {
	for name, alter := range map[string][]string{
		"trigger": {
			"create function bridge.quote() returns trigger language plpgsql as $$ begin raise 'no %', to_jsonb(new)::text using errcode = '55000'; end $$",
			"create trigger quote before insert on bridge.customers for each row execute function bridge.quote()",
		},
		"type":   {"alter table bridge.customers alter column email type bigint using 0"},
		"column": {"alter table bridge.customers add column tax text not null"},
	} {
		s := shared(t)
		sink := s.open(t)
		mustResume(t, sink)
		for _, statement := range alter {
			s.cluster.Exec(t, s.sql(statement))
		}
		for _, count := range []int{20, 400} {
			_, err := sink.Deliver(t.Context(), newRecords(t, 0, count, 100))
			if err == nil || errors.Is(err, sinks.ErrPermanent) || strings.Contains(err.Error(), "jana") || strings.Contains(err.Error(), "@") {
				t.Errorf("%s, %d events: %v", name, count, err)
			}
		}
	}
}

// TestConditions: what is wrong with the database is never an event's fault, and nothing is lost by it.
func TestConditions(t *testing.T) {
	s := shared(t)
	sink := s.open(t)
	mustResume(t, sink)
	for i, c := range []struct{ state, hint string }{
		{"53100", "disk is full"},
		{"42501", "own the schema"},
		{"25006", "read-only"},
		{"57P03", "starts or shuts down"},
		{"40P01", ""},
		{"53300", "max_connections"},
		{"55P03", "lock"},
		{"XX001", ""},
	} {
		records := newRecords(t, i*200, 200, 50)
		for _, part := range [][]sinks.Record{records[:3], records[3:]} {
			mend := s.proxy.FailStatements("insert", c.state, "no")
			n, err := sink.Deliver(t.Context(), part)
			mend()
			if n != 0 || err == nil || errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("%s: %d, %v", c.state, n, err)
			}
			deliver(t, sink, part...)
		}
	}
	if got := s.count(t); got != 1600 {
		t.Errorf("%d events, want 1600", got)
	}
	// A server that takes no writes.
	s.cluster.Exec(t, "alter role bridge set default_transaction_read_only = on")
	defer s.cluster.Exec(t, "alter role bridge reset default_transaction_read_only")
	s.proxy.Cut()
	_, _ = sink.Deliver(t.Context(), newRecords(t, 1600, 1, 1))
	if _, err := sink.Deliver(t.Context(), newRecords(t, 1600, 1, 1)); !errors.Is(err, errReadOnly) || errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("read-only: %v", err)
	}
}

// TestTimeout: a server that does not answer does not hold a call for longer than the time-out, although nobody cancels it.
func TestTimeout(t *testing.T) {
	s := shared(t)
	sink := s.open(t, func(c *Config) { c.Timeout = 2 * time.Second })
	mustResume(t, sink)
	s.proxy.Freeze()
	defer s.proxy.Thaw()
	if n, err := sink.Deliver(context.Background(), newRecords(t, 0, 10, 10)); n != 0 || !errors.Is(err, errTimeout) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
}

// TestNul: U+0000 refuses no event. It is replaced in what can be queried, and the exact event is there too.
func TestNul(t *testing.T) {
	s := shared(t)
	sink := s.open(t)
	exact, nul := newEvent(1, 10), newEvent(0, 10)
	nul.GetOrder().Number = "a\x00b"
	nul.GetOrder().Lines[0].Name = "\x00\\u0000"
	deliver(t, sink, record(t, 1, nul), record(t, 2, exact))
	if got := one[string](t, s, "select number || ' ' || (lines->0->>'name') || ' ' || (data->>'number') from bridge.orders order by event_position limit 1"); got !=
		"a\uFFFDb \uFFFD\\u0000 a\uFFFDb" {
		t.Errorf("the order is %q", got)
	}
	events, err := s.received(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*eventv1.Event{nul, exact} {
		if !proto.Equal(events[i], want) {
			t.Errorf("event %d is %v, want %v", i, events[i], want)
		}
	}
	if n := one[int](t, s, "select count(encoded) from bridge.events"); n != 1 {
		t.Errorf("%d events are there in protobuf, want 1", n)
	}
}

// TestTwoSinksOfOneSchema have positions of their own, and share the tables.
func TestTwoSinksOfOneSchema(t *testing.T) {
	s := shared(t)
	records := newRecords(t, 0, 2000, 100)
	failed := make(chan error, 2)
	for i, name := range []string{"one", "other"} {
		from := sinks.Origin{Log: s.log, Sink: name}
		sink, err := Open(t.Context(), from, s.config())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sink.Close() }()
		go func() {
			for at := i; at < len(records); at += 200 {
				for _, half := range [][]sinks.Record{records[at:min(at+100, len(records))], records[min(at+100, len(records)):min(at+200, len(records))]} {
					if _, err := sink.Deliver(context.Background(), half); err != nil {
						failed <- err
						return
					}
				}
			}
			failed <- nil
		}()
	}
	if err := errors.Join(<-failed, <-failed); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, s, "select count(*) || ' ' || (select string_agg(name || position, ' ' order by name) from bridge.sink) from bridge.events"); got !=
		"2000 one2001 other2001" {
		t.Errorf("events, positions: %s", got)
	}
}

// TestFrozenInCopy: a process that freezes while it copies holds its locks, since the server waits for more rows without an end.
func TestFrozenInCopy(t *testing.T) {
	s := shared(t)
	old := s.open(t)
	mustResume(t, old)
	large := newEvent(1, 1)
	large.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: strings.Repeat("{}", 1<<18)}}
	records := make([]sinks.Record, 200)
	for i := range records {
		large.Id = eventID(i)
		records[i] = record(t, sinks.Position(i+1), large)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := old.Deliver(context.Background(), records)
		answered <- err
	}()
	const copying = "select count(*) > 0 from pg_stat_activity where starts_with(query, 'copy \"' || $1) and state = 'active'"
	for !one[bool](t, s, copying, s.schema) {
		select {
		case err := <-answered:
			t.Fatalf("delivered before it was seen: %v", err)
		default:
		}
	}
	s.proxy.Freeze()
	behind := s.cluster.NewProxy(t)
	next := s.open(t, func(c *Config) { c.URL = s.cluster.URLBy(behind) })
	mustResume(t, next)
	deliver(t, next, records[:100]...)
	s.proxy.Thaw()
	if err := <-answered; !errors.Is(err, sinks.ErrFenced) {
		t.Errorf("the frozen opening got %v, want ErrFenced", err)
	}
	if got := s.count(t); got != 100 {
		t.Errorf("%d events, want 100", got)
	}
}
