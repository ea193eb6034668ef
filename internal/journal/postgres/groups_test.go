package postgres

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

func newGroup(tb testing.TB, j *Journal, name string) {
	tb.Helper()
	if _, err := j.SetGroup(tb.Context(), name, 0, []byte("definition"), &journal.GroupReset{State: []byte("start")}); err != nil {
		tb.Fatal(err)
	}
}

func enlist(tb testing.TB, j *Journal) *groupSession {
	tb.Helper()
	s, err := j.Enlist(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s.(*groupSession) //nolint:forcetypeassert // it is this engine's
}

// shareOf returns a share of the group "group".
func shareOf(tb testing.TB, j *Journal, index int) journal.Share {
	tb.Helper()
	all, err := j.Shares(tb.Context(), "group", []int{index})
	if err != nil || len(all) != 1 {
		tb.Fatalf("share %d: %v, %v", index, all, err)
	}
	return all[0]
}

// change is a change of a share of the group "group".
func change(s journal.Share, state string) journal.ShareChange {
	return journal.ShareChange{Index: s.Index, Epoch: s.Epoch, Version: s.Version, State: []byte(state)}
}

// save writes one share, and reports whether it was written.
func save(tb testing.TB, j *Journal, c journal.ShareChange) bool {
	tb.Helper()
	saved, err := j.SaveShares(tb.Context(), "group", []journal.ShareChange{c})
	if err != nil {
		tb.Fatal(err)
	}
	return saved[0]
}

// takeUntil takes a share of the group "group" as soon as it is free.
func takeUntil(tb testing.TB, s *groupSession, index int) (share journal.Share) {
	tb.Helper()
	await(tb, "the share is taken", func() bool {
		taken, err := s.Take(tb.Context(), "group", []int{index})
		if err != nil {
			tb.Fatal(err)
		}
		if len(taken) == 1 {
			share = taken[0]
		}
		return len(taken) == 1
	})
	return share
}

func closedNow(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestGroupsFailover: what was acknowledged survives the primary and its disk. Owners stay, and a session goes on with the next primary.
func TestGroupsFailover(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1})
	s := newSite(t, c)
	j := s.open(func(cfg *Config) { cfg.ReplicatedBy, cfg.noRetention = ByNothing, true }) // the standby has none after its promotion
	newGroup(t, j, "group")
	session := enlist(t, j)
	share := takeUntil(t, session, 7)
	if err := session.Join(t.Context(), "group", "member", []byte("note")); err != nil {
		t.Fatal(err)
	}
	written := 0
	for range 50 {
		ch := change(share, fmt.Sprint("state ", written+1))
		ch.Park = []*journalv1.Parked{{Position: uint64(written + 1)}}
		if !save(t, j, ch) {
			t.Fatal("the owner's write was refused")
		}
		share.Version++
		written++
	}
	c.Primary().Kill(t)
	c.Promote(t, 0)
	var after journal.Share
	await(t, "the share is read", func() bool {
		all, err := j.Shares(t.Context(), "group", []int{7})
		if err == nil {
			after = all[0]
		}
		return err == nil
	})
	if string(after.State) != fmt.Sprint("state ", written) || after.Version != share.Version || after.Epoch != share.Epoch {
		t.Errorf("after the failover the share is %+v; %d writes were acknowledged, the last with version %d", after, written, share.Version)
	}
	g, err := j.Group(t.Context(), "group")
	if err != nil {
		t.Fatal(err)
	}
	if g.Parked != uint64(written) || g.Owners[7] != session.ID() || len(g.Members) != 1 {
		t.Errorf("after the failover: %d parked, owner %s, members %+v", g.Parked, g.Owners[7], g.Members)
	}
	if !save(t, j, change(share, "after the failover")) || closedNow(session.Lost()) {
		t.Error("the owner cannot go on")
	}
}

// TestGroupsFailoverControl: without a synchronous standby an acknowledged write is lost. So the test above can fail.
func TestGroupsFailoverControl(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1, Asynchronous: true})
	s := newSite(t, c)
	j := s.open(func(cfg *Config) { cfg.ReplicatedBy, cfg.noRetention = ByNothing, true })
	newGroup(t, j, "group")
	share := shareOf(t, j, 7)
	await(t, "the standby has the group", func() bool { return groupsOnStandby(t, c, s.schema) == 1 })
	c.Standby(0).StopReceiver(t)
	if !save(t, j, change(share, "lost")) {
		t.Fatal("the write was refused")
	}
	c.Primary().Kill(t)
	c.Promote(t, 0)
	await(t, "the share is read", func() bool {
		all, err := j.Shares(t.Context(), "group", []int{7})
		return err == nil && string(all[0].State) == "start"
	})
}

