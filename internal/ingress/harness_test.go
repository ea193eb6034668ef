package ingress

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/tools/txtar"

	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/connectors/kasafik"
	"github.com/webhook-bridge/bridge/connectors/linga"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/intake/intaketest"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// The secrets of the test sources. No log may ever show one.
const (
	retinoSecret = "retino-secret-new"
	retinoOld    = "retino-secret-old"
	tillToken    = "till-token-0123456789"
	loyaltyKey   = "loyalty-secret"
	posKey       = "pos-secret"
)

// book is a journal in memory. What it stores shares no memory with what it was given.
type book struct{ intaketest.Book }

func (b *book) all() []intaketest.Written { return b.All() }

func (b *book) last(t *testing.T) intaketest.Written {
	t.Helper()
	all := b.All()
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
