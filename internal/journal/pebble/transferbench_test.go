package pebble

import (
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/internal/journal/postgres"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// BenchmarkMove moves a journal of benchmarkMoved webhooks to PostgreSQL and back. It reports the records of events, webhooks and keys a
// second, with their comparison, and how long the last run takes when all was copied before: the standstill.
func BenchmarkMove(b *testing.B) {
	cluster := pgtest.Start(b, pgtest.Options{})
	cfg := testConfig(vfs.Default)
	cfg.Dir = b.TempDir()
	fillJournal(b, cfg)
	for b.Loop() {
		db := postgres.Config{URL: cluster.URL(), Schema: "bench", ReplicatedBy: postgres.ByNothing}
		cluster.Exec(b, "drop schema if exists bench cascade")
		folder := func() (origin, error) { return OpenOrigin(cfg) }
		database := func() (target, error) { return postgres.OpenTarget(b.Context(), db) }
		copyRate, standstill := benchmarkHop(b, folder, database)
		b.ReportMetric(copyRate, "records/s-there")
		b.ReportMetric(standstill.Seconds(), "s-standstill-there")
		cfg.Dir = b.TempDir()
		back := func() (origin, error) { return postgres.OpenOrigin(b.Context(), db, true) }
		next := func() (target, error) { return OpenTarget(cfg) }
		copyRate, standstill = benchmarkHop(b, back, next)
		b.ReportMetric(copyRate, "records/s-back")
		b.ReportMetric(standstill.Seconds(), "s-standstill-back")
	}
}

const benchmarkMoved = 100_000

func fillJournal(b *testing.B, cfg Config) {
	j, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchmarkMoved / 1000 {
		all := make([]journal.Entry, 1000)
		for n := range all {
			all[n] = entry(i*1000+n, 465, 1)
		}
		if _, err := j.AppendAll(b.Context(), all); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

func benchmarkHop(b *testing.B, from func() (origin, error), to func() (target, error)) (rate float64, standstill time.Duration) {
	began := time.Now()
	result := benchmarkRun(b, from, to, false)
	var records uint64
	for _, n := range result.Records {
		records += n
	}
	rate = float64(records) / time.Since(began).Seconds()
	began = time.Now()
	benchmarkRun(b, from, to, true)
	return rate, time.Since(began)
}

func benchmarkRun(b *testing.B, openFrom func() (origin, error), openTo func() (target, error), final bool) move.Result {
	from, err := openFrom()
	if err != nil {
		b.Fatal(err)
	}
	defer closeOrFail(b, from)
	to, err := openTo()
	if err != nil {
		b.Fatal(err)
	}
	defer closeOrFail(b, to)
	began, kind := time.Now(), move.Progress{}
	result, err := move.Run(b.Context(), from, to, move.Options{Final: final, From: "there", To: "here", Progress: func(p move.Progress) {
		if p.Kind != kind.Kind || p.Comparing != kind.Comparing {
			b.Logf("%8.2fs %v", time.Since(began).Seconds(), kind)
		}
		kind = p
	}})
	if err != nil {
		b.Fatal(err)
	}
	return result
}

func closeOrFail(b *testing.B, c io.Closer) {
	if err := c.Close(); err != nil {
		b.Error(err)
	}
}
