package ingress

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

// withHandshakes is a vendor with pings and handshakes of every kind.
func withHandshakes(c *connectors.Connector) {
	c.Pings = []connectors.Ping{
		{Name: "test_button", Events: []string{"shipping.sample"}},
		{Name: "hello", Path: "$.meta.kind", Value: "hello", Answer: `{"hello":"yes"}`},
		{Name: "verification", Path: "$.type", Value: "url_verification", Challenge: "$.challenge", Reply: connectors.Reply{Field: "challenge"}},
		{
			Name: "validation", Path: "$.type", Value: "endpoint.url_validation", Challenge: "$.payload.plainToken",
			Reply: connectors.Reply{Field: "encryptedToken", Echo: "plainToken", HMAC: &connectors.ReplyHMAC{}},
		},
	}
	c.Handshakes = []connectors.Handshake{
		{Name: "subscription", Method: "GET", Query: "hub.challenge", Where: map[string]string{"hub.mode": "subscribe"}, Token: "hub.verify_token"},
		{Name: "validation", Method: "POST", Query: "validationToken"},
		{
			Name: "abuse_protection", Method: "OPTIONS", Header: "WebHook-Request-Origin",
			Reply: connectors.Reply{Header: "WebHook-Allowed-Origin", Headers: map[string]string{"WebHook-Allowed-Rate": "*"}},
		},
		{
			Name: "crc", Method: "GET", Query: "crc_token",
			Reply: connectors.Reply{Field: "response_token", HMAC: &connectors.ReplyHMAC{Encoding: "base64", Prefix: "sha256="}},
		},
	}
}

// TestPings: a ping is answered as a webhook is, stored as a ping without events, and counted. It is never published, never
// quarantined and never refused.
func TestPings(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct{ name, path, contentType, event, body, ping string }{
		{"empty body", "", "", "", "", "empty"},
		{"white space", "", "", "", " \r\n", "empty"},
		{"empty object", "", "", "", "{}", "empty"},
		{"empty object with a name", "/shipping.ordered", "", "", "{ }\n", "empty"},
		{"empty object with a name that is not modelled", "/x", "", "", "\uFEFF{}", "empty"},
		{"null", "/x", "", "", "null", "empty"},
		{"empty array", "/x", "", "", "[]", "empty"},
		{"array of an empty object", "/x", "", "", "[{}]", "empty"},
		{"empty text", "", "", "", `""`, "empty"},
		{"form of WooCommerce", "", form, "", "webhook_id=1", "form"},
		{"form of WooCommerce as JSON", "", "", "", "webhook_id=1", "form"},
		{"form of another vendor", "", form, "", "hook_id=7d1f", "form"},
		{"empty form", "", form, "", "", "empty"},
		{"form with an empty field", "", form, "", "payload=", "empty"},
		{"form with an empty object", "", form, "", "payload=%7B%7D", "empty"},
		{"event ping in the header", "", "", "ping", `{"zen":"Keep it logically awesome.","hook_id":1,"hook":{}}`, "test"},
		{"event ping in the body", "", "", "", `{"event_type":"ping","created_at":"2023-01-23T10:28:10.010Z"}`, "test"},
		{"event ping in the URL", "/ping", "", "", `{"a":1}`, "test"},
		{"test event to a URL with another name", "/shipping.ordered", "", "", `{"event_type":"webhook.test","data":{"id":1}}`, "test"},
		{"camel case", "", "", "", `{"event_type":"TestEvent","data":[1]}`, "test"},
		{"object that says test", "/shipping.ordered", "", "", `{"test":true}`, "test"},
		{"object that says ping", "", "", "", `{"type":"ping"}`, "test"},
		{"text", "", "text/plain", "", "ping", "test"},
		{"challenge that is not declared", "", "", "", `{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"x"}`, "challenge"},
		{"test button", "", "", "", `{"event_type":"shipping.sample","shipping":{"id":"s1"}}`, "test_button"},
		{"field", "/shipping.ordered", "", "", `{"meta":{"kind":"hello"},"shipping":{"id":"s1"}}`, "hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t, func(s *source.Source) {
				s.Reject = true
				s.Auth = source.Auth{Scheme: source.SchemeHeader, Header: "X-Acme-Secret", Values: secret.List("posting-secret")}
				withHandshakes(s.Connector)
			})
			h := http.Header{"X-Acme-Secret": {"posting-secret"}}
			if tt.contentType != "" {
				h.Set("Content-Type", tt.contentType)
			}
			if tt.event != "" {
				h.Set("X-Acme-Event", tt.event)
			}
			for range 2 { // the second one, soon after, is not stored
				w := e.post("/webhooks/shop"+tt.path, h, []byte(tt.body))
				if tt.ping == "hello" {
					if w.Code != http.StatusOK || w.Body.String() != `{"hello":"yes"}` {
						t.Errorf("answer %d %s", w.Code, w.Body)
					}
				} else {
					wantSuccess(t, e, "shop", w)
				}
			}
			all := e.book.all()
			if len(all) != 1 || len(all[0].Events) != 0 {
				t.Fatalf("%v", e.stored())
			}
			if w := all[0].Webhook; w.GetPing() != tt.ping || w.GetQuarantine() != nil || string(w.GetBody()) != tt.body {
				t.Errorf("stored is %v", w)
			}
			if got := e.value(t, "bridge_pings_total", tt.ping, "shop"); got != 2 {
				t.Errorf("%v pings are counted", got)
			}
			for _, name := range []string{"bridge_webhooks_taken_total", "bridge_quarantined_total", "bridge_duplicates_total"} {
				if got := e.value(t, name, "shop"); got != 0 {
					t.Errorf("%s = %v", name, got)
				}
			}
		})
	}
}

