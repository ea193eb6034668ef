package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/ingress"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/sinks"
)

// edge is Bridge as it runs, from the HTTP request to a journal in memory. It is not safe for concurrent use.
type edge struct {
	kit     *kit
	scheme  scheme
	handler http.Handler
	journal *pebble.Journal
	// tap notes what the journal adds.
	tap *tap
	// now is the journal's time, in nanoseconds since 1970. The journal asks at moments of its own.
	now atomic.Int64
}

// path of the only source.
const path = "/webhooks/kit"

// open starts a Bridge with one source of connector c, whose senders prove themselves by scheme with any of the secrets. The
// caller closes it.
func (k *kit) openEdge(ctx context.Context, c *connectors.Connector, s scheme, secrets ...string) (e *edge, err error) {
	e = &edge{kit: k, scheme: s}
	e.now.Store(time.Now().UnixNano())
	e.journal, err = pebble.Open(ctx, pebble.Config{
		Dir: "journal", FS: vfs.NewMem(), Now: func() time.Time { return time.Unix(0, e.now.Load()) },
		Interval: 1000 * time.Hour, Retention: pebble.Retention{Age: -1, Size: -1, QuarantineAge: -1},
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	e.tap = &tap{Journal: e.journal}
	config := intake.Config{Journal: e.tap}
	if k.journal != nil {
		config.Journal = k.journal(e.tap)
	}
	in, err := intake.New(config)
	if err != nil {
		return e, err
	}
	src := source.Source{Name: "kit", Connector: c, Currency: k.source.Currency, Zone: k.source.Zone, Auth: s.auth(secrets)}
	if c.NeedsCurrency && src.Currency == "" {
		src.Currency = "EUR" // Whether it needs one is another rule's matter.
	}
	e.handler, err = ingress.New(ingress.Config{Intake: in, Sources: []source.Source{src}})
	return e, err
}

func (e *edge) close() error { return e.journal.Close() }

// wait lets time pass.
func (e *edge) wait(d time.Duration) { e.now.Add(int64(d)) }

// request is a webhook as its vendor sends it, without what proves that it is the vendor's.
func (e *edge) request(w sample.Webhook) *http.Request {
	to := path
	if w.Event != "" {
		to += "/" + url.PathEscape(w.Event)
	}
	r := httptest.NewRequest(http.MethodPost, to, bytes.NewReader(w.Body))
	for name, values := range w.Header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", w.ContentType)
	return r
}

// send posts a webhook as whoever knows the secret, and returns what was stored of it. Any answer but the connector's is an
// error.
func (e *edge) send(w sample.Webhook, secret string) ([]stored, error) {
	r := e.request(w)
	e.scheme.prove(r, w.Body, secret)
	status, body, added, err := e.do(r)
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK || body != e.kit.connector.Answer:
		return nil, fmt.Errorf("answer %d %q", status, body)
	}
	return added, nil
}

// do sends any request.
func (e *edge) do(r *http.Request) (status int, body string, added []stored, err error) {
	e.tap.added = nil
	w := httptest.NewRecorder()
	e.handler.ServeHTTP(w, r)
	for _, a := range e.tap.added {
		s, err := e.read(r.Context(), a)
		if err != nil {
			return 0, "", nil, err
		}
		added = append(added, s)
	}
	return w.Code, w.Body.String(), added, nil
}

// stored is a webhook in the journal, and its events.
type stored struct {
	webhook *journalv1.Webhook
	events  []*eventv1.Event
}

func (s stored) ids() (ids []string) {
	ids = append(ids, s.webhook.GetId())
	for _, e := range s.events {
		ids = append(ids, e.GetId())
	}
	return ids
}

// read finds in the journal what it said it added.
func (e *edge) read(ctx context.Context, a addition) (s stored, err error) {
	if s.webhook, err = e.journal.Webhook(ctx, a.id); err != nil || a.events == 0 {
		return s, err
	}
	records, err := e.journal.Read(ctx, a.first, make([]sinks.Record, 0, a.events))
	if err != nil {
		return s, err
	}
	for _, r := range records {
		event, err := r.Event()
		if err != nil {
			return s, err
		}
		s.events = append(s.events, event)
	}
	if len(s.events) != a.events {
		return s, fmt.Errorf("%d of %d events can be read", len(s.events), a.events)
	}
	return s, nil
}

// addition is an entry that the journal added.
type addition struct {
	id     string
	first  sinks.Position
	events int
}

// tap is the journal, and notes what was added through it.
type tap struct {
	*pebble.Journal

	added []addition
}

func (t *tap) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	r, err := t.Journal.Append(ctx, e)
	if err == nil {
		t.note(e, r)
	}
	return r, err
}

func (t *tap) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	receipts, err := t.Journal.AppendAll(ctx, entries)
	for i, r := range receipts {
		t.note(entries[i], r)
	}
	return receipts, err
}

func (t *tap) note(e journal.Entry, r journal.Receipt) {
	if !r.Duplicate {
		t.added = append(t.added, addition{e.Webhook.GetId(), r.First, len(e.Events)})
	}
}
