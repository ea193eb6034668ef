package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// TestKit: the engine keeps the contract with two instances. A commit that is held up waits for a standby.
func TestKit(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) journaltest.Harness { return newReplicated(t).harness() })
}

// TestStalls: the same where COMMIT does not reach the server.
func TestStalls(t *testing.T) {
	journaltest.Stalls(t, func(t *testing.T) journaltest.Harness {
		r := newReplicated(t)
		h := r.harness()
		h.Stall = r.holdCommits
		return h
	})
}

func TestHistories(t *testing.T) {
	fewHistories(t)
	journaltest.Histories(t, func(t *testing.T) journaltest.Harness { return newReplicated(t).harness() })
}

func TestGroupHistories(t *testing.T) {
	fewHistories(t)
	journaltest.GroupHistories(t, func(t *testing.T) journaltest.Harness { return newReplicated(t).harness() })
}

// fewHistories has a few histories run unless the environment says how many: a crash of a real server takes its time.
func fewHistories(t *testing.T) {
	if os.Getenv("BRIDGE_TEST_SEEDS") == "" {
		t.Setenv("BRIDGE_TEST_SEEDS", "8")
	}
}

// replicas is how many instances the kit has.
const replicas = 2

// testLease is short, so that tests see it run out.
const testLease = 3 * time.Second

// replicated is the engine for the kit: two instances, each behind a proxy of its own, on one schema of a real cluster.
type replicated struct {
	t       *testing.T
	cluster *pgtest.Cluster
	schema  string
	clock   *clock
	// all are the instances, and proxies are in front of them.
	all     [replicas]*Journal
	proxies [replicas]*pgtest.Proxy
}

// clock is the clock of all instances of a test.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.ns.Load()) }

// kitSchemas numbers the schemas of the tests.
var kitSchemas atomic.Int64

func newSchemaName() string { return fmt.Sprint("log_", kitSchemas.Add(1)) }

