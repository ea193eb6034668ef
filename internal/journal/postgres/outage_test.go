package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// refusedAtOnce checks that an append is refused without a wait.
func refusedAtOnce(t *testing.T, j *Journal) error {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := j.Append(ctx, newEntry())
	if !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("an append got %v; want ErrUnavailable", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("an append was refused after %v", took)
	}
	return err
}

func TestStandbysAway(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1})
	s, proxy := newSite(t, c), c.NewProxy(t)
	j := s.open(func(cfg *Config) { cfg.URL = c.URLBy(proxy) })
	appendTo(t, j, newEntry())
	c.Standby(0).FreezeReceiver(t)
	e := newEntry()
	answered := make(chan error, 1)
	go func() {
		_, err := j.Append(context.Background(), e)
		answered <- err
	}()
	await(t, "the commit waits for the standby", func() bool { return len(c.Waiting(t)) > 0 })
	await(t, "appends are refused", func() bool { return !j.Health().Available })
	refusedAtOnce(t, j)
	if p := j.Health().Problem; p == nil || !strings.Contains(p.Error(), "standbys") {
		t.Errorf("the problem is %v", p)
	}
	if n := s.number(`select count(*) from bridge.event`); n != 1 {
		t.Errorf("%d events are visible; want 1: no standby has the second", n)
	}
	// A connection that breaks does not end the wait either: pgx would have the server cancel the COMMIT.
	proxy.Cut()
	if err := <-answered; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("the append got %v; want ErrUnavailable", err)
	}
	for range 20 {
		if n := s.number(`select count(*) from bridge.event`); n != 1 {
			t.Fatalf("%d events are visible after the connection broke; want 1: no standby has the second", n)
		}
	}
	c.Standby(0).ThawReceiver(t)
	if r := appendUntil(t, j, e); !r.Duplicate {
		t.Errorf("the retry got %+v; want a duplicate", r)
	}
	await(t, "the journal is well again", func() bool { h := j.Health(); return h.Available && h.Problem == nil })
}

func TestDatabaseAwayAndBack(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	s := newSite(t, c)
	j := s.open(func(cfg *Config) { cfg.ReplicatedBy = ByNothing })
	e := newEntry()
	appendTo(t, j, e)
	c.Primary().Kill(t)
	refusedAtOnce(t, j)
	if p := j.Health().Problem; p == nil {
		t.Error("no problem is told")
	}
	if _, err := Open(t.Context(), s.config(c.URL())); err == nil || strings.Contains(err.Error(), c.Password()) {
		t.Errorf("opening without a database: %v", err)
	}
	c.Primary().Start(t)
	if r := appendUntil(t, j, e); !r.Duplicate {
		t.Errorf("the webhook got %+v; want a duplicate", r)
	}
	appendUntil(t, j, newEntry())
}

func TestFullDatabase(t *testing.T) {
	c := pgtest.Shared(t)
	s, proxy := newSite(t, c), c.NewProxy(t)
	j := s.open(func(cfg *Config) { cfg.URL = c.URLBy(proxy) })
	appendTo(t, j, newEntry())
	mend := proxy.FailWrites(diskFull, "could not extend file")
	err := refusedAtOnce(t, j)
	if err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("the error is %v", err)
	}
	mend()
	appendUntil(t, j, newEntry())
}

// TestFrozenPrimary: a machine that is frozen keeps its connections. When another server has taken over, its COMMIT is given up.
func TestFrozenPrimary(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1})
	s, old := newSite(t, c), c.NewProxy(t)
	hosts := old.Addr() + "," + c.Standby(0).Addr()
	j := s.open(func(cfg *Config) {
		cfg.URL = strings.Replace(c.URLBy(old), old.Addr(), hosts, 1)
		cfg.ReplicatedBy = ByNothing // the standby has none after its promotion
	})
	kept := newEntry()
	appendTo(t, j, kept)
	held := old.HoldCommits()
	answered := make(chan error, 1)
	go func() {
		_, err := j.Append(context.Background(), newEntry())
		answered <- err
	}()
	<-held.Met
	old.Freeze()
	if err := promote(t, c.Standby(0)); err != nil {
		t.Fatal(err)
	}
	if r := appendUntil(t, j, kept); !r.Duplicate {
		t.Errorf("the webhook that the standby has got %+v", r)
	}
	if err := <-answered; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("the append at the frozen server got %v", err)
	}
	appendUntil(t, j, newEntry())
	if !strings.Contains(s.logs.String(), "another server has taken over") {
		t.Error("the log does not say why the commit was given up")
	}
	old.Thaw()
	held.Cut()
}