// TestNoPings: what only resembles a ping is a webhook.
func TestNoPings(t *testing.T) {
	for _, tt := range []struct{ name, path, body, want string }{
		{"fact about a test", "/test_drive.booked", `{"test":1,"v":2}`, "test_drive.booked retino/test_drive.booked"},
		{"fact about an A/B test", "/ab_test.finished", `{"v":2}`, "ab_test.finished retino/ab_test.finished"},
		{"fact with a challenge", "/x", `{"challenge":"c","of":{"id":1}}`, "x retino/x"},
		{"empty object in an array", "", "[" + shipment("s1") + ",{}]", "shipping.ordered shipment/s1, no_event"},
		{"not JSON", "/x", "{}{}", "x malformed_json"},
		{"another form", "/x", "order_id=1", "x malformed_json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t)
			e.post("/webhooks/shop"+tt.path, nil, []byte(tt.body))
			if got := strings.Join(e.stored(), ","); got != tt.want {
				t.Errorf("stored %q, want %q", got, tt.want)
			}
		})
	}
	e := newShop(t, func(s *source.Source) { s.Connector.NoPings, s.Connector.Pings = true, nil })
	e.post("/webhooks/shop/x", nil, []byte("{}"))
	e.post("/webhooks/shop/ping", nil, []byte("{}"))
	wantStored(t, e, "x retino/x", "ping retino/ping")
}

// TestPingsAreVerified: without the secret a ping is refused like any webhook.
func TestPingsAreVerified(t *testing.T) {
	e := newEdge(t)
	for _, source := range []string{"returns", "loyalty", "erp", "diner"} {
		if w := e.post("/webhooks/"+source, nil, []byte("{}")); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: answer %d", source, w.Code)
		}
		wantSuccess(t, e, source, e.post("/webhooks/"+source, secretOf(source), []byte("{}")))
	}
	wantSuccess(t, e, "till", e.post("/webhooks/till/t/"+tillToken, nil, nil))
	for _, w := range e.book.all() {
		if w.Webhook.GetPing() != "empty" || len(w.Events) != 0 {
			t.Errorf("stored is %v", w.Webhook)
		}
	}
}

