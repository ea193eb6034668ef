package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestSafetyLostWhileRunning: the server's settings become unsafe while sessions are open. Nothing is acknowledged and nothing new is shown
// until they are safe again.
func TestSafetyLostWhileRunning(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1})
	s := newSite(t, c)
	j := s.open(func(cfg *Config) { cfg.noRetention = true })
	first := newEntry()
	appendTo(t, j, first)
	var names string
	if err := c.Admin(t).QueryRow(t.Context(), "show synchronous_standby_names").Scan(&names); err != nil {
		t.Fatal(err)
	}
	before := j.failures.Load()
	for _, unsafe := range []struct{ name, value, safe string }{
		{"synchronous_standby_names", " ", names}, {"fsync", "off", "on"}, {"full_page_writes", "off", "on"},
	} {
		c.Exec(t, fmt.Sprintf("alter system set %s = '%s'", unsafe.name, strings.TrimSpace(unsafe.value)), "select pg_reload_conf()")
		await(t, unsafe.name+" is noticed", func() bool { return j.tail.problem.Load() != nil })
		e := newEntry()
		if r, err := j.Append(t.Context(), e); !errors.Is(err, journal.ErrUnavailable) || !strings.Contains(err.Error(), unsafe.name) {
			t.Errorf("%s is unsafe, and an append got %+v, %v", unsafe.name, r, err)
		}
		if _, err := j.Webhook(t.Context(), first.Webhook.GetId()); !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("%s is unsafe, and a reader got %v", unsafe.name, err)
		}
		if err := j.Register(t.Context(), "reader", 1, journal.Hold); !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("%s is unsafe, and a call that writes got %v", unsafe.name, err)
		}
		c.Primary().Set(t, unsafe.name, unsafe.safe)
		if r := appendUntil(t, j, e); r.Duplicate {
			t.Errorf("%s was unsafe, and the entry was committed: %+v", unsafe.name, r)
		}
		await(t, "the tail goes on", func() bool { return j.tail.problem.Load() == nil })
	}
	if n := j.failures.Load() - before; n != 3 {
		t.Errorf("%d groups failed, want 3", n)
	}
}

// TestIdleSessionEnded: the server ended the sessions while they were idle. The next webhook is accepted, and not refused.
func TestIdleSessionEnded(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.Replica, cfg.noRetention = s.schema, true })
	appendTo(t, j, newEntry())
	for range 3 {
		s.cluster.Exec(t, `select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = left('bridge `+s.schema+`', 63)`)
		if _, err := j.Append(t.Context(), newEntry()); err != nil {
			t.Errorf("the first append after the sessions were ended: %v", err)
		}
	}
	if n := j.failures.Load(); n > 0 {
		t.Errorf("%d groups failed", n)
	}
}

// TestReplacedWhileCommitting: another server takes the place of the one that confirms a commit. Nobody gets an acknowledgement: the other
// server may not have it.
func TestReplacedWhileCommitting(t *testing.T) {
	c := pgtest.Shared(t)
	s, p := newSite(t, c), c.NewProxy(t)
	j := s.open(func(cfg *Config) { cfg.URL, cfg.noRetention = c.URLBy(p), true })
	before := appendTo(t, j, newEntry()).First + 1
	held := p.HoldCommits()
	done := make(chan error, 1)
	go func() {
		_, err := j.Append(context.Background(), newEntry())
		done <- err
	}()
	<-held.Met
	j.servers.mu.Lock()
	system, _, _ := strings.Cut(j.servers.newest, "/")
	old := j.servers.newest
	j.servers.newest = system + "/FFFFFFFF"
	j.servers.mu.Unlock()
	held.Resume()
	if err := <-done; !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("an append that a replaced server confirmed got %v", err)
	}
	if next := j.Bounds().Next; next != before {
		t.Errorf("position %d is shown, which a replaced server confirmed", next-1)
	}
	j.servers.mu.Lock()
	j.servers.newest = old
	j.servers.mu.Unlock()
}