func newSchema(t *testing.T, c *pgtest.Cluster) string {
	t.Helper()
	name := newSchemaName()
	t.Cleanup(func() { c.Exec(t, "drop schema if exists "+name+" cascade") })
	return name
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	r := &replicated{t: t, cluster: pgtest.Shared(t), clock: new(clock)}
	r.schema = newSchema(t, r.cluster)
	r.clock.ns.Store(journaltest.Start.UnixNano())
	for i := range r.all {
		r.open(i)
	}
	t.Cleanup(func() {
		var closing sync.WaitGroup
		for _, j := range r.all {
			closing.Go(func() {
				if err := j.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
		}
		closing.Wait()
	})
	return r
}

func (r *replicated) harness() journaltest.Harness {
	return journaltest.Harness{
		Instances: r.instances(),
		Reopen:    r.reopen,
		Crash:     r.crash,
		Stall:     r.stopStandby,
		Freeze: func(i int) func() {
			r.proxies[i].Freeze()
			return r.proxies[i].Thaw
		},
		Fail: func() func() { return r.failWrites("") },
		Low:  r.low,
		Retain: func() {
			for _, j := range r.all {
				if err := j.retain(context.Background()); err != nil {
					r.t.Errorf("retention: %v", err)
				}
			}
		},
		Backup: r.backup,
		Clock:  func(d time.Duration) { r.clock.ns.Add(int64(d)) },
	}
}

func (r *replicated) instances() (all []journal.Journal) {
	for _, j := range r.all {
		all = append(all, j)
	}
	return all
}

func (r *replicated) config(schema string, p *pgtest.Proxy) Config {
	return Config{
		URL: r.cluster.URLBy(p), Schema: schema, DedupeAge: journaltest.MaxWindow,
		Retention: Retention{
			Age: journaltest.EventAge, Size: -1, QuarantineAge: journaltest.QuarantineAge, ParkedAge: journaltest.ParkedAge,
		},
		now: r.clock.now, noRetention: true, lease: testLease, eventsPerPartition: 100,
	}
}

// open opens the i-th instance.
func (r *replicated) open(i int) {
	r.t.Helper()
	r.proxies[i] = r.cluster.NewProxy(r.t)
	j, err := Open(context.Background(), r.config(r.schema, r.proxies[i]))
	if err != nil {
		r.t.Fatal(err)
	}
	j.retention.lastPass = r.clock.now() // the opening is a look at the clock
	r.all[i] = j
}

// kill ends an instance without a word to the server, and lets its leases run out.
func (r *replicated) kill(i int) {
	r.proxies[i].Refuse()
	r.all[i].abandon()
}

func (r *replicated) reopen(i int) journal.Journal {
	r.kill(i)
	r.cluster.Exec(r.t, fmt.Sprintf("update %s.reader set until = '-infinity' where owner = '%s'", r.schema, r.all[i].replica),
		fmt.Sprintf("update %s.session set until = '-infinity' where replica = '%s'", r.schema, r.all[i].replica))
	r.open(i)
	return r.all[i]
}

// crash kills all instances, before the n-th write that reaches the server. An even n crashes the server too.
func (r *replicated) crash(n int, during func()) []journal.Journal {
	if during != nil {
		pgtest.CutAt(n, r.proxies[:]...)
		during()
	}
	for i := range r.all {
		r.kill(i)
	}
	if n%2 == 0 {
		r.cluster.Restart(r.t)
	}
	r.cluster.Exec(r.t, fmt.Sprintf("update %s.reader set until = '-infinity'", r.schema), fmt.Sprintf("update %s.session set until = '-infinity'", r.schema))
	for i := range r.all {
		r.open(i)
	}
	return r.instances()
}

// stopStandby stops the standby, so that no COMMIT returns. A COMMIT that is to fail loses its connection.
func (r *replicated) stopStandby() (held <-chan struct{}, resume func(bool)) {
	standby := r.cluster.Standby(0)
	standby.FreezeReceiver(r.t)
	var once sync.Once
	resumed := make(chan struct{})
	resume = func(fail bool) {
		once.Do(func() {
			close(resumed)
			if fail {
				for _, p := range r.proxies {
					p.Cut()
				}
			}
			standby.ThawReceiver(r.t)
		})
	}
	r.t.Cleanup(func() { resume(true) })
	return r.cluster.Held(r.t, "commit", resumed), resume
}

// holdCommits holds up COMMITs on their way to the server.
func (r *replicated) holdCommits() (held <-chan struct{}, resume func(bool)) {
	var all []*pgtest.Commits
	first := make(chan struct{})
	var once sync.Once
	resumed := make(chan struct{})
	for _, p := range r.proxies {
		c := p.HoldCommits()
		all = append(all, c)
		go func() {
			select {
			case <-c.Met:
				once.Do(func() { close(first) })
			case <-resumed:
			}
		}()
	}
	var resuming sync.Once
	resume = func(fail bool) {
		resuming.Do(func() {
			close(resumed)
			for _, c := range all {
				if fail {
					c.Cut()
				} else {
					c.Resume()
				}
			}
		})
	}
	r.t.Cleanup(func() { resume(true) })
	return first, resume
}

// failWrites has the server refuse statements, as if its disk were full: those that begin with a word, or all that change something.
func (r *replicated) failWrites(word string) (mend func()) {
	var all []func()
	for _, p := range r.proxies {
		all = append(all, p.FailStatements(word, diskFull, "could not extend file: No space left on device"))
	}
	return func() {
		for _, mend := range all {
			mend()
		}
	}
}

// low has the tables exceed their budget, and the server refuse new rows.
func (r *replicated) low() (mend func()) {
	check := func(bytes int64) {
		for _, j := range r.all {
			j.checkSpace(bytes)
		}
	}
	check(1) // no budget is configured
	full := r.failWrites("insert")
	return func() {
		full()
		check(0)
	}
}

// backup copies the tables of a journal into another schema. Each restored journal has a copy of its own.
func (r *replicated) backup(of journal.Journal) func() journal.Journal {
	j, ok := of.(*Journal)
	if !ok {
		r.t.Fatalf("a backup of %T", of)
	}
	saved := newSchema(r.t, r.cluster)
	if err := r.copySchema(j.cfg.Schema, saved); err != nil {
		r.t.Error(err)
	}
	return func() journal.Journal {
		restored := newSchema(r.t, r.cluster)
		if err := r.copySchema(saved, restored); err != nil {
			r.t.Error(err)
		}
		j, err := Open(context.Background(), r.config(restored, r.cluster.NewProxy(r.t)))
		if err != nil {
			r.t.Error(err)
			return nil
		}
		r.t.Cleanup(func() { _ = j.Close() })
		return j
	}
}

// copySchema copies all tables of a schema, as they are at one moment, as the role of clients.
func (r *replicated) copySchema(from, to string) error {
	ctx := context.Background()
	return pgx.BeginTxFunc(ctx, r.cluster.Admin(r.t), pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		made := []string{"set local role " + pgtest.User, "create schema " + to}
		files, err := fs.Glob(migrations, "schema/*.sql")
		for _, name := range files {
			text, err := migrations.ReadFile(name)
			if err != nil {
				return err
			}
			made = append(made, strings.ReplaceAll(string(text), "bridge.", to+"."))
		}
		if err != nil {
			return err
		}
		made = append(made, "truncate "+to+".upgrade") // it has a row
		rows, err := tx.Query(ctx, `select case when i.inhparent is null
				then format('insert into %2$I.%1$I select * from %3$I.%1$I', c.relname, $2::text, $1::text)
				else format('create table %2$I.%1$I partition of %2$I.%4$I ', c.relname, $2::text, $1::text, p.relname) || pg_get_expr(c.relpartbound, c.oid) end
			from pg_class c left join pg_inherits i on i.inhrelid = c.oid left join pg_class p on p.oid = i.inhparent
			where c.relnamespace = $1::text::regnamespace and c.relkind in ('r', 'p') order by i.inhparent is null`, from, to)
		if err != nil {
			return err
		}
		copied, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, sql := range append(made, copied...) {
			if err == nil {
				_, err = tx.Exec(ctx, sql)
			}
			if err != nil {
				return errors.Join(err, errors.New(sql))
			}
		}
		return err
	})
}
