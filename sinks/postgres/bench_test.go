package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// benchEvents is the number of events of a drain; BRIDGE_BENCH_EVENTS is another one.
func benchEvents(b *testing.B) int {
	b.Helper()
	text := os.Getenv("BRIDGE_BENCH_EVENTS")
	if text == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

var benchOptions = pgtest.Options{Settings: map[string]string{"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}}

// benchSubjects is the number of the vendor's records that the events are about.
const benchSubjects = 100_000

// BenchmarkDrain measures how fast a backlog reaches the tables, in batches of the dispatcher's default size and in larger ones, against one bare
// COPY of the same rows into the same kind of table. The events come encoded, as from a journal; the bare COPY sends bytes that were made before.
func BenchmarkDrain(b *testing.B) {
	c := pgtest.Start(b, benchOptions)
	records := newRecords(b, 0, benchEvents(b), benchSubjects)
	for _, size := range []int{1000, 5000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			for b.Loop() {
				events, both := newSite(b, c), newSite(b, c)
				took := drain(b, events, records, size, func(c *Config) { c.State = nil })
				bare := bareCopy(b, c, events)
				tookBoth := drain(b, both, records, size, func(*Config) {})
				report(b, len(records), bare, took, tookBoth)
				c.Exec(b, "drop schema "+events.schema+" cascade", "drop schema "+both.schema+" cascade")
			}
		})
	}
}

func drain(b *testing.B, s *site, records []sinks.Record, size int, change func(*Config)) time.Duration {
	b.Helper()
	sink := s.open(b, s.direct, change)
	mustResume(b, sink)
	began := time.Now()
	for part := range slices.Chunk(records, size) {
		deliver(b, sink, part...)
	}
	return time.Since(began)
}

// bareCopy copies the events of a site to an empty table of the same kind, and returns how long the server took for that.
func bareCopy(b *testing.B, c *pgtest.Cluster, from *site) time.Duration {
	b.Helper()
	to := newSite(b, c)
	if _, _, err := to.open(b).Resume(b.Context()); err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), c.Primary().URL(pgtest.User, pgtest.Database))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	path := filepath.Join(b.TempDir(), "rows")
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	columns := newEventTable(from.schema).list()
	read := "copy (select " + columns + " from " + from.schema + ".events order by seq) to stdout (format binary)"
	if _, err := conn.PgConn().CopyTo(b.Context(), file, read); err != nil {
		b.Fatal(err)
	}
	if _, err := file.Seek(0, 0); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if _, err := conn.PgConn().CopyFrom(b.Context(), file, "copy "+to.schema+".events ("+columns+") from stdin (format binary)"); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	c.Exec(b, "drop schema "+to.schema+" cascade")
	return took
}

var _ sinks.Resumer = (*Sink)(nil)
