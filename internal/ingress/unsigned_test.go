package ingress

import (
	"bytes"
	"compress/flate"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/dealpos"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// bodySigned signs nothing but the body.
func bodySigned() source.Auth {
	return source.Auth{
		Scheme: source.SchemeHMAC, Values: secret.List(newSecret), HMAC: &connectors.HMAC{Header: "X-Signature", Prefix: "v1="},
	}
}

func signedBody(body []byte, more ...string) http.Header {
	h := http.Header{"X-Signature": {mac(newSecret, string(body))}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// TestCapturedWebhookIsNoOtherEvent: a captured webhook is refused or quarantined under another event's name, wherever the
// name is.
func TestCapturedWebhookIsNoOtherEvent(t *testing.T) {
	t.Run("name in the URL", func(t *testing.T) {
		erp := source.Source{Name: "shop", Connector: dealpos.New(), Currency: "IDR", Zone: time.UTC, Auth: bodySigned()}
		if _, err := New(Config{Sources: []source.Source{erp}}); err == nil || !strings.Contains(err.Error(), "unsigned_event_name: true") {
			t.Errorf("a signature that does not cover the name: %v", err)
		}
		erp.Auth.HMAC.Signed = "{path}{body}"
		e := newEdge(t, func(c *Config) { c.Sources = []source.Source{erp} })
		body := []byte(`{"ID":"1","Number":"P1"}`)
		captured := http.Header{"X-Signature": {mac(newSecret, "/webhooks/shop/paymentCreated", string(body))}}
		for path, want := range map[string]int{
			"/webhooks/shop/paymentDeleted": 401, "/webhooks/shop": 401, "/webhooks/shop/payment%43reated": 401, "/webhooks/shop/paymentCreated/": 401,
			"/webhooks/shop/paymentCreated": 200,
		} {
			if w := e.post(path, captured, body); w.Code != want {
				t.Errorf("%s: %d, want %d", path, w.Code, want)
			}
		}
	})
	unnamed := []byte(`{"created_at":"2023-01-23T10:28:10.010Z","shipping":{"id":"s1"}}`)
	named := []byte(shipment("s1"))
	for _, tt := range []struct {
		name, path string
		permitted  bool
		body       []byte
		h          http.Header
		want       string
	}{
		{"the body names it", "/webhooks/shop", false, named, signedBody(named), "shipping.ordered shipment/s1"},
		{"the URL agrees", "/webhooks/shop/shipping.ordered", false, named, signedBody(named), "shipping.ordered shipment/s1"},
		{"the URL contradicts", "/webhooks/shop/shipping.dropped_off", false, named, signedBody(named), "shipping.ordered event_mismatch"},
		{"only the URL names it", "/webhooks/shop/shipping.ordered", false, unnamed, signedBody(unnamed), "shipping.ordered unsigned_name"},
		{"only a header names it", "/webhooks/shop", false, unnamed, signedBody(unnamed, "X-Acme-Event", "shipping.ordered"), "shipping.ordered unsigned_name"},
		{
			"URL and header agree", "/webhooks/shop/shipping.ordered", false, unnamed, signedBody(unnamed, "X-Acme-Event", "shipping.ordered"),
			"shipping.ordered unsigned_name",
		},
		{"none names it", "/webhooks/shop", false, unnamed, signedBody(unnamed), " no_event"},
		{"it is permitted", "/webhooks/shop/shipping.ordered", true, unnamed, signedBody(unnamed), "shipping.ordered shipment/s1"},
		{"in an array", "/webhooks/shop/shipping.ordered", false, []byte("[" + string(unnamed) + "]"), signedBody([]byte("[" + string(unnamed) + "]")), "shipping.ordered unsigned_name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t, func(s *source.Source) {
				s.Auth, s.UnsignedDeliveryID, s.UnsignedEventName = bodySigned(), true, tt.permitted
			})
			if w := e.post(tt.path, tt.h, tt.body); w.Code != http.StatusOK {
				t.Fatalf("answer %d", w.Code)
			}
			wantStored(t, e, tt.want)
		})
	}
}

// TestSignedEventHeader: a header that the signature covers names the event, and an URL can only contradict it.
func TestSignedEventHeader(t *testing.T) {
	unnamed := []byte(`{"created_at":"2023-01-23T10:28:10.010Z","shipping":{"id":"s1"}}`)
	h := http.Header{"X-Signature": {mac(newSecret, "shipping.ordered", "\n", string(unnamed))}, "X-Acme-Event": {"shipping.ordered"}}
	for path, want := range map[string]string{
		"/webhooks/shop":                      "shipping.ordered shipment/s1",
		"/webhooks/shop/shipping.dropped_off": "shipping.dropped_off event_mismatch",
	} {
		e := newShop(t, func(s *source.Source) {
			s.Connector.EventField = ""
			s.Auth, s.UnsignedDeliveryID = bodySigned(), true
			s.Auth.HMAC.Signed = "{header.X-Acme-Event}\n{body}"
		})
		if w := e.post(path, h, unnamed); w.Code != http.StatusOK {
			t.Fatalf("%s: %d", path, w.Code)
		}
		wantStored(t, e, want)
	}
}

// TestUnsignedHeadersDoNotDecode: a stranger who captured a webhook changes the headers that say how to read it. The first bytes
// of the body decide instead.
func TestUnsignedHeadersDoNotDecode(t *testing.T) {
	plain := []byte(shipment("s1"))
	zip := zipped(t, plain)
	var deflated bytes.Buffer
	z, err := flate.NewWriter(&deflated, 9)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(plain)
	z.Close()
	form := []byte("payload=" + url.QueryEscape(string(plain)))
	// Text of a stranger that the vendor signs, which makes a form of the JSON.
	both := []byte(`{"event_type":"shipping.ordered","created_at":"2023-01-23T10:28:10.010Z","shipping":{"id":"s1","client_reference":"&payload=` +
		url.QueryEscape(shipment("forged")) + `&"}}`)
	const good, asForm = "shipping.ordered shipment/s1", "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name string
		body []byte
		h    []string
		want string
	}{
		{"plain", plain, nil, good},
		{"plain, called gzip", plain, []string{"Content-Encoding", "gzip"}, good},
		{"plain, called deflate", plain, []string{"Content-Encoding", "deflate"}, good},
		{"plain, called br", plain, []string{"Content-Encoding", "br"}, good},
		{"plain, called nothing that is known", plain, []string{"Content-Encoding", "rot13"}, good},
		{"gzip", zip, []string{"Content-Encoding", "gzip"}, good},
		{"gzip, not called so", zip, nil, good},
		{"gzip, called br", zip, []string{"Content-Encoding", "br"}, good},
		{"gzip twice", zipped(t, zip), []string{"Content-Encoding", "gzip"}, good},
		{"gzip, called identity", zip, []string{"Content-Encoding", "identity"}, good},
		{"raw deflate, which nothing shows", deflated.Bytes(), []string{"Content-Encoding", "deflate"}, " unknown_encoding"},
		{"JSON, called a form", plain, []string{"Content-Type", asForm}, good},
		{"JSON with a form in it, called a form", both, []string{"Content-Type", asForm}, good},
		{"form", form, []string{"Content-Type", asForm}, good},
		{"form, called JSON", form, []string{"Content-Type", "application/json"}, good},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t, func(s *source.Source) { s.Auth, s.UnsignedDeliveryID = bodySigned(), true })
			if w := e.post("/webhooks/shop", signedBody(tt.body, tt.h...), tt.body); w.Code != http.StatusOK {
				t.Fatalf("answer %d", w.Code)
			}
			wantStored(t, e, tt.want)
		})
	}
}
