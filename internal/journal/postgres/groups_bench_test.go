package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// BenchmarkSaveShares has one caller that writes some shares of a group again and again, as package groups does. For comparison, a bare
// session updates one row of a table, with the same settings.
func BenchmarkSaveShares(b *testing.B) {
	for _, standbys := range []int{0, 1} {
		c := pgtest.Start(b, pgtest.Options{Standbys: standbys})
		j := newSite(b, c).open(func(cfg *Config) { cfg.ReplicatedBy, cfg.noRetention = ByNothing, true })
		newGroup(b, j, "group")
		b.Run(fmt.Sprintf("standbys=%d/bare", standbys), func(b *testing.B) { benchBare(b, j) })
		for _, n := range []int{1, 16, journal.GroupShares} {
			b.Run(fmt.Sprintf("standbys=%d/shares=%d", standbys, n), func(b *testing.B) { benchSave(b, j, n) })
		}
	}
}

// stateBytes is the length of a share's state: a position, and some that are done behind it.
const stateBytes = 64

func benchBare(b *testing.B, j *Journal) {
	b.Helper()
	conn, err := j.connect(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer disconnect(conn)
	state := make([]byte, stateBytes)
	for b.Loop() {
		_, err := conn.Exec(context.Background(), j.sql(`update bridge.share set state = $1, version = version + 1 where group_name = 'group' and index = 255`), state)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "saves/s")
}

func benchSave(b *testing.B, j *Journal, n int) {
	b.Helper()
	var indexes []int
	for i := range n {
		indexes = append(indexes, i)
	}
	all, err := j.Shares(context.Background(), "group", indexes)
	if err != nil {
		b.Fatal(err)
	}
	changes := make([]journal.ShareChange, n)
	for i, s := range all {
		changes[i] = change(s, string(make([]byte, stateBytes)))
	}
	for b.Loop() {
		saved, err := j.SaveShares(context.Background(), "group", changes)
		if err != nil {
			b.Fatal(err)
		}
		for i := range changes {
			if !saved[i] {
				b.Fatal("not saved")
			}
			changes[i].Version++
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "saves/s")
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "shares/s")
	b.ReportMetric(hotPart(b, j), "hot")
}

// hotPart is the part of the updates of shares that added nothing to the index.
func hotPart(b *testing.B, j *Journal) (part float64) {
	b.Helper()
	conn, err := pgx.Connect(context.Background(), j.cfg.URL)
	if err != nil {
		b.Fatal(err)
	}
	defer disconnect(conn)
	err = conn.QueryRow(context.Background(), `select n_tup_hot_upd::float8 / greatest(n_tup_upd, 1) from pg_stat_user_tables
		where schemaname = $1 and relname = 'share'`, j.cfg.Schema).Scan(&part)
	if err != nil {
		b.Fatal(err)
	}
	return part
}
