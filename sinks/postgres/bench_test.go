package postgres

import (
	"context"
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

// BenchmarkDrain measures how fast a backlog reaches the tables, in batches of the dispatcher's default size, against one bare COPY of the same
// rows into the same kind of table. The events come encoded, as from a journal; the bare COPY sends bytes that were made before.
func BenchmarkDrain(b *testing.B) {
	c := pgtest.Start(b, benchOptions)
	n := benchEvents(b)
	const batch, subjects = 1000, 100_000
	records := newRecords(b, 0, n, subjects)
	drain := func(s *site, change func(*Config)) time.Duration {
		sink := s.open(b, change)
		if _, _, err := sink.Resume(b.Context()); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for part := range slices.Chunk(records, batch) {
			deliver(b, sink, part...)
		}
		return time.Since(began)
	}
	for b.Loop() {
		events := newSite(b, c)
		took := drain(events, func(c *Config) { c.State = nil })
		bare := bareCopy(b, c, events)
		c.Exec(b, "drop schema "+events.schema+" cascade")
		both := newSite(b, c)
		tookBoth := drain(both, func(*Config) {})
		c.Exec(b, "drop schema "+both.schema+" cascade")
		rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
		b.ReportMetric(rate(bare), "copy/s")
		b.ReportMetric(rate(took), "events/s")
		b.ReportMetric(rate(tookBoth), "with-state/s")
		b.ReportMetric(bare.Seconds()/took.Seconds(), "of-copy")
		b.ReportMetric(bare.Seconds()/tookBoth.Seconds(), "with-state-of-copy")
	}
}

// bareCopy copies the events of a site to an empty table of the same kind, and returns how long the server took for that.
func bareCopy(b *testing.B, c *pgtest.Cluster, from *site) time.Duration {
	b.Helper()
	to := newSite(b, c)
	if _, _, err := to.open(b).Resume(b.Context()); err != nil {
		b.Fatal(err)
	}
	conn, err := pgx.Connect(b.Context(), c.URL())
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