// TestChallenges: a ping with a challenge is answered as its connector declares. One whose challenge may not be repeated gets the
// usual answer.
func TestChallenges(t *testing.T) {
	for _, tt := range []struct{ name, body, answer string }{
		{"repeated", `{"type":"url_verification","challenge":"3eZbrw1aBm2r"}`, `{"challenge":"3eZbrw1aBm2r"}`},
		{
			"HMAC", `{"type":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}`,
			// printf %s qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac posting-secret
			`{"encryptedToken":"3746be656a505c9290ea26655ed8032a007de3ab4cdc4eeebc21a927fb8d351b","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}`,
		},
		{"markup", `{"type":"url_verification","challenge":"<script>"}`, `{"status":"accepted"}`},
		{"too long", `{"type":"url_verification","challenge":"` + strings.Repeat("x", 2000) + `"}`, `{"status":"accepted"}`},
		{"none", `{"type":"url_verification"}`, `{"status":"accepted"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t, func(s *source.Source) {
				withHandshakes(s.Connector)
				s.Auth = source.Auth{Scheme: source.SchemeHeader, Header: "X-Acme-Secret", Values: secret.List("posting-secret")}
			})
			w := e.post("/webhooks/shop", http.Header{"X-Acme-Secret": {"posting-secret"}}, []byte(tt.body))
			if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != tt.answer {
				t.Errorf("answer %d %s", w.Code, got)
			}
			if stored := e.book.last(t); stored.Webhook.GetPing() == "" || len(stored.Events) != 0 {
				t.Errorf("stored is %v", stored.Webhook)
			}
		})
	}
}

// TestHandshakes: a request that a vendor checks the address with is answered if the connector declares it, and stores nothing. Any
// other request that is no POST is refused as before, and counted as what it is.
func TestHandshakes(t *testing.T) {
	const ask = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
	for _, tt := range []struct {
		name, method, query, header string
		declared                    bool
		status                      int
		answer, reason              string
	}{
		{"subscription", "GET", ask + "posting-secret", "", true, 200, "1158201444", ""},
		{"HEAD", "HEAD", ask + "posting-secret", "", true, 200, "1158201444", ""},
		{"subscription with a wrong token", "GET", ask + "wrong", "", true, 401, "", "unauthorized"},
		{"subscription without a token", "GET", "?hub.mode=subscribe&hub.challenge=1", "", true, 401, "", "unauthorized"},
		{"another mode", "GET", "?hub.mode=unsubscribe&hub.challenge=1", "", true, 405, "", "challenge"},
		{"markup", "GET", "?hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=posting-secret", "", true, 400, "", "challenge"},
		{"too long", "GET", "?crc_token=" + strings.Repeat("x", 1025), "", true, 400, "", "challenge"},
		{"a body to sign", "GET", "?crc_token=" + url.QueryEscape(shipment("s1")), "", true, 400, "", "challenge"},
		{"Microsoft", "POST", "?validationToken=Validation%3A%20Testing+client", "", true, 200, "Validation: Testing client", ""},
		{"CloudEvents", "OPTIONS", "", "eventemitter.example.com", true, 200, "", ""},
		{"GET alone", "GET", "", "", true, 405, "", "method"},
		{"PUT", "PUT", "", "", true, 405, "", "method"},

		{"subscription, undeclared", "GET", ask + "posting-secret", "", false, 405, "", "challenge"},
		{"CRC, undeclared", "GET", "?crc_token=x", "", false, 405, "", "challenge"},
		{"CloudEvents, undeclared", "OPTIONS", "", "eventemitter.example.com", false, 405, "", "challenge"},
		{"GET alone, undeclared", "GET", "", "", false, 405, "", "method"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newShop(t, func(s *source.Source) {
				s.Auth = source.Auth{Scheme: source.SchemeHeader, Header: "X-Acme-Secret", Values: secret.List("posting-secret", "older-secret")}
				if tt.declared {
					withHandshakes(s.Connector)
				}
			})
			r := httptest.NewRequest(tt.method, "/webhooks/shop"+tt.query, nil)
			if tt.header != "" {
				r.Header.Set("WebHook-Request-Origin", tt.header)
			}
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			if w.Code != tt.status || w.Body.String() != tt.answer {
				t.Errorf("answer %d %q", w.Code, w.Body)
			}
			want := 0.0
			if tt.status == 200 {
				want = 1
				if w.Header().Get("X-Content-Type-Options") != "nosniff" || tt.answer != "" && w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
					t.Errorf("headers %v", w.Header())
				}
			} else if got := e.value(t, "bridge_webhooks_refused_total", tt.reason, "shop"); got != 1 {
				t.Errorf("refused for %s: %v", tt.reason, got)
			}
			if tt.header != "" && tt.declared {
				got := []string{w.Header().Get("WebHook-Allowed-Origin"), w.Header().Get("WebHook-Allowed-Rate")}
				if diff := cmp.Diff([]string{tt.header, "*"}, got); diff != "" {
					t.Error(diff)
				}
			}
			if got := e.value(t, "bridge_handshakes_total", "shop"); got != want {
				t.Errorf("%v handshakes are counted", got)
			}
			if got := e.value(t, "bridge_webhooks_taken_total", "shop"); got != 0 || len(e.book.all()) != 0 {
				t.Error("a handshake is taken for a webhook")
			}
		})
	}
}

// TestHandshakeNeedsToken: where the URL has the secret, a stranger gets no answer.
func TestHandshakeNeedsToken(t *testing.T) {
	e := newEdge(t, only("till", func(s *source.Source) { withHandshakes(s.Connector) }))
	for path, status := range map[string]int{"/webhooks/till": 401, "/webhooks/till/t/wrong": 401, "/webhooks/till/t/" + tillToken: 200} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path+"?validationToken=x", nil))
		if w.Code != status {
			t.Errorf("%s: answer %d", path, w.Code)
		}
	}
}

// TestHandshakeWithoutSecret: a source that cannot answer what its connector declares does not start.
func TestHandshakeWithoutSecret(t *testing.T) {
	c := acme()
	withHandshakes(c)
	in, err := intake.New(intake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(Config{Intake: in, Sources: []source.Source{{Name: "shop", Connector: c, Auth: source.Auth{Scheme: source.SchemeNone}}}})
	if err == nil || !strings.Contains(err.Error(), "cannot be answered") {
		t.Errorf("%v", err)
	}
}