// TestReadsWhileWritesWait: no standby confirms, and more readers save their cursors than there are sessions. What is confirmed is read at
// once.
func TestReadsWhileWritesWait(t *testing.T) {
	r := newReadTest(t, pgtest.Start(t, pgtest.Options{Standbys: 1}))
	j := r.open()
	r.add(j, 2)
	var claims []journal.Claim
	for n := range 2 * poolSize {
		name := fmt.Sprint("reader", n)
		r.is("register", j.Register(t.Context(), name, 1, journal.Hold), nil)
		claims = append(claims, claimOf(t, j, name))
	}
	r.cluster.Standby(0).FreezeReceiver(t)
	defer r.cluster.Standby(0).ThawReceiver(t)
	var saving sync.WaitGroup
	for _, c := range claims {
		saving.Go(func() {
			if err := c.Save(r.soon(), 2); err == nil {
				t.Error("a cursor was saved, and no standby has it")
			}
		})
	}
	saving.Wait()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if got, err := j.Read(ctx, 1, make([]sinks.Record, 0, 2)); err != nil || len(got) != 2 {
			t.Errorf("a read of what is confirmed, while writes wait: %d events, %v", len(got), err)
		}
	}
}

// TestSeekWithAnInstanceAhead: the clock of the instance that received a webhook was ahead of the server's. Seek finds the event.
func TestSeekWithAnInstanceAhead(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	var ns clock
	ns.ns.Store(began.UnixNano())
	j := r.open(func(c *Config) { c.now = ns.now })
	r.add(j, 1) // received a second after began
	receipt := r.add(j, 1)
	got, err := j.Seek(t.Context(), began.Add(2*time.Second))
	if err != nil || got != receipt.First {
		t.Errorf("Seek found %d, %v; want %d", got, err, receipt.First)
	}
	if got, err = j.Seek(t.Context(), began.Add(3*time.Second)); err != nil || got != receipt.First+1 {
		t.Errorf("Seek of a later time found %d, %v; want the end", got, err)
	}
}

// TestAttemptsAgainstOperators: a reader and operators work on the same parked event. None of them waits for another in a circle.
func TestAttemptsAgainstOperators(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.noRetention = true })
	appendTo(t, j, newEntry())
	if err := j.Register(t.Context(), "reader", 1, journal.Hold); err != nil {
		t.Fatal(err)
	}
	c := claimOf(t, j, "reader")
	event := func() *journalv1.Parked { return &journalv1.Parked{Sink: "reader", Position: 1} }
	for range 100 {
		if err := errors.Join(c.Park(t.Context(), event()), j.RequestRetry(t.Context(), "reader", 1)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, call := range []func() error{
			func() error { return c.AddAttempt(t.Context(), event()) },
			func() error { return j.DiscardParked(t.Context(), "reader", 1) },
		} {
			wg.Go(func() {
				if err := call(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// TestCallsToAFrozenPrimary: a machine that is frozen keeps its connections, and calls wait for its answers. When another server has taken over
// they are given up, so that reads and writes go on there, at an instance that appends nothing.
func TestCallsToAFrozenPrimary(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Standbys: 1})
	s, old := newSite(t, c), c.NewProxy(t)
	hosts := old.Addr() + "," + c.Standby(0).Addr()
	j := s.open(func(cfg *Config) {
		cfg.URL = strings.Replace(c.URLBy(old), old.Addr(), hosts, 1)
		cfg.ReplicatedBy = ByNothing // the standby has none after its promotion
		cfg.noRetention = true
	})
	kept := newEntry()
	appendTo(t, j, kept)
	if err := j.Register(t.Context(), "reader", 1, journal.Hold); err != nil {
		t.Fatal(err)
	}
	calls := []func(ctx context.Context) error{
		func(ctx context.Context) error { return j.RequestPass(ctx, "reader", 1) },
		func(ctx context.Context) error { _, err := j.Webhook(ctx, kept.Webhook.GetId()); return err },
	}
	var idle []*pgxpool.Conn
	for range poolSize {
		conn, err := j.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	for _, conn := range idle {
		conn.Release()
	}
	old.Freeze()
	defer old.Thaw()
	var waiting sync.WaitGroup
	for _, call := range calls {
		for range poolSize {
			waiting.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), moment)
				defer cancel()
				if err := call(ctx); err == nil {
					t.Error("a frozen server answered")
				}
			})
		}
		waiting.Wait()
	}
	if err := promote(t, c.Standby(0)); err != nil {
		t.Fatal(err)
	}
	for _, call := range calls {
		await(t, "the call is answered by the server that has taken over", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return call(ctx) == nil
		})
	}
}
