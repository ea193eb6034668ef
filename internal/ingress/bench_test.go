package ingress

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// sink takes every entry for new and keeps none.
type sink struct{}

func (sink) Append(context.Context, journal.Entry) (journal.Receipt, error) {
	return journal.Receipt{First: 1}, nil
}

func (sink) AppendAll(_ context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	return make([]journal.Receipt, len(entries)), nil
}

// thrown is a ResponseWriter that keeps nothing but the status.
type thrown struct {
	header http.Header
	status int
}

func (w *thrown) Header() http.Header         { return w.header }
func (w *thrown) Write(b []byte) (int, error) { return len(b), nil }
func (w *thrown) WriteHeader(status int)      { w.status = status }

// BenchmarkIngest is the handler alone: from a parsed request to a webhook handed to a journal that does nothing.
func BenchmarkIngest(b *testing.B) {
	for _, bench := range []struct{ source, path, connector, sample string }{
		{"returns", "/webhooks/returns", "retino", "shipping_ordered"},
		{"till", "/webhooks/till/t/" + tillToken, "kasafik", "orders"},
		{"loyalty", "/webhooks/loyalty", "openloyalty", "transaction_registered"},
	} {
		b.Run(bench.connector, func(b *testing.B) {
			in, err := intake.New(intake.Config{Journal: sink{}})
			if err != nil {
				b.Fatal(err)
			}
			h, err := New(Config{Intake: in, Sources: testSources()})
			if err != nil {
				b.Fatal(err)
			}
			body := sample(b, bench.connector, bench.sample)
			r := httptest.NewRequest(http.MethodPost, bench.path, nil)
			r.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"vendor/1.0"}}
			for k, v := range secretOf(bench.source) {
				r.Header[k] = v
			}
			r.ContentLength = int64(len(body))
			w := &thrown{header: make(http.Header)}
			reader := bytes.NewReader(body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				r.Body = io.NopCloser(reader)
				h.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}

// BenchmarkVendors is the handler with what some vendors do: sign, number their webhooks in a header, send forms, or a hundred
// webhooks at once.
func BenchmarkVendors(b *testing.B) {
	one := shipment("s1")
	const forms = "application/x-www-form-urlencoded"
	for _, bench := range []struct{ name, contentType, body string }{
		{"json", "application/json", one},
		{"form", forms, "payload=" + url.QueryEscape(one)},
		{"hundred", "application/json", "[" + strings.Repeat(one+",", 99) + one + "]"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			in, err := intake.New(intake.Config{Journal: sink{}})
			if err != nil {
				b.Fatal(err)
			}
			src := source.Source{
				Connector: acme(), Name: "shop",
				Auth:               source.Auth{Scheme: source.SchemeHMAC, HMAC: &connectors.HMAC{Header: "X-Signature", Prefix: "v1="}, Values: secret.List(newSecret)},
				UnsignedDeliveryID: true,
			}
			h, err := New(Config{Intake: in, Sources: []source.Source{src}})
			if err != nil {
				b.Fatal(err)
			}
			body := []byte(bench.body)
			r := httptest.NewRequest(http.MethodPost, "/webhooks/shop", nil)
			r.Header = http.Header{
				"Content-Type": {bench.contentType}, "X-Acme-Id": {"id-1"}, "X-Signature": {mac(newSecret, bench.body)},
			}
			r.ContentLength = int64(len(body))
			w := &thrown{header: make(http.Header)}
			reader := bytes.NewReader(body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				r.Body = io.NopCloser(reader)
				h.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}
