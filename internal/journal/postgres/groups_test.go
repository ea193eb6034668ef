package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
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

// A session that is cut off from the database notices before another one can take its shares. When it is back it can write nothing.
func TestSessionCutOff(t *testing.T) {
	c := pgtest.Shared(t)
	s, proxy := newSite(t, c), c.NewProxy(t)
	a := s.open(brief, func(cfg *Config) { cfg.URL = c.URLBy(proxy) })
	b := s.open(brief)
	newGroup(t, a, "group")
	first, second := enlist(t, a), enlist(t, b)
	held := takeUntil(t, first, 7)
	proxy.Freeze()
	taken := takeUntil(t, second, 7)
	if !closedNow(first.Lost()) {
		t.Error("another session took the share, and the one before relied on it still")
	}
	if taken.Epoch <= held.Epoch || taken.Version <= held.Version {
		t.Errorf("the share was %+v, and now is %+v", held, taken)
	}
	proxy.Thaw()
	if save(t, a, change(held, "written by the owner from before")) {
		t.Error("the owner from before wrote the share")
	}
	if _, err := first.Take(t.Context(), "group", []int{8}); !errors.Is(err, journal.ErrLost) {
		t.Errorf("a session that is lost took a share: %v", err)
	}
	if !save(t, b, change(taken, "written by the owner")) {
		t.Error("the owner did not write the share")
	}
	await(t, "the session's row is gone", func() bool { return s.number(`select count(*) from bridge.session`) == 1 })
}

// A renewal that is under way when the time runs out counts: nobody takes the shares before it has ended.
func TestTakeBesideRenewal(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.noRetention = true })
	newGroup(t, j, "group")
	first, second := enlist(t, j), enlist(t, j)
	takeUntil(t, first, 7)
	expire := fmt.Sprintf("update %s.session set until = '-infinity' where id = '%s'", s.schema, first.id)
	for _, renewed := range []bool{true, false} {
		s.cluster.Exec(t, expire)
		tx, err := s.cluster.Admin(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = tx.Exec(t.Context(), fmt.Sprintf("update %s.session set until = clock_timestamp() + interval '1 hour' where id = '%s'", s.schema, first.id))
		if err != nil {
			t.Fatal(err)
		}
		if taken, err := second.Take(t.Context(), "group", []int{7}); err != nil || len(taken) > 0 {
			t.Errorf("a share was taken while its owner's session was renewed: %v, %v", taken, err)
		}
		if renewed {
			err = tx.Commit(t.Context())
		} else {
			err = tx.Rollback(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		if taken, err := second.Take(t.Context(), "group", []int{7}); err != nil || len(taken) > 0 == renewed {
			t.Errorf("the renewal ended with renewed = %v, and then %v was taken, %v", renewed, taken, err)
		}
	}
}

// A share is not taken from a session that began, and took it, while the taker waited for the share.
func TestTakeFromNewSession(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.noRetention = true })
	newGroup(t, j, "group")
	waiting := enlist(t, j)
	tx, err := s.cluster.Admin(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), fmt.Sprintf("select from %s.share where index = 7 for update", s.schema)); err != nil {
		t.Fatal(err)
	}
	type result struct {
		taken []journal.Share
		err   error
	}
	done := make(chan result, 1)
	go func() {
		taken, err := waiting.Take(t.Context(), "group", []int{7})
		done <- result{taken, err}
	}()
	await(t, "the taker waits", func() bool {
		var n int
		err := tx.QueryRow(t.Context(), `select count(*) from pg_locks where not granted`).Scan(&n)
		return err == nil && n > 0
	})
	owner := enlist(t, j)
	if _, err := tx.Exec(t.Context(), fmt.Sprintf("update %s.share set owner = $1, epoch = epoch + 1, version = version + 1 where index = 7", s.schema), owner.id); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.err != nil || len(r.taken) > 0 {
		t.Errorf("the share of a session that lives was taken: %v, %v", r.taken, r.err)
	}
}

