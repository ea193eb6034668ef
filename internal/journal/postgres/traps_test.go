package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// moment is how long a test looks for something that must not happen.
const moment = 300 * time.Millisecond

// trap is a log with two instances on a cluster whose standby can be stopped.
type trap struct {
	*testing.T
	c    *pgtest.Cluster
	s    *site
	a, b *Journal
	// atA is the proxy in front of a.
	atA *pgtest.Proxy
	// before is the position behind the one event that there is.
	before sinks.Position
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{Standbys: 1})
	k := &trap{T: t, c: c, s: newSite(t, c), atA: c.NewProxy(t)}
	k.a = k.s.open(func(cfg *Config) { cfg.URL, cfg.noRetention = c.URLBy(k.atA), true })
	k.b = k.s.open(func(cfg *Config) { cfg.noRetention = true })
	k.before = appendTo(t, k.a, newEntry()).First + 1
	await(t, "the other instance shows the event", func() bool { return k.b.Bounds().Next == k.before })
	c.Exec(t, "create table "+k.s.schema+".naive (n int)", "grant all on "+k.s.schema+".naive to "+pgtest.User)
	return k
}

// stall stops the standby, and appends at an instance until the COMMIT waits.
func (k *trap) stall() (e journal.Entry, answer <-chan error) {
	k.Helper()
	k.c.Standby(0).FreezeReceiver(k)
	k.Cleanup(func() { k.c.Standby(0).ThawReceiver(k) })
	e = newEntry()
	done := make(chan error, 1)
	go func() {
		_, err := k.a.Append(context.Background(), e)
		done <- err
	}()
	<-k.c.Held(k, "commit", k.Context().Done())
	return e, done
}

// cancelCommit has an administrator cancel the COMMIT that waits. The server then shows it, though no standby has it.
func (k *trap) cancelCommit() {
	k.Helper()
	k.c.Exec(k, `select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and lower(query) like 'commit%'`)
	await(k, "the server shows what was cancelled", func() bool { return k.s.number(`select count(*) from bridge.event`) == 2 })
}

// hidden ends the test if an instance shows the entry that no standby has.
func (k *trap) hidden(e journal.Entry) {
	k.Helper()
	for name, j := range map[string]*Journal{"a": k.a, "b": k.b} {
		ctx, cancel := context.WithTimeout(k.Context(), moment)
		defer cancel()
		if _, err := j.Webhook(ctx, e.Webhook.GetId()); err == nil {
			k.Errorf("instance %s shows a webhook that no standby has", name)
		}
		if _, err := j.EventAt(ctx, k.before); err == nil {
			k.Errorf("instance %s shows an event that no standby has", name)
		}
		if got, err := j.Read(ctx, k.before, make([]sinks.Record, 0, 1)); err == nil && len(got) > 0 {
			k.Errorf("instance %s reads an event that no standby has", name)
		}
		if next := j.Bounds().Next; next != k.before {
			k.Errorf("instance %s shows position %d; no standby has it", name, next-1)
		}
	}
}

// shown ends the test unless, with the standby back, the entry is there once at both instances.
func (k *trap) shown(e journal.Entry) {
	k.Helper()
	k.c.Standby(0).ThawReceiver(k)
	for _, j := range []*Journal{k.b, k.a} {
		if r := appendUntil(k, j, e); !r.Duplicate {
			k.Errorf("with the standby back the entry got %+v; want a duplicate", r)
		}
	}
	for _, j := range []*Journal{k.a, k.b} {
		await(k, "the event is shown", func() bool { return j.Bounds().Next == k.before+1 })
	}
}

// naive commits a row as a program does that gives its context to COMMIT.
func (k *trap) naive(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, k.c.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into "+k.s.schema+".naive values (1)")
		return err
	})
}

