package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/webhook-bridge/bridge/sinks"
)

// TestStartAtOnce: two programs may start at once where there are no tables yet.
func TestStartAtOnce(t *testing.T) {
	for range 5 {
		s := shared(t)
		var starting sync.WaitGroup
		failed := make([]error, 4)
		for i := range failed {
			starting.Go(func() {
				c := s.config()
				c.Required = true
				sink, err := Open(t.Context(), sinks.Origin{Log: s.log, Sink: fmt.Sprint("sink", i)}, c)
				if err == nil {
					err = sink.Close()
				}
				failed[i] = err
			})
		}
		starting.Wait()
		if err := errors.Join(failed...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNewColumns: a program that knows more fields adds their columns, and one that knows fewer leaves them as they are.
func TestNewColumns(t *testing.T) {
	s := shared(t)
	records := newRecords(t, 0, 300, 50)
	sink := s.open(t)
	deliver(t, sink, records[:100]...)
	s.cluster.Exec(t, s.sql("alter table bridge.orders drop column tip, drop column tip_currency, add column later_field text default 'kept'"),
		s.sql("alter table bridge.events add column later_field text default 'kept'"), s.sql("insert into bridge.migration (number) values (99)"))
	if n, err := sink.Deliver(t.Context(), records[100:200]); n != 0 || err == nil || errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), "restart") {
		t.Errorf("without a column: %d, %v", n, err)
	}
	deliver(t, s.open(t), records[100:]...)
	if kept := one[bool](t, s, "select count(later_field) = count(*) and count(tip) = 0 from bridge.orders"); !kept || s.count(t) != 300 {
		t.Errorf("the other column is kept: %t; %d events, want 300", kept, s.count(t))
	}
}

// TestJournalsSchema: a sink never writes to a journal's schema.
func TestJournalsSchema(t *testing.T) {
	s := shared(t)
	s.cluster.Exec(t, s.sql("create schema "+s.schema+" authorization bridge"), s.sql("create table bridge.log (id text, format int)"))
	_, _, err := s.open(t).Resume(t.Context())
	if !errors.Is(err, errJournal) {
		t.Errorf("in a journal's schema: %v", err)
	}
	if n := one[int](t, s, "select count(*) from pg_class where relnamespace = $1::regnamespace", s.schema); n != 1 {
		t.Errorf("the schema has %d tables", n)
	}
}

// TestFewRights: a user needs its own schema and nothing else, not even temporary tables.
func TestFewRights(t *testing.T) {
	s := shared(t)
	role := "guest_" + s.schema
	s.cluster.Exec(t, fmt.Sprintf("create role %s login password '%s'", role, s.cluster.Password()), fmt.Sprintf("create schema %s authorization %s", s.schema, role),
		"revoke temporary on database bridge from public")
	defer s.cluster.Exec(t, "grant temporary on database bridge to public")
	url := strings.Replace(s.cluster.URLBy(s.proxy), "//bridge:", "//"+role+":", 1)
	sink := s.open(t, func(c *Config) { c.URL = url })
	records := newRecords(t, 0, 500, 100)
	mustResume(t, sink)
	deliver(t, sink, records...)
	deliver(t, sink, records...)
	if got := s.count(t); got != 500 {
		t.Errorf("%d events, want 500", got)
	}
	// With the tables there, rights to their rows are enough.
	user := role + "_user"
	s.cluster.Exec(t, fmt.Sprintf("create role %s login password '%s'", user, s.cluster.Password()), fmt.Sprintf("grant usage on schema %s to %s", s.schema, user),
		fmt.Sprintf("grant select, insert, update on all tables in schema %s to %s", s.schema, user),
		fmt.Sprintf("grant usage on all sequences in schema %s to %s", s.schema, user))
	lesser := s.open(t, func(c *Config) { c.URL = strings.Replace(url, "//"+role+":", "//"+user+":", 1) })
	mustResume(t, lesser)
	deliver(t, lesser, newRecords(t, 500, 500, 100)...)
	// Without the right to make the schema the error says what to do.
	_, _, err := s.open(t, func(c *Config) { c.URL, c.Schema = url, s.schema+"_other" }).Resume(t.Context())
	if err == nil || !strings.Contains(err.Error(), "own the schema") || strings.Contains(err.Error(), s.cluster.Password()) {
		t.Errorf("without rights: %v", err)
	}
}

// TestPartitions runs the statements of docs/sinks/postgres.md, and delivers to the tables that they make.
func TestPartitions(t *testing.T) {
	page, err := os.ReadFile("../../docs/sinks/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	var before, after []string
	for _, b := range blocks {
		if strings.Contains(b[1], "partition by range") {
			before = append(before, b[1])
		} else {
			after = append(after, b[1])
		}
	}
	if len(before) != 1 || len(after) < 4 {
		t.Fatalf("the page has %d statements for partitions, and %d others", len(before), len(after))
	}
	s := shared(t)
	rename := func(text string) string {
		text = strings.ReplaceAll(text, "schema bridge", "schema "+s.schema)
		return s.sql(text)
	}
	conn := s.cluster.Admin(t)
	if _, err := conn.Exec(context.Background(), rename(before[0])); err != nil {
		t.Fatal(err)
	}
	sink := s.open(t)
	mustResume(t, sink)
	records := newRecords(t, 0, 500, 100)
	deliver(t, sink, records...)
	deliver(t, sink, records...)
	if got := s.count(t); got != 500 {
		t.Errorf("%d events, want 500", got)
	}
	for _, text := range after {
		if _, err := conn.Exec(context.Background(), rename(text)); err != nil {
			t.Errorf("%v:\n%s", err, text)
		}
	}
}