func groupsOnStandby(t *testing.T, c *pgtest.Cluster, schema string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.Standby(0).URL("postgres", pgtest.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), `select count(*) from `+schema+`.groups`).Scan(&n); err != nil {
		return 0
	}
	return n
}

// TestTablesOfOlderVersion: an instance adds the tables of groups to a log of the version before. That version may use the log until there is
// a group.
func TestTablesOfOlderVersion(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	text, err := migrations.ReadFile("schema/0001.sql")
	if err != nil {
		t.Fatal(err)
	}
	old := strings.ReplaceAll(string(text), "bridge.", s.schema+".")
	s.cluster.Exec(t, "set role "+pgtest.User, "create schema "+s.schema, old, "insert into "+s.schema+".log (id, format) values ('log', 1)", "reset role")
	j := s.open()
	if j.ID() != "log" {
		t.Errorf("the log is %s", j.ID())
	}
	if n := s.number(`select format from bridge.log`); n != firstFormat {
		t.Errorf("without groups the format is %d", n)
	}
	newGroup(t, j, "group")
	if n := s.number(`select format from bridge.log`); n != groupsFormat {
		t.Errorf("with a group the format is %d", n)
	}
	_ = j.Close()
	if g, err := s.open().Group(t.Context(), "group"); err != nil || len(g.Owners) != journal.GroupShares {
		t.Errorf("opened again: %+v, %v", g, err)
	}
}

// Groups and shares are copied to another database by their pages. There a group that is made again begins above what it had.
func TestTransferGroups(t *testing.T) {
	c := pgtest.Shared(t)
	s, to := newSite(t, c), newSite(t, c)
	j := s.open(func(cfg *Config) { cfg.noRetention = true })
	for _, name := range []string{"group", "deleted", "a", "b", "c", "d"} { // more shares than a page has
		newGroup(t, j, name)
	}
	if err := j.DeleteGroup(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	share := takeUntil(t, enlist(t, j), 7)
	if !save(t, j, change(share, "moved")) {
		t.Fatal("the write was refused")
	}
	from, err := OpenOrigin(t.Context(), s.config(c.URL()), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	target, err := OpenTarget(t.Context(), to.config(c.URL()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = target.Close() }()
	log, err := from.Log(t.Context())
	if err == nil {
		err = target.Prepare(t.Context(), log, move.Note{State: move.Copying, Log: log.ID})
	}
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[move.Kind]int{move.Groups: 6, move.Shares: 5 * journal.GroupShares} {
		n, records := eachPage(t, from, kind, func(page []move.Record) {
			if err := target.Write(t.Context(), kind, page, move.Note{State: move.Copying, Log: log.ID}); err != nil {
				t.Fatal(err)
			}
		})
		again, copied := eachPage(t, target, kind, func([]move.Record) {})
		if !bytes.Equal(records, copied) || n != want || again != want {
			t.Errorf("%s: %d records, %d in the copy, want %d; equal: %v", kind, n, again, want, bytes.Equal(records, copied))
		}
	}
	if err := target.Finish(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	if n := to.number(`select format from bridge.log`); n != groupsFormat {
		t.Errorf("the target has format %d", n)
	}
	moved := to.open(func(cfg *Config) { cfg.noRetention = true })
	if got := shareOf(t, moved, 7); string(got.State) != "moved" || got.Epoch != share.Epoch || got.Version != share.Version+1 {
		t.Errorf("the moved share is %+v; it was %+v", got, share)
	}
	before := s.number(`select version from bridge.groups where name = ''`)
	newGroup(t, moved, "deleted")
	if n := to.number(`select min(least(epoch, version)) from bridge.share where group_name = 'deleted'`); n <= before {
		t.Errorf("a group that was made again begins at %d; an earlier one had %d", n, before)
	}
}

// eachPage reads all records of a kind. It returns how many there are, and the bytes of all.
func eachPage(t *testing.T, from *Transfer, k move.Kind, f func([]move.Record)) (records int, all []byte) {
	t.Helper()
	for place, more := "", true; more; {
		page, err := from.Read(t.Context(), k, move.Stamp{}, place)
		if err != nil {
			t.Fatal(err)
		}
		f(page.Records)
		for _, r := range page.Records {
			all = r.Append(all)
		}
		records += len(page.Records)
		place, more = page.Next, page.Next != ""
	}
	return records, all
}
