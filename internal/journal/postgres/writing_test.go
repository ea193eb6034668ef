package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// patience bounds everything that a test waits for.
const patience = 60 * time.Second

// logs collects log records, and makes them the test's.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// site is a log in a schema of its own.
type site struct {
	tb      testing.TB
	cluster *pgtest.Cluster
	schema  string
	logs    logs
}

func newSite(tb testing.TB, c *pgtest.Cluster) *site {
	tb.Helper()
	id := strings.ReplaceAll(uuid.NewString(), "-", "")
	s := &site{tb: tb, cluster: c, schema: "t" + id}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(s.logs.String())
		}
		if strings.Contains(s.logs.String(), c.Password()) {
			tb.Error("the password is in the log")
		}
	})
	return s
}

// config is that of an instance at a proxy.
func (s *site) config(url string) Config {
	return Config{URL: url, Schema: s.schema, Logger: slog.New(slog.NewTextHandler(&s.logs, nil))}
}

// open opens an instance until the test ends.
func (s *site) open(change ...func(*Config)) *Journal {
	s.tb.Helper()
	cfg := s.config(s.cluster.URL())
	for _, f := range change {
		f(&cfg)
	}
	j, err := Open(context.Background(), cfg)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { _ = j.Close() })
	return j
}

func random(b []byte) { _, _ = rand.Read(b) }

var body = bytes.Repeat([]byte("a body of a webhook, of which there are many; "), 10)

// newEntry returns a webhook with one event, which equals no other.
func newEntry() journal.Entry {
	e := journal.Entry{
		Webhook: &journalv1.Webhook{
			Id: uuid.Must(uuid.NewV7()).String(), Source: "source", Connector: "connector", ReceivedAt: timestamppb.Now(), Body: body,
		},
		Events: [][]byte{append([]byte{0xfa, 0x01, 0xe0, 0x03}, body...)},
		Keys:   []journal.Key{{Window: time.Hour}},
	}
	random(e.Keys[0].Hash[:])
	random(e.Bytes[:])
	random(e.Meaning[:])
	return e
}

func hash(n int) (h journal.Hash) {
	binary.BigEndian.PutUint64(h[:], uint64(n))
	return h
}

func appendTo(tb testing.TB, j *Journal, e journal.Entry) journal.Receipt {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := j.Append(ctx, e)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// appendUntil appends until that succeeds.
func appendUntil(tb testing.TB, j *Journal, e journal.Entry) journal.Receipt {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		r, err := j.Append(ctx, e)
		if err == nil {
			return r
		}
		if ctx.Err() != nil {
			tb.Fatal(err)
		}
	}
}

