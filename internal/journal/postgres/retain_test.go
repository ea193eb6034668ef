package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// aged is a log whose clock the test moves.
type aged struct {
	*site
	ns atomic.Int64
	j  *Journal
}

func newAged(t *testing.T, change ...func(*Config)) *aged {
	t.Helper()
	a := &aged{site: newSite(t, pgtest.Shared(t))}
	a.ns.Store(time.Now().UnixNano())
	a.j = a.open(append([]func(*Config){func(c *Config) {
		c.now, c.noRetention, c.eventsPerPartition = a.now, true, 10
		c.Retention = Retention{Age: 24 * time.Hour, Size: -1, QuarantineAge: 48 * time.Hour, ParkedAge: time.Hour}
		c.DedupeAge = 48 * time.Hour
	}}, change...)...)
	return a
}

func (a *aged) now() time.Time          { return time.Unix(0, a.ns.Load()) }
func (a *aged) advance(d time.Duration) { a.ns.Add(int64(d)) }

// add appends webhooks with one event each, received now.
func (a *aged) add(n int) {
	event, err := proto.Marshal(&eventv1.Event{Id: "event", ReceivedAt: timestamppb.New(a.now())})
	if err != nil {
		a.tb.Fatal(err)
	}
	for range n {
		e := newEntry()
		e.Events[0] = event
		e.Webhook.Id, e.Webhook.ReceivedAt = idAfter(a.now(), e.Webhook.GetId()), timestamppb.New(a.now())
		appendTo(a.tb, a.j, e)
	}
}

// idAfter is an id of a time, with the random part of another id.
func idAfter(t time.Time, id string) string { return journal.IDAt(t)[:13] + id[13:] }

// retain runs as many passes as it takes to believe the clock.
func (a *aged) retain() {
	a.tb.Helper()
	for range 2 {
		if err := a.j.retain(context.Background()); err != nil {
			a.tb.Fatal(err)
		}
		a.advance(time.Minute)
	}
}

// partitions counts the partitions of a table that hold something, or are below what holds something.
func (a *aged) partitions(table string) int64 {
	return a.number(fmt.Sprintf(`select count(*) from pg_inherits where inhparent = 'bridge.%s'::regclass`, table))
}

// What is too old goes with its partition, and nothing of it is left.
func TestRetentionDropsPartitions(t *testing.T) {
	a := newAged(t)
	a.add(25)
	a.advance(24*time.Hour - time.Minute)
	a.add(7)
	before := a.partitions("webhook")
	a.advance(2 * time.Minute)
	a.retain()
	if b := a.j.Bounds(); b != (sinks.Bounds{Earliest: 26, Next: 33}) {
		t.Fatalf("bounds are %+v", b)
	}
	if n := a.number(`select coalesce(min(position), 0) from bridge.event`); n < 20 {
		t.Errorf("the first event in the table is at %d", n)
	}
	if n := a.number(`select count(*) from bridge.dedupe`); n != 32 {
		t.Errorf("%d keys are known", n)
	}
	a.advance(48 * time.Hour)
	a.retain()
	if b := a.j.Bounds(); b != (sinks.Bounds{Earliest: 33, Next: 33}) {
		t.Fatalf("bounds are %+v", b)
	}
	if after := a.partitions("webhook"); after > before+3 {
		t.Errorf("%d partitions of webhooks, before there were %d", after, before)
	}
	for _, table := range []string{"webhook", "dedupe"} {
		if n := a.number(`select count(*) from bridge.` + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	if n := a.number(`select count(*) from pg_class where relnamespace = to_regnamespace('` + a.schema + `') and relkind = 'r'
		and relname ~ '_[0-9]+$' and not relispartition`); n != 0 {
		t.Errorf("%d tables are left of partitions", n)
	}
	a.add(1)
	if b := a.j.Bounds(); b.Next != 34 {
		t.Errorf("bounds are %+v", b)
	}
}

// The oldest partitions go while the log is too large, as far as readers allow.
func TestRetentionBySize(t *testing.T) {
	a := newAged(t, func(c *Config) { c.Retention = Retention{Age: -1, Size: 1, QuarantineAge: -1, ParkedAge: -1} })
	if err := a.j.Register(t.Context(), "reader", 15, journal.Hold); !errors.Is(err, sinks.ErrFuture) {
		t.Fatal(err)
	}
	a.add(35)
	if err := a.j.Register(t.Context(), "reader", 15, journal.Hold); err != nil {
		t.Fatal(err)
	}
	a.retain()
	if b := a.j.Bounds(); b.Earliest != 15 {
		t.Fatalf("bounds are %+v, and a reader stands at 15", b)
	}
	if err := a.j.MoveTo(t.Context(), "reader", 35); err != nil {
		t.Fatal(err)
	}
	a.retain()
	if b := a.j.Bounds(); b.Earliest != 30 {
		t.Fatalf("bounds are %+v; the partition that is written to begins at 30", b)
	}
	if n := a.number(`select min(position) from bridge.event`); n != 30 {
		t.Errorf("the first event in the table is at %d", n)
	}
}

// Readers go on while partitions are detached, and a detachment that was interrupted is finished.
func TestRetentionUnderReaders(t *testing.T) {
	a := newAged(t)
	a.add(40)
	a.advance(25 * time.Hour)
	a.add(5)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for p := sinks.Position(1); ; {
				select {
				case <-stop:
					return
				default:
				}
				got, err := a.j.Read(t.Context(), p, make([]sinks.Record, 0, 4))
				switch {
				case errors.Is(err, sinks.ErrExpired):
					p = a.j.Bounds().Earliest
					continue
				case err != nil:
					t.Errorf("read at %d: %v", p, err)
					return
				}
				if p = got[len(got)-1].Position + 1; p > 45 {
					p = 1
				}
			}
		})
	}
	a.retain()
	close(stop)
	wg.Wait()
	if b := a.j.Bounds(); b.Earliest != 41 {
		t.Errorf("bounds are %+v", b)
	}
}

