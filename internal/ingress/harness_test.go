package ingress

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/sinks"
)

// The secrets of the test sources. No log may ever show one.
const (
	retinoSecret = "retino-secret-new"
	retinoOld    = "retino-secret-old"
	tillToken    = "till-token-0123456789"
	loyaltyKey   = "loyalty-secret"
	posKey       = "pos-secret"
)

// book is a journal in memory. What it keeps shares no memory with what it was given.
type book struct {
	// before, if set, is called with each append's context before anything is kept. Its error is the append's.
	before func(ctx context.Context) error

	mu      sync.Mutex
	entries []written
	keys    map[journal.Hash]journal.Hash
	commits int
}

func (b *book) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	receipts, err := b.AppendAll(ctx, []journal.Entry{e})
	if err != nil {
		return journal.Receipt{}, err
	}
	return receipts[0], nil
}

func (b *book) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	if b.before != nil {
		if err := b.before(ctx); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	keys, kept := maps.Clone(b.keys), b.entries
	if keys == nil {
		keys = make(map[journal.Hash]journal.Hash)
	}
	receipts := make([]journal.Receipt, len(entries))
	var revised pebble.RevisedError
	for i, e := range entries {
		known, ok := keys[e.Keys[0].Hash]
		switch {
		case ok && known != e.Bytes:
			revised.Entries = append(revised.Entries, i)
		case ok:
			receipts[i].Duplicate = true
		default:
			keys[e.Keys[0].Hash] = e.Bytes
			kept = append(kept, newWritten(e))
			receipts[i].First = sinks.Position(len(kept))
		}
	}
	if revised.Entries != nil {
		return nil, &revised
	}
	b.keys, b.entries = keys, kept
	b.commits++
	return receipts, nil
}

// written is an entry as the journal added it, with its events decoded.
type written struct {
	journal.Entry

	Events []*eventv1.Event
	// Window is that of the first key.
	Window time.Duration
}

func newWritten(e journal.Entry) written {
	w := written{Entry: e, Window: e.Keys[0].Window}
	w.Webhook = proto.CloneOf(e.Webhook)
	w.Webhook.Body = bytes.Clone(e.Webhook.GetBody())
	for _, encoded := range e.Events {
		event := &eventv1.Event{}
		if err := proto.Unmarshal(encoded, event); err != nil {
			panic(err)
		}
		w.Events = append(w.Events, event)
	}
	return w
}

func (b *book) all() []written {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]written(nil), b.entries...)
}

func (b *book) last(t *testing.T) written {
	t.Helper()
	all := b.all()
	if len(all) == 0 {
		t.Fatal("nothing was stored")
	}
	return all[len(all)-1]
}

// edge is an Ingress with one source of every vendor, over a book.
type edge struct {
	*Ingress
	book     *book
	registry *prometheus.Registry
	log      *syncBuffer
}

func newEdge(tb testing.TB, change ...func(*Config)) *edge {
	tb.Helper()
	e := &edge{book: &book{}, registry: prometheus.NewRegistry(), log: &syncBuffer{}}
	logger := slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	in, err := intake.New(intake.Config{Journal: e.book, Logger: logger, Registerer: e.registry})
	if err != nil {
		tb.Fatal(err)
	}
	c := Config{Intake: in, Sources: testSources(), Logger: logger, Registerer: e.registry}
	for _, f := range change {
		f(&c)
	}
	if e.Ingress, err = New(c); err != nil {
		tb.Fatal(err)
	}
	return e
}

func testSources() []source.Source {
	return []source.Source{
		{
			Name: "returns", Connector: retino.New(), GRPC: true,
			Auth:        source.Auth{Scheme: source.SchemeHeader, Header: "X-Retino-Secret", Values: secret.List(retinoSecret, retinoOld)},
			KeepHeaders: []string{"X-Request-Id"},
		},
		{Name: "till", Connector: kasafik.New(), GRPC: true, Auth: source.Auth{Scheme: source.SchemePathToken, Values: secret.List(tillToken)}},
		{
			Name: "loyalty", Connector: openloyalty.New(), Currency: "EUR",
			Auth: source.Auth{Scheme: source.SchemeHeader, Header: "X-Loyalty-Token", Values: secret.List(loyaltyKey)},
		},
		{Name: "erp", Connector: dealpos.New(), Currency: "IDR", Zone: time.UTC, Auth: source.Auth{Scheme: source.SchemeHeader, Header: "X-API-Key", Values: secret.List(posKey)}},
		{Name: "diner", Connector: linga.New(), Currency: "USD", Zone: time.UTC, Auth: source.Auth{Scheme: source.SchemeHeader, Header: "X-API-Key", Values: secret.List(posKey)}},
		{Name: "public", Connector: retino.New(), Auth: source.Auth{Scheme: source.SchemeNone}, Reject: true},
	}
}

// only leaves one source, changed.
func only(name string, change func(*source.Source)) func(*Config) {
	return func(c *Config) {
		for _, s := range c.Sources {
			if s.Name == name {
				change(&s)
				c.Sources = []source.Source{s}
				return
			}
		}
	}
}

// secretOf is the header with the source's secret; nil if the path has it or there is none.
func secretOf(source string) http.Header {
	switch source {
	case "returns":
		return http.Header{"X-Retino-Secret": {retinoSecret}}
	case "loyalty":
		return http.Header{"X-Loyalty-Token": {loyaltyKey}}
	case "erp", "diner":
		return http.Header{"X-Api-Key": {posKey}}
	}
	return nil
}

// post sends one webhook with the given headers.
func (e *edge) post(path string, h http.Header, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for k, v := range h {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

// value reads a metric by the values of its labels, in the order of their names.
func (e *edge) value(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := e.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for i, l := range m.GetLabel() {
				if i >= len(labels) || l.GetValue() != labels[i] {
					continue series
				}
			}
			return m.GetCounter().GetValue()
		}
	}
	return 0
}

// sample is a webhook of a connector's testdata.
func sample(tb testing.TB, connector, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "connectors", connector, "testdata", name+".txtar"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range txtar.Parse(data).Files {
		if f.Name == "body.json" {
			return bytes.TrimSuffix(f.Data, []byte("\n"))
		}
	}
	tb.Fatalf("%s/%s has no body.json", connector, name)
	return nil
}

// explosive is a body that must not be read.
type explosive struct{ t *testing.T }

func (b explosive) Read([]byte) (int, error) {
	b.t.Error("the body was read")
	return 0, io.EOF
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func reasonOf(w *journalv1.Webhook) string { return w.GetQuarantine().GetReason() }