// await waits until done is true.
func await(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-deadline:
			tb.Fatalf("%s: not within %v", what, patience)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// number reads one number from the log's tables.
func (s *site) number(query string) (n int64) {
	s.tb.Helper()
	query = strings.ReplaceAll(query, "bridge.", s.schema+".")
	if err := s.cluster.Admin(s.tb).QueryRow(context.Background(), query).Scan(&n); err != nil {
		s.tb.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestRacedWebhooksAreOneEach(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	instances := []*Journal{s.open(), s.open()}
	entries := make([]journal.Entry, 400)
	for i := range entries {
		entries[i] = newEntry()
	}
	var mu sync.Mutex
	won := make(map[int]int)
	positions := make(map[uint64]bool)
	var calls sync.WaitGroup
	for _, j := range instances {
		for i := range entries {
			calls.Go(func() {
				r, err := j.Append(t.Context(), entries[i])
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					t.Error(err)
				case !r.Duplicate:
					won[i]++
					positions[uint64(r.First)] = true
				}
			})
		}
	}
	calls.Wait()
	for i := range entries {
		if won[i] != 1 {
			t.Errorf("webhook %d was new %d times", i, won[i])
		}
	}
	for p := range entries {
		if !positions[uint64(p+1)] {
			t.Errorf("position %d was not assigned", p+1)
		}
	}
	if n := s.number(`select count(*) from bridge.event`); n != int64(len(entries)) {
		t.Errorf("%d events are stored", n)
	}
}

func TestLostAnswerOfCommit(t *testing.T) {
	c := pgtest.Shared(t)
	s, proxy := newSite(t, c), c.NewProxy(t)
	j := s.open(func(cfg *Config) { cfg.URL = c.URLBy(proxy) })
	appendTo(t, j, newEntry())
	e := newEntry()
	swallowed := proxy.SwallowCommit("insert into " + s.schema + ".event ")
	if _, err := j.Append(t.Context(), e); err == nil {
		t.Fatal("the append succeeded without an answer to COMMIT")
	}
	<-swallowed.Met
	swallowed.Resume()
	if r := appendUntil(t, j, e); !r.Duplicate {
		t.Errorf("the retry got %+v; want a duplicate", r)
	}
}

func TestTextsThatTheDatabaseCannotHold(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open()
	e := newEntry()
	e.Versions = []journal.Version{{Subject: hash(1), Text: "2\x00\xff", Window: time.Hour}}
	e.Webhook.Drift = []*journalv1.Drift{{Kind: journalv1.DriftKind_DRIFT_KIND_UNKNOWN, Path: "a\x00b", Sample: []byte{0, 0xff}}}
	e.Webhook.VendorEvent = "\x00"
	appendTo(t, j, e)
	e = newEntry()
	e.Versions = []journal.Version{{Subject: hash(1), Text: "1", Window: time.Hour}}
	if r := appendTo(t, j, e); r.Stale != 1 {
		t.Errorf("an older version got %+v; want a stale event", r)
	}
}

func TestDaysAndPositionsWithoutPartitions(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	j := s.open(func(cfg *Config) { cfg.eventsPerPartition = 3 })
	for day := range 4 {
		for range 4 {
			e := newEntry()
			id := uuid.MustParse(journal.IDAt(time.Now().AddDate(0, 0, -10*day)))
			random(id[9:])
			e.Webhook.Id = id.String()
			appendTo(t, j, e)
		}
	}
	if n := s.number(`select count(*) from bridge.webhook`); n != 16 {
		t.Errorf("%d webhooks are stored", n)
	}
	if n := s.number(`select max(position) from bridge.event`); n != 16 {
		t.Errorf("the last position is %d", n)
	}
}

func TestDriftIsCountedOnceByAllInstances(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	instances := []*Journal{s.open(), s.open()}
	var calls sync.WaitGroup
	const webhooks = 300
	for i := range webhooks {
		e := newEntry()
		for k := range 3 {
			e.Webhook.Drift = append(e.Webhook.Drift, &journalv1.Drift{
				Kind: journalv1.DriftKind_DRIFT_KIND_UNKNOWN, Path: fmt.Sprintf("field%d", (3*i+k)%(maxDrifts+100)),
			})
		}
		for _, j := range instances {
			calls.Go(func() {
				if _, err := j.Append(t.Context(), e); err != nil {
					t.Error(err)
				}
			})
		}
	}
	calls.Wait()
	if n := s.number(`select count(*) from bridge.drift where path <> ''`); n != maxDrifts {
		t.Errorf("%d kinds have a count of their own; want %d", n, maxDrifts)
	}
	// 900 were seen. Of a webhook with several that are counted by their kind alone one is counted.
	own, others := s.number(`select sum(count)::bigint from bridge.drift where path <> ''`), s.number(`select sum(count)::bigint from bridge.drift where path = ''`)
	if own < maxDrifts || others == 0 || own+others > 3*webhooks || own+3*others < 3*webhooks {
		t.Errorf("%d and %d are counted", own, others)
	}
}

func TestClockPutBackBeginsAnEpoch(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	c := new(clock)
	c.ns.Store(time.Now().UnixNano())
	step := func(d time.Duration) { c.ns.Add(int64(d)) }
	j := s.open(func(cfg *Config) { cfg.now = c.now })
	first := newEntry()
	appendTo(t, j, first)
	epochs := s.number(`select count(*) from bridge.epoch`)
	step(-500 * time.Millisecond)
	appendTo(t, j, newEntry())
	if n := s.number(`select count(*) from bridge.epoch`); n != epochs {
		t.Errorf("half a second began an epoch")
	}
	step(-time.Hour)
	if r := appendTo(t, j, first); !r.Duplicate {
		t.Errorf("the first webhook got %+v", r)
	}
	if n := s.number(`select count(*) from bridge.epoch`); n != epochs+1 {
		t.Errorf("an hour began %d epochs", n-epochs)
	}
	step(time.Hour - time.Second) // its window began when the clock was put back
	if r := appendTo(t, j, first); !r.Duplicate {
		t.Errorf("the first webhook got %+v, before its window ended", r)
	}
	step(2 * time.Second)
	if r := appendTo(t, j, first); r.Duplicate {
		t.Errorf("the first webhook got %+v, after its window ended", r)
	}
}

func TestContentsOutliveAClockThatIsAhead(t *testing.T) {
	s := newSite(t, pgtest.Shared(t))
	c := new(clock)
	c.ns.Store(time.Now().UnixNano())
	j := s.open(func(cfg *Config) { cfg.now = c.now })
	first, second := newEntry(), newEntry()
	second.Keys = first.Keys
	appendTo(t, j, first)
	c.ns.Add(int64(2 * time.Hour))
	if r := appendTo(t, j, second); r.Revised || r.Duplicate {
		t.Errorf("after the window the second content got %+v", r)
	}
	c.ns.Add(-int64(2 * time.Hour))
	if r := appendTo(t, j, first); !r.Duplicate {
		t.Errorf("the first content got %+v once the clock was right again", r)
	}
}