// Instances that miss the same partitions make them once.
func TestPartitionsAreRaced(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	small := func(c *Config) { c.noRetention, c.eventsPerPartition = true, 10 }
	both := []*Journal{s.open(small), s.open(small)}
	today := time.Now()
	for round := range 5 {
		var wg sync.WaitGroup
		for _, j := range both {
			for range 3 {
				wg.Go(func() {
					days := []time.Time{today.AddDate(0, 0, round), today.AddDate(0, 0, round+1)}
					if err := j.ensurePartitions(t.Context(), sinks.Position(20*round+1), days); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
		}
		wg.Wait()
	}
	if n := s.number(`select count(*) from pg_inherits where inhparent = 'bridge.event'::regclass`); n < 10 {
		t.Errorf("%d partitions of events", n)
	}
}

// One instance runs retention, which makes partitions ahead. When it ends, another one does.
func TestRetentionRunsAtOneInstance(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	both := []*Journal{s.open(), s.open()}
	owner := func() (i int64) {
		return s.number(fmt.Sprintf(`select coalesce((select case owner when '%s' then 1 when '%s' then 2 end
			from bridge.reader where name = '%s'), 0)`, both[0].replica, both[1].replica, retentionClaim))
	}
	await(t, "an instance runs retention", func() bool { return owner() > 0 })
	await(t, "partitions are made ahead", func() bool {
		return s.number(`select count(*) from pg_inherits where inhparent = 'bridge.quarantined'::regclass`) > partitionsAhead
	})
	first := owner()
	if err := both[first-1].Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the other instance runs retention", func() bool { return owner() == 3-first })
}

// An instance that lost the lease moves no limit.
func TestRetentionIsFenced(t *testing.T) {
	a := newAged(t)
	a.add(5)
	a.advance(25 * time.Hour)
	c := claimOf(t, a.j, retentionClaim)
	var r retention
	if err := a.j.retainOnce(t.Context(), c, &r); err != nil {
		t.Fatal(err)
	}
	a.advance(time.Minute)
	a.cluster.Exec(t, fmt.Sprintf("update %s.reader set claim = claim + 1 where name = '%s'", a.schema, retentionClaim))
	if err := a.j.retainOnce(t.Context(), c, &r); !errors.Is(err, journal.ErrLost) {
		t.Errorf("a pass without the lease: %v", err)
	}
	if n := a.number(`select kept from bridge.log`); n != 1 {
		t.Errorf("the limit is at %d", n)
	}
}

// Webhooks are refused while the tables have more than the budget.
func TestBudget(t *testing.T) {
	a := newAged(t, func(c *Config) { c.Budget = 1 })
	a.add(1)
	bytes, err := a.j.measure(t.Context())
	if err != nil || bytes < 1<<13 {
		t.Fatalf("%d bytes, %v", bytes, err)
	}
	a.j.checkSpace(bytes)
	if _, err := a.j.Append(t.Context(), newEntry()); !errors.Is(err, journal.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	a.j.checkSpace(0)
	a.add(1)
}
