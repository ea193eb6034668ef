package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
	"github.com/webhook-bridge/bridge/sinks"
)

// readTest is a log for the tests of readers. Its instances connect through proxies of their own.
type readTest struct {
	testing.TB
	cluster *pgtest.Cluster
	schema  string
	// log has the instances' messages.
	log  *messages
	made int
}

var schemas atomic.Int64

func newReadTest(tb testing.TB, cluster *pgtest.Cluster) *readTest {
	return &readTest{TB: tb, cluster: cluster, schema: fmt.Sprintf("reading_%d", schemas.Add(1)), log: new(messages)}
}

// open opens an instance, after changes to its configuration.
func (r *readTest) open(change ...func(*Config)) *Journal {
	r.Helper()
	cfg := Config{URL: r.cluster.URL(), Schema: r.schema, Logger: slog.New(slog.NewTextHandler(r.log, nil)), noRetention: true}
	for _, c := range change {
		c(&cfg)
	}
	j, err := Open(r.Context(), cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = j.Close() })
	return j
}

// seldom has an instance poll only when it is asked or woken.
func seldom(c *Config) { c.poll = time.Hour }

func by(p *pgtest.Proxy, c *pgtest.Cluster) func(*Config) {
	return func(cfg *Config) { cfg.URL = c.URLBy(p) }
}

// exec runs statements outside of the instances, without waiting for a standby: as a server shows them that was restarted.
func (r *readTest) exec(statements ...string) {
	r.Helper()
	for _, s := range statements {
		s = strings.ReplaceAll(s, "bridge.", r.schema+".")
		if _, err := r.cluster.Admin(r).Exec(context.Background(), "set synchronous_commit = local; "+s); err != nil {
			r.Fatalf("%s: %v", s, err)
		}
	}
}

// messages are the lines of a log.
type messages struct {
	mu    sync.Mutex
	lines []string
}

func (m *messages) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, string(b))
	return len(b), nil
}

// text returns all lines.
func (m *messages) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.lines, "")
}

// with returns how many lines have a text.
func (m *messages) with(text string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// eventually waits until something holds.
func (r *readTest) eventually(what string, holds func() bool) {
	r.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			r.Fatalf("not within 30 s: %s", what)
		}
	}
}

// began is when the first webhook was received.
var began = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// entry is a webhook with events.
func (r *readTest) entry(events int) journal.Entry {
	r.made++
	at := began.Add(time.Duration(r.made) * time.Second)
	id := uuid.MustParse(journal.IDAt(at))
	id[15] = byte(r.made)
	h := journal.Hash{byte(r.made), byte(r.made >> 8), 1}
	e := journal.Entry{
		Webhook: &journalv1.Webhook{
			Id: id.String(), Source: "source", Connector: "connector", VendorEvent: "event", ReceivedAt: timestamppb.New(at), Body: []byte("{}"),
		},
		Keys: []journal.Key{{Hash: h, Window: time.Hour}}, Bytes: h, Meaning: h,
	}
	for i := range events {
		encoded, err := proto.Marshal(&eventv1.Event{
			Id: fmt.Sprintf("%s/%d", id, i), Type: "type", WebhookId: id.String(), ReceivedAt: timestamppb.New(at),
		})
		if err != nil {
			r.Fatal(err)
		}
		e.Events = append(e.Events, encoded)
	}
	return e
}

// add appends a webhook with events.
func (r *readTest) add(j *Journal, events int) journal.Receipt {
	r.Helper()
	receipt, err := j.Append(r.Context(), r.entry(events))
	if err != nil {
		r.Fatal(err)
	}
	return receipt
}

// is ends the test unless an error is another one, which may be nil.
func (r *readTest) is(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// soon is a context for a call that should wait.
func (r *readTest) soon() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), 300*time.Millisecond)
	r.Cleanup(cancel)
	return ctx
}

// bounds ends the test unless an instance shows these.
func (r *readTest) bounds(j *Journal, earliest, next sinks.Position) {
	r.Helper()
	if got, want := j.Bounds(), (sinks.Bounds{Earliest: earliest, Next: next}); got != want {
		r.Fatalf("bounds %+v, want %+v", got, want)
	}
}

