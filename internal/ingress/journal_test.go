package ingress

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/sinks"
)

// TestThroughTheJournal takes webhooks over HTTP into the real journal and reads back what is there.
func TestThroughTheJournal(t *testing.T) {
	j, err := pebble.Open(t.Context(), pebble.Config{Dir: "journal", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	in, err := intake.New(intake.Config{Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	edge, err := New(Config{Intake: in, Sources: testSources()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(edge)
	defer server.Close()
	send := func(path string, h http.Header, body []byte) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		for k, v := range h {
			r.Header[k] = v
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		return resp.StatusCode
	}

	shipment, order := sample(t, "retino", "shipping_ordered"), sample(t, "kasafik", "orders")
	revised := bytes.Replace(shipment, []byte("20210001"), []byte("20210002"), 1)
	var wg sync.WaitGroup
	for range 16 {
		for _, w := range []struct {
			path string
			h    http.Header
			body []byte
		}{
			{"/webhooks/returns", secretOf("returns"), shipment},
			{tillPath, nil, order},
			{"/webhooks/loyalty", secretOf("loyalty"), []byte(`{"type":"customer.updated","data":{"customerId":"c"}}`)},
			{"/webhooks/loyalty", secretOf("loyalty"), []byte(`{"type":"customer.updated","data":{"customerId":}}`)},
			{"/webhooks/erp/new", secretOf("erp"), []byte(`{"ID":"1"}`)},
		} {
			wg.Go(func() {
				if code := send(w.path, w.h, w.body); code != http.StatusOK {
					t.Errorf("%s: %d", w.path, code)
				}
			})
		}
	}
	wg.Wait()
	for range 2 {
		if code := send("/webhooks/returns", secretOf("returns"), revised); code != http.StatusOK {
			t.Errorf("revision: %d", code)
		}
	}

	records, err := j.Read(t.Context(), 1, make([]sinks.Record, 0, 100))
	if err != nil {
		t.Fatal(err)
	}
	types, ids := map[string]int{}, map[string]bool{}
	for _, r := range records {
		event, err := r.Event()
		if err != nil {
			t.Fatal(err)
		}
		types[event.GetType()]++
		ids[event.GetId()] = true
	}
	for name, want := range map[string]int{"shipment.ordered": 2, "order.changed": 1, "customer.updated": 1, "unmapped": 1} {
		if types[name] != want {
			t.Errorf("%d events of type %s, want %d", types[name], name, want)
		}
	}
	if len(records) != 5 || len(ids) != 5 {
		t.Errorf("%d events with %d ids: %v", len(records), len(ids), types)
	}

	// A journal that is closed is an internal error.
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if code := send("/webhooks/erp/other", secretOf("erp"), []byte(`{"ID":"2"}`)); code != http.StatusServiceUnavailable {
		t.Errorf("closed journal: %d", code)
	}
}

// TestBatchThroughTheJournal: the largest array is one commit of the real journal, also of several at the same time that hold
// the same webhooks, some of them revised.
func TestBatchThroughTheJournal(t *testing.T) {
	j, err := pebble.Open(t.Context(), pebble.Config{Dir: "journal", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	in, err := intake.New(intake.Config{Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	shop := source.Source{
		Connector: acme(), Name: "shop", Auth: source.Auth{Scheme: source.SchemeNone},
		Limits: source.Limits{Rate: 1000, Body: 4 * mebi, InFlight: 64 * mebi, Daily: 1 << 30},
	}
	edge, err := New(Config{Intake: in, Sources: []source.Source{shop}})
	if err != nil {
		t.Fatal(err)
	}
	post := func(body []byte) {
		w := httptest.NewRecorder()
		edge.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/webhooks/shop", bytes.NewReader(body)))
		if w.Code != http.StatusOK {
			t.Errorf("answer %d", w.Code)
		}
	}
	var all []string
	for i := range intake.MaxElements {
		all = append(all, fmt.Sprintf(`{"event_type":"new","n":%d}`, i))
	}
	post([]byte("[" + strings.Join(all, ",") + "]"))
	if got := j.Bounds().Next - j.Bounds().Earliest; got != intake.MaxElements {
		t.Fatalf("%d events", got)
	}
	// Eight arrays of the same facts, in two versions and two orders.
	var wg sync.WaitGroup
	for i := range 8 {
		some := make([]string, 0, 50)
		for n := range 50 {
			some = append(some, strings.Replace(shipment(fmt.Sprint("s", n)), "}}", fmt.Sprintf(`,"tracking_number":"%d"}}`, i%2), 1))
		}
		if i >= 4 {
			slices.Reverse(some)
		}
		wg.Go(func() { post([]byte("[" + strings.Join(some, ",") + "]")) })
	}
	wg.Wait()
	if got := j.Bounds().Next - j.Bounds().Earliest - intake.MaxElements; got != 100 {
		t.Errorf("%d events of fifty facts in two versions", got)
	}
	ids := map[string]bool{}
	records, err := j.Read(t.Context(), j.Bounds().Next-100, make([]sinks.Record, 0, 100))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		event, err := r.Event()
		if err != nil {
			t.Fatal(err)
		}
		ids[event.GetId()] = true
	}
	if len(ids) != 100 {
		t.Errorf("%d ids", len(ids))
	}
}