// promote makes a standby a primary, and leaves the proxies where they are.
func promote(t *testing.T, s *pgtest.Server) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres", pgtest.Database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), `select pg_promote()`)
	return err
}

func TestEndWithADatabaseThatDoesNotAnswer(t *testing.T) {
	c := pgtest.Shared(t)
	s, proxy := newSite(t, c), c.NewProxy(t)
	j := s.open(func(cfg *Config) { cfg.URL = c.URLBy(proxy) })
	appendTo(t, j, newEntry())
	proxy.Freeze()
	defer proxy.Thaw()
	answered := make(chan error, 1)
	go func() {
		_, err := j.Append(context.Background(), newEntry())
		answered <- err
	}()
	await(t, "appends are refused", func() bool { return !j.Health().Available })
	began := time.Now()
	_ = j.Close()
	if took := time.Since(began); took > closeGrace+endGrace+5*time.Second {
		t.Errorf("closing took %v", took)
	}
	if err := <-answered; err == nil {
		t.Error("an append succeeded")
	}
}

func TestCloseCommitsWhatIsQueued(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open()
	const n = 50
	answered := make(chan error, n)
	for range n {
		go func() {
			_, err := j.Append(context.Background(), newEntry())
			answered <- err
		}()
	}
	await(t, "appends are queued", func() bool { return j.queue.Len() > 0 })
	_ = j.Close()
	stored := 0
	for range n {
		switch err := <-answered; {
		case err == nil:
			stored++
		case !errors.Is(err, sinks.ErrClosed):
			t.Errorf("an append got %v", err)
		}
	}
	if found := s.number(`select count(*) from bridge.event`); found != int64(stored) || stored == 0 {
		t.Errorf("%d appends succeeded, and %d events are stored", stored, found)
	}
}

func TestLossIsNoticed(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1, Asynchronous: true})
	s := newSite(t, c)
	j := s.open(func(cfg *Config) { cfg.ReplicatedBy = ByNothing })
	kept := newEntry()
	appendTo(t, j, kept)
	await(t, "the standby has the first event", func() bool { return onStandby(t, c, s.schema) == 1 })
	c.Standby(0).StopReceiver(t)
	lost := newEntry()
	appendTo(t, j, lost)
	mark := j.Mark(j.Bounds().Next)
	c.Primary().Kill(t)
	c.Promote(t, 0)
	if r := appendUntil(t, j, kept); !r.Duplicate {
		t.Errorf("the webhook that the standby has got %+v", r)
	}
	if r := appendUntil(t, j, lost); r.Duplicate {
		t.Errorf("the webhook that was lost got %+v", r)
	}
	await(t, "the loss is told", func() bool { return j.Health().LostEvents > 0 })
	if err := j.Resolve(t.Context(), mark); !errors.Is(err, sinks.ErrForked) {
		t.Errorf("the mark of the state that was lost: %v; want ErrForked", err)
	}
	if !strings.Contains(s.logs.String(), "lost events") {
		t.Error("the log says nothing")
	}
}

func onStandby(t *testing.T, c *pgtest.Cluster, schema string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.Standby(0).URL("postgres", pgtest.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), `select count(*) from `+schema+`.event`).Scan(&n); err != nil {
		return 0
	}
	return n
}

// TestAbandoned: an instance that dies says nothing to the server, and another goes on.
func TestAbandoned(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	dead, other := s.open(), s.open()
	e := newEntry()
	appendTo(t, dead, e)
	dead.abandon()
	if _, err := dead.Append(t.Context(), newEntry()); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("the dead instance answers %v", err)
	}
	if r := appendTo(t, other, e); !r.Duplicate {
		t.Errorf("the other instance answers %+v", r)
	}
}