// listening counts the instances that listen.
func (r *readTest) listening() (n int) {
	r.Helper()
	err := r.cluster.Admin(r).QueryRow(r.Context(), `select count(*) from pg_stat_activity where query = 'listen ' || $1`, r.schema).Scan(&n)
	r.is("listening", err, nil)
	return n
}

// TestReaderWakes: an instance hears of another one's commits. It polls once an hour.
func TestReaderWakes(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	a, b := r.open(), r.open(seldom)
	// Until b listens, and a knows that it is not alone, announcements are lost.
	r.eventually("an instance hears of another one's commit", func() bool {
		r.add(a, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := b.Read(ctx, a.Bounds().Next-1, make([]sinks.Record, 0, 1))
		return err == nil
	})
	for range 20 {
		next := a.Bounds().Next
		r.add(a, 1)
		got, err := b.Read(t.Context(), next, make([]sinks.Record, 0, 10))
		if err != nil || len(got) != 1 || got[0].Position != next {
			t.Fatalf("%d events, %v", len(got), err)
		}
	}
}

// TestListenerCut: the session that listens is ended by the server. Polling goes on, and the instance listens again.
func TestListenerCut(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	a, b := r.open(), r.open()
	r.eventually("two instances listen", func() bool { return r.listening() == 2 })
	r.exec(`select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen ` + r.schema + `'`)
	r.add(a, 1)
	_, err := b.Read(t.Context(), 1, make([]sinks.Record, 0, 1))
	r.is("read", err, nil)
	r.eventually("they listen again", func() bool { return r.listening() == 2 && r.log.with("hears") == 2 })
	if r.log.with("does not hear") != 2 {
		t.Errorf("the log says: %s", r.log.text())
	}
}

// TestResolveLags: an instance that lags asks the database before it says that a mark is unknown, and then reads from there.
func TestResolveLags(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	a, b := r.open(), r.open(seldom, func(c *Config) { c.Replica = "b" })
	lagged := false
	for range 30 {
		r.add(a, 2)
		next := a.Bounds().Next
		lagged = lagged || b.Bounds().Next < next
		r.is("resolve", b.Resolve(t.Context(), a.Mark(next)), nil)
		if b.Bounds().Next < next {
			t.Fatalf("resolved %d, and the end is %d", next, b.Bounds().Next)
		}
		r.is("resolve past the end", b.Resolve(t.Context(), sinks.Mark{Position: next + 1}), sinks.ErrFuture)
		_, err := b.EventAt(t.Context(), next-1)
		r.is("event", err, nil)
		_, err = b.Read(t.Context(), next+1, make([]sinks.Record, 0, 1))
		r.is("read past the end", err, sinks.ErrFuture)
	}
	if !lagged {
		t.Error("the instance never lagged, so the test shows nothing")
	}
	c := r.open() // begins an epoch that b does not know
	r.add(c, 1)
	r.is("resolve in a new epoch", b.Resolve(t.Context(), c.Mark(c.Bounds().Next)), nil)
	m := c.Mark(c.Bounds().Next)
	m.Epoch ^= 1
	r.is("resolve of a foreign epoch", b.Resolve(t.Context(), m), sinks.ErrForked)
}

// TestUnconfirmed: a server that was restarted shows commits that no standby has. No reader shows them before a write of the instance is
// confirmed.
func TestUnconfirmed(t *testing.T) {
	r := newReadTest(t, pgtest.Start(t, pgtest.Options{Standbys: 1}))
	a, b := r.open(), r.open()
	e := r.entry(3)
	_, err := a.Append(t.Context(), e)
	r.is("append", err, nil)
	_, err = b.Read(t.Context(), 1, make([]sinks.Record, 0, 1))
	r.is("read", err, nil)
	r.cluster.Standby(0).StopReceiver(t)
	other := r.entry(1).Webhook.GetId()
	r.exec(fmt.Sprintf(`insert into bridge.event select next, last_commit, '\x%x'::bytea from bridge.log`, e.Events[0]),
		`insert into bridge.webhook select '`+other+`', next, 1, false, ''::bytea from bridge.log`,
		`update bridge.log set next = next + 1`)
	for i, j := range []*Journal{a, b} {
		_, err := j.Read(r.soon(), 4, make([]sinks.Record, 0, 1))
		r.is(fmt.Sprint("read at ", i), err, context.DeadlineExceeded)
		r.is("resolve", j.Resolve(r.soon(), sinks.Mark{Position: 5}), context.DeadlineExceeded)
		_, err = j.Webhook(r.soon(), other)
		r.is("webhook", err, context.DeadlineExceeded)
		_, err = j.Find(r.soon(), journal.Query{})
		r.is("find", err, context.DeadlineExceeded)
		r.bounds(j, 1, 4)
		_, err = j.EventAt(t.Context(), 3)
		r.is("an event that was shown", err, nil)
	}
	r.cluster.Standby(0).StartReceiver(t)
	for _, j := range []*Journal{a, b} {
		_, err := j.Read(t.Context(), 4, make([]sinks.Record, 0, 1))
		r.is("read", err, nil)
		w, err := j.Webhook(t.Context(), other)
		if err != nil || w.GetFirstPosition() != 4 {
			t.Fatalf("%v, %v", w, err)
		}
	}
}

// TestAnnounced: what another instance says to be confirmed is shown at once, and nothing behind it.
func TestAnnounced(t *testing.T) {
	r := newReadTest(t, pgtest.Start(t, pgtest.Options{Standbys: 1}))
	b := r.open(seldom)
	r.add(b, 1)
	r.eventually("it listens", func() bool { return r.listening() == 1 })
	r.cluster.Standby(0).StopReceiver(t)
	r.exec(`insert into bridge.event select 2 + n, 0, ''::bytea from generate_series(0, 9) n`, `update bridge.log set next = 12`)
	h := *b.tail.committedHead.Load()
	announce := func(h head) {
		r.exec(fmt.Sprintf("select pg_notify('%s', '%s')", r.schema, h.announcement()))
	}
	h.next = 8
	announce(h)
	r.eventually("the announced events are shown", func() bool { return b.Bounds().Next > 2 })
	r.bounds(b, 1, 8)
	h.next, h.now = 12, "another/00000001"
	announce(h)
	h.next, h.now = 1_000_000, b.tail.committedHead.Load().now
	r.exec(`select pg_notify('` + r.schema + `', 'nonsense')`)
	_, err := b.Read(r.soon(), 8, make([]sinks.Record, 0, 1))
	r.is("read of events that another server announced", err, context.DeadlineExceeded)
	r.bounds(b, 1, 8)
	announce(h)
	r.eventually("the rest is shown", func() bool { return b.Bounds().Next > 8 })
	r.bounds(b, 1, 12)
	r.cluster.Standby(0).StartReceiver(t)
}

// TestConfirmation: a write whose wait for the standby was ended confirms nothing, a row that was removed is added again, and a
// commit of the instance confirms too.
func TestConfirmation(t *testing.T) {
	r := newReadTest(t, pgtest.Start(t, pgtest.Options{Standbys: 1}))
	j := r.open()
	r.cluster.Standby(0).StopReceiver(t)
	failed := make(chan error, 10)
	for range cap(failed) {
		go func() { failed <- j.confirm(t.Context()) }()
	}
	var err error
	r.eventually("a caller learns that the wait was ended", func() bool {
		r.exec(`select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'`)
		select {
		case err = <-failed:
			return true
		default:
			return false
		}
	})
	r.is("confirm", err, journal.ErrUnavailable)
	r.cluster.Standby(0).StartReceiver(t)
	for n := range cap(failed) - 1 {
		if err := <-failed; err != nil && !errors.Is(err, journal.ErrUnavailable) {
			t.Errorf("caller %d: %v", n, err)
		}
	}
	r.exec(`delete from bridge.replica`)
	r.is("confirm", j.confirm(t.Context()), nil)
	var n int
	r.is("count", r.cluster.Admin(t).QueryRow(t.Context(), "select count(*) from "+r.schema+".replica").Scan(&n), nil)
	if n != 1 {
		t.Errorf("%d rows of the replica", n)
	}
}

// TestRounds: callers share rounds that began after they came.
func TestRounds(t *testing.T) {
	var r rounds
	r.init()
	first := r.join()
	if r.join() != first {
		t.Error("two callers before a round do not share it")
	}
	if !r.begin() {
		t.Error("no round begins")
	}
	second := r.join()
	if second == first {
		t.Error("a caller joined a round that had begun")
	}
	between := time.Now()
	third := r.join()
	if third != second {
		t.Error("two callers during a round do not share the next")
	}
	r.served(between) // covers the first, and not the last to join the second
	select {
	case <-first.done:
	default:
		t.Error("the first round is not served")
	}
	select {
	case <-second.done:
		t.Error("the second round is served, though a caller came later")
	default:
	}
	r.end(errUnconfirmed) // of the first, which has ended
	if first.err != nil {
		t.Errorf("the first round ended again: %v", first.err)
	}
	if !r.begin() {
		t.Error("the second round does not begin")
	}
	r.end(errUnconfirmed)
	<-second.done
	if second.err == nil || r.begin() {
		t.Error("the second round did not end, or another one begins")
	}
}

// TestDatabaseAway: bounds stay, reads wait, the log says so once, and everything goes on.
func TestDatabaseAway(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	p := r.cluster.NewProxy(t)
	a, b := r.open(), r.open(by(p, r.cluster))
	r.add(a, 1)
	_, err := b.Read(t.Context(), 1, make([]sinks.Record, 0, 1))
	r.is("read", err, nil)
	before := b.Bounds()
	p.Refuse()
	r.add(a, 1)
	r.eventually("it notices", func() bool { return b.tail.problem.Load() != nil })
	for range 3 {
		_, err = b.Read(r.soon(), 1, make([]sinks.Record, 0, 1))
		r.is("read of what was shown", err, context.DeadlineExceeded)
	}
	if err := b.Resolve(r.soon(), sinks.Mark{Position: 3}); err == nil || errors.Is(err, sinks.ErrFuture) {
		t.Errorf("resolve: %v", err)
	}
	if b.Bounds() != before {
		t.Errorf("bounds %+v", b.Bounds())
	}
	if b.Health().Problem == nil {
		t.Error("the health has no problem")
	}
	if n := r.log.with("readers wait"); n != 1 {
		t.Errorf("%d times: readers wait", n)
	}
	p.Accept()
	_, err = b.Read(t.Context(), 2, make([]sinks.Record, 0, 1))
	r.is("read", err, nil)
	r.eventually("the problem is gone", func() bool { return b.tail.problem.Load() == nil })
	if strings.Contains(r.log.text(), r.cluster.Password()) {
		t.Error("the log has the password")
	}
}

// TestLostInDatabase: the database was restored from an older copy under running instances. They say so, and refuse the marks of what was lost.
func TestLostInDatabase(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	a, b := r.open(), r.open()
	for range 5 {
		r.add(a, 1)
	}
	kept, lost := a.Mark(3), a.Mark(6)
	r.is("resolve", b.Resolve(t.Context(), lost), nil)
	r.exec(`update bridge.log set next = 3; delete from bridge.event where position >= 3`)
	r.eventually("both go back", func() bool { return a.Bounds().Next == 3 && b.Bounds().Next == 3 })
	r.is("resolve", b.Resolve(t.Context(), lost), sinks.ErrFuture)
	r.add(a, 4)
	for _, j := range []*Journal{a, b} {
		r.is("a mark of what was lost", j.Resolve(t.Context(), lost), sinks.ErrForked)
		r.is("a mark of what is there", j.Resolve(t.Context(), kept), nil)
		if j.lostEvents.Load() != 3 {
			t.Errorf("%d lost events are counted", j.lostEvents.Load())
		}
	}
	if r.log.with("lost events") < 2 {
		t.Error("the log does not say so")
	}
}

// TestRemovedMeanwhile: retention moves the limit and drops a partition while an instance lags: its readers never get a gap.
func TestRemovedMeanwhile(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	few := func(c *Config) { c.eventsPerPartition = 4 }
	a, b := r.open(few), r.open(few, seldom)
	for range 10 {
		r.add(a, 1)
	}
	r.is("resolve", b.Resolve(t.Context(), a.Mark(11)), nil)
	r.exec(`update bridge.log set kept = 6`, `drop table bridge.event_0`, `delete from bridge.event where position < 6`)
	got, err := b.Read(t.Context(), 2, make([]sinks.Record, 0, 10))
	r.is(fmt.Sprint("read ", len(got)), err, sinks.ErrExpired)
	_, err = b.EventAt(t.Context(), 2)
	r.is("event", err, sinks.ErrExpired)
	_, err = b.CommittedAt(t.Context(), 3)
	r.is("commit", err, sinks.ErrExpired)
	got, err = b.Read(t.Context(), 6, make([]sinks.Record, 0, 10))
	if err != nil || len(got) != 5 {
		t.Fatalf("%d events, %v", len(got), err)
	}
	r.bounds(b, 6, 11)
	p, err := b.Seek(t.Context(), time.Time{})
	if err != nil || p != 6 {
		t.Errorf("seek: %d, %v", p, err)
	}
}

// TestHole: an event that is missing is damage, which is reported behind the events before it.
func TestHole(t *testing.T) {
	r := newReadTest(t, pgtest.Shared(t))
	j := r.open()
	r.add(j, 6)
	r.exec(`delete from bridge.event where position = 4`, `update bridge.event set encoded = '\xff' where position = 6`)
	got, err := j.Read(t.Context(), 1, make([]sinks.Record, 0, 10))
	if err != nil || len(got) != 3 {
		t.Fatalf("%d events, %v", len(got), err)
	}
	for _, p := range []sinks.Position{4, 6} {
		_, err = j.Read(t.Context(), p, make([]sinks.Record, 0, 10))
		var damaged *sinks.DamagedError
		if !errors.As(err, &damaged) || damaged.Position != p {
			t.Errorf("position %d: %v", p, err)
		}
		_, err = j.EventAt(t.Context(), p)
		r.is("event", err, sinks.ErrDamaged)
	}
	r.exec(`update bridge.webhook set encoded = '\xff'`)
	_, err = j.Find(t.Context(), journal.Query{})
	r.is("find", err, sinks.ErrDamaged)
}

// TestOldPrimary: the primary that was replaced comes back alone, and the address leads to it. Nothing is read from it.
func TestOldPrimary(t *testing.T) {
	cluster := pgtest.Start(t, pgtest.Options{Standbys: 1})
	r := newReadTest(t, cluster)
	old := cluster.Primary()
	j := r.open(func(c *Config) { c.ReplicatedBy = ByStorage })
	r.add(j, 2)
	cluster.Promote(t, 0)
	r.eventually("appends work", func() bool {
		_, err := j.Append(t.Context(), r.entry(1))
		return err == nil
	})
	before := j.Bounds()
	cluster.Proxy.Forward(old.Addr())
	r.eventually("it notices", func() bool { return j.tail.problem.Load() != nil })
	_, err := j.Read(r.soon(), 1, make([]sinks.Record, 0, 10))
	r.is("read", err, context.DeadlineExceeded)
	_, err = j.Find(r.soon(), journal.Query{})
	if err == nil {
		t.Error("webhooks are read from the old primary")
	}
	if err := *j.tail.problem.Load(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("the problem is %v", err)
	}
	if j.Bounds() != before || j.lostEvents.Load() != 0 {
		t.Errorf("bounds %+v, %d lost", j.Bounds(), j.lostEvents.Load())
	}
	cluster.Proxy.Forward(cluster.Primary().Addr())
	_, err = j.Read(t.Context(), 1, make([]sinks.Record, 0, 10))
	r.is("read", err, nil)
}