// TestTraps: four ways in which a naive use of PostgreSQL breaks a promise. Each has a control: what the naive use shows.
func TestTraps(t *testing.T) {
	t.Run("a COMMIT whose caller gives up is not cancelled", func(t *testing.T) {
		k := newTrap(t)
		e, answer := k.stall()
		ctx, cancel := context.WithTimeout(t.Context(), moment)
		defer cancel()
		if _, err := k.a.Append(ctx, e); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("a caller who gave up got %v", err)
		}
		k.hidden(e)
		if n := k.s.number(`select count(*) from bridge.event`); n != 1 {
			t.Errorf("the server shows %d events; no standby has the second", n)
		}
		short, stop := context.WithTimeout(t.Context(), moment)
		defer stop()
		if err := k.naive(short); err == nil {
			t.Fatal("control: a COMMIT returned without a standby")
		}
		await(t, "control: a cancelled COMMIT shows data that no standby has", func() bool {
			return k.s.number(`select count(*) from bridge.naive`) == 1
		})
		k.shown(e)
		if err := <-answer; err != nil && !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("the append got %v", err)
		}
	})
	t.Run("a duplicate waits for its original", func(t *testing.T) {
		k := newTrap(t)
		e, answer := k.stall()
		k.cancelCommit()
		if err := <-answer; !errors.Is(err, journal.ErrUnavailable) {
			t.Fatalf("an append whose COMMIT was cancelled got %v", err)
		}
		for _, j := range []*Journal{k.a, k.b} {
			ctx, cancel := context.WithTimeout(t.Context(), moment)
			defer cancel()
			if r, err := j.Append(ctx, e); err == nil {
				t.Errorf("a duplicate was answered, and no standby has its original: %+v", r)
			}
		}
		// Control: a look-up by a transaction that writes nothing finds the original, and its COMMIT waits for nothing.
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := pgx.Connect(ctx, k.c.URL())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		var found int
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `select count(*) from `+k.s.schema+`.dedupe where key = $1`, e.Keys[0].Hash[:]).Scan(&found)
		})
		if err != nil || found != 1 {
			t.Errorf("control: a plain look-up found %d keys: %v", found, err)
		}
		k.shown(e)
	})
	t.Run("a reader shows only what is confirmed", func(t *testing.T) {
		k := newTrap(t)
		e, answer := k.stall()
		k.c.Restart(t)
		if err := <-answer; !errors.Is(err, journal.ErrUnavailable) {
			t.Fatalf("an append whose server crashed got %v", err)
		}
		await(t, "control: the server that was restarted shows what no standby has", func() bool {
			return k.s.number(`select count(*) from bridge.event`) == 2
		})
		k.hidden(e)
		ctx, cancel := context.WithTimeout(t.Context(), 4*moment)
		defer cancel()
		if j, err := Open(ctx, k.s.config(k.c.URL())); err == nil {
			t.Errorf("a new instance shows %+v", j.Bounds())
			_ = j.Close()
		}
		k.shown(e)
	})
	t.Run("an instance that stops with the head holds nobody up for long", func(t *testing.T) {
		k := newTrap(t)
		held := k.atA.HoldCommits()
		e := newEntry()
		done := make(chan error, 1)
		go func() {
			_, err := k.a.Append(context.Background(), e)
			done <- err
		}()
		<-held.Met
		began := time.Now()
		appendUntil(t, k.b, newEntry())
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("another instance waited %v for one that had stopped", d)
		}
		held.Resume()
		if err := <-done; !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("an append that stopped before COMMIT got %v", err)
		}
		if r := appendUntil(t, k.a, e); r.Duplicate {
			t.Errorf("the server had ended the transaction, and the retry got %+v", r)
		}
		k.headHeldByNaive()
	})
}

// headHeldByNaive is the control for an instance that stops: a session without the time-out, whom no instance may end, holds the head for as
// long as it likes.
func (k *trap) headHeldByNaive() {
	k.Helper()
	conn, err := pgx.Connect(k.Context(), k.c.Primary().URL("postgres", pgtest.Database))
	if err != nil {
		k.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(k.Context(), fmt.Sprintf("begin; select from %s.log for no key update", k.s.schema)); err != nil {
		k.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(k.Context(), 12*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := k.b.Append(ctx, newEntry()); err == nil {
			k.Error("control: an append passed a session that holds the head")
			return
		}
	}
}
