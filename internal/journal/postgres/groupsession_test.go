package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

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

// TestSessionBesideLocks: neither rows that others have locked nor long writes of the same session hold up its renewal.
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
	done := make(chan error, 2)
	go func() {
		_, err := j.SaveShares(context.Background(), "group", []journal.ShareChange{change(held, "late")})
		done <- err
	}()
	go func() { done <- session.Join(context.Background(), "group", "member", []byte("late")) }()
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
	for range 2 {
		if err := <-done; err != nil && !errors.Is(err, journal.ErrUnavailable) {
			t.Error(err)
		}
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

// What changed nothing wakes nobody: sessions that take shares in vain would wake each other for ever.
func TestNothingChanged(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.noRetention = true })
	newGroup(t, j, "group")
	owner, other := enlist(t, j), enlist(t, j)
	takeUntil(t, owner, 7)
	if err := other.Join(t.Context(), "group", "member", nil); err != nil {
		t.Fatal(err)
	}
	const calls = 50
	woken := 0
	began := time.Now()
	for n := range calls {
		if taken, err := other.Take(t.Context(), "group", []int{7}); err != nil || len(taken) > 0 {
			t.Fatalf("take: %v, %v", taken, err)
		}
		if err := other.Join(t.Context(), "group", "member", fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
		if closedNow(owner.Changed()) {
			woken++
		}
	}
	if most := 2 + int(time.Since(began)/j.cfg.lookEvery()); woken > most { // the look of each second
		t.Errorf("%d calls woke another session %d times; want at most %d", calls, woken, most)
	}
}

// The end of a session waits for no member that another transaction has locked, so that it cannot wait in a circle with the deletion of a
// group: the sweep removes what it left.
func TestCloseBesideLockedMember(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(brief)
	newGroup(t, j, "group")
	session, other := enlist(t, j), enlist(t, j)
	for _, member := range []string{"a", "b"} {
		if err := session.Join(t.Context(), "group", member, nil); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := s.cluster.Admin(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), fmt.Sprintf("select from %s.member where id = 'a' for update", s.schema)); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if g, err := j.Group(t.Context(), "group"); err != nil || len(g.Members) > 0 {
		t.Errorf("the session has ended, and its members are %v, %v", g.Members, err)
	}
	if n := s.number(`select count(*) from bridge.member`); n != 1 {
		t.Errorf("%d members are left, want the locked one", n)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "the member that was locked is gone", func() bool { return s.number(`select count(*) from bridge.member`) == 0 })
	if err := other.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