// TestSessionBesideLocks: neither rows that others have locked nor a long write of the same instance hold up a session's renewal.
func TestSessionBesideLocks(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(brief)
	newGroup(t, j, "group")
	claim := claimOf(t, j, "reader")
	session := enlist(t, j)
	held := takeUntil(t, session, 7)
	if err := session.Join(t.Context(), "group", "member", nil); err != nil {
		t.Fatal(err)
	}
	tx, err := s.cluster.Admin(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"share", "reader", "member"} {
		if _, err := tx.Exec(t.Context(), fmt.Sprintf("select from %s.%s for update", s.schema, table)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := j.SaveShares(context.Background(), "group", []journal.ShareChange{change(held, "late")})
		done <- err
	}()
	<-claim.Lost() // its renewal waits for the row
	for range 2 {
		before := s.number(`select extract(epoch from until) * 1000000 from bridge.session`)
		await(t, "the session is renewed", func() bool {
			return s.number(`select extract(epoch from until) * 1000000 from bridge.session`) > before
		})
	}
	if closedNow(session.Lost()) {
		t.Error("the session is lost")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil && !errors.Is(err, journal.ErrUnavailable) {
		t.Error(err)
	}
}

// Writers of the same shares in any order do not wait for each other in a circle. Each version is written once.
func TestConcurrentSaves(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	all := []*Journal{s.open(func(cfg *Config) { cfg.noRetention = true }), s.open(func(cfg *Config) { cfg.noRetention = true })}
	newGroup(t, all[0], "group")
	const shares = 16
	start := shareOf(t, all[0], 0).Version
	var saved atomic.Int64
	var writers sync.WaitGroup
	for n := range 8 {
		writers.Go(func() {
			j := all[n%len(all)]
			for range 25 {
				known, err := j.Shares(context.Background(), "group", rand.Perm(shares))
				var changes []journal.ShareChange
				for _, i := range rand.Perm(len(known)) {
					c := change(known[i], "state")
					if n == 0 {
						c.Park = []*journalv1.Parked{{Position: uint64(i + 1)}}
					}
					changes = append(changes, c)
				}
				if err == nil {
					var done []bool
					done, err = j.SaveShares(context.Background(), "group", changes)
					for _, ok := range done {
						if ok {
							saved.Add(1)
						}
					}
				}
				if err != nil {
					t.Errorf("save: %v", err)
				}
			}
		})
	}
	writers.Wait()
	var raised uint64
	for i := range shares {
		raised += shareOf(t, all[0], i).Version - start
	}
	if int64(raised) != saved.Load() || raised == 0 {
		t.Errorf("%d writes succeeded, and the versions were raised by %d", saved.Load(), raised)
	}
	if c := s.number(`select count(*) from pg_stat_database where datname = current_database() and deadlocks > 0`); c > 0 {
		t.Log("the database has seen deadlocks, perhaps of another test")
	}
}

// unanswered runs a save whose answer the caller does not get, and returns whether the version says that it was written.
func unanswered(t *testing.T, p *pgtest.Proxy, j *Journal, park bool, lose func(text string) (met <-chan struct{}, end func())) bool {
	t.Helper()
	before := shareOf(t, j, 7)
	c := change(before, "unanswered")
	if park {
		c.Park = []*journalv1.Parked{{Position: before.Version}}
	}
	met, end := lose(j.sql(saveShare))
	done := make(chan error, 1)
	go func() {
		_, err := j.SaveShares(context.Background(), "group", []journal.ShareChange{c})
		done <- err
	}()
	<-met
	end()
	if err := <-done; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("a save without an answer got %v; want ErrUnavailable", err)
	}
	p.Accept()
	var after journal.Share
	await(t, "the share is read", func() bool {
		all, err := j.Shares(t.Context(), "group", []int{7})
		if err == nil {
			after = all[0]
		}
		return err == nil
	})
	written := string(after.State) == "unanswered" && after.Version == before.Version+1
	if !written && (string(after.State) != string(before.State) || after.Version != before.Version) {
		t.Errorf("the share was %+v, and is %+v", before, after)
	}
	letters, err := j.Parked(t.Context(), journal.GroupReader("group"), sinks.Position(before.Version), 1)
	if err != nil || len(letters) > 0 != (park && written) {
		t.Errorf("written: %v, and parked: %v, %v", written, letters, err)
	}
	if saved := save(t, j, change(before, "again")); saved == written {
		t.Errorf("written: %v, and another write with the same version: %v", written, saved)
	}
	return written
}

// The answer to a COMMIT is lost, or the COMMIT itself. The version tells the caller which it was.
func TestUnansweredSave(t *testing.T) {
	c := pgtest.Shared(t)
	s, p := newSite(t, c), c.NewProxy(t)
	j := s.open(func(cfg *Config) { cfg.URL, cfg.noRetention = c.URLBy(p), true })
	newGroup(t, j, "group")
	for _, park := range []bool{false, true} {
		if !unanswered(t, p, j, park, func(text string) (<-chan struct{}, func()) { return p.SwallowCommit(text).Met, func() {} }) {
			t.Error("the COMMIT was delivered, and the share is as before")
		}
		if unanswered(t, p, j, park, func(string) (<-chan struct{}, func()) { h := p.HoldCommits(); return h.Met, h.Cut }) {
			t.Error("the COMMIT was not delivered, and the share is written")
		}
	}
}

// An instance that stopped in the middle of a save holds others up for some seconds.
func TestStoppedSave(t *testing.T) {
	c := pgtest.Shared(t)
	s, p := newSite(t, c), c.NewProxy(t)
	a := s.open(func(cfg *Config) { cfg.URL, cfg.noRetention = c.URLBy(p), true })
	b := s.open(func(cfg *Config) { cfg.noRetention = true })
	newGroup(t, a, "group")
	share := shareOf(t, b, 7)
	held := p.HoldCommits()
	done := make(chan error, 1)
	go func() {
		_, err := a.SaveShares(context.Background(), "group", []journal.ShareChange{change(share, "of the one that stopped")})
		done <- err
	}()
	<-held.Met
	await(t, "another instance writes the share", func() bool {
		saved, err := b.SaveShares(t.Context(), "group", []journal.ShareChange{change(share, "of another one")})
		return err == nil && saved[0]
	})
	held.Resume()
	if err := <-done; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("the save of the instance that stopped got %v", err)
	}
	if got := shareOf(t, b, 7); string(got.State) != "of another one" {
		t.Errorf("the share has the state %q", got.State)
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

// Members of a session that ended are removed, and its shares are free, also where the instance said nothing.
func TestDeadInstanceOfGroups(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	a, b := s.open(brief), s.open(brief)
	newGroup(t, a, "group")
	dead, other := enlist(t, a), enlist(t, b)
	for name, session := range map[string]*groupSession{"dead": dead, "other": other} {
		if err := session.Join(t.Context(), "group", name, nil); err != nil {
			t.Fatal(err)
		}
	}
	takeUntil(t, dead, 7)
	a.abandon()
	takeUntil(t, other, 7)
	await(t, "the dead member's row is removed", func() bool { return s.number(`select count(*) from bridge.member`) == 1 })
	g, err := b.Group(t.Context(), "group")
	if err != nil || len(g.Members) != 1 || g.Members[0].ID != "other" || g.Owners[7] != other.ID() {
		t.Errorf("the group: %+v, %v", g, err)
	}
	began := time.Now()
	if err := other.Close(t.Context()); err != nil {
		t.Error(err)
	}
	third := enlist(t, b)
	takeUntil(t, third, 7)
	if took := time.Since(began); took > briefLease && took > 5*time.Second {
		t.Errorf("the share of a closed session was free after %v", took)
	}
}
