package cli

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/signature"
	"github.com/webhook-bridge/bridge/internal/source"
)

func requestOf(t *testing.T, c *connectors.Connector, a source.Auth, event, body string) (r *http.Request, sent string) {
	t.Helper()
	r, err := newRequest(t.Context(), c, "http://127.0.0.1:8080", &source.Source{Name: "shop", Auth: a}, event, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(read)
}

// A vendor's event goes where the vendor puts it, and its id is new each time.
func TestSendNamesTheEvent(t *testing.T) {
	open := source.Auth{Scheme: source.SchemeNone}
	c := &connectors.Connector{EventHeader: "X-Topic", KeyHeader: "X-Delivery"}
	first, _ := requestOf(t, c, open, "orders/create", "{}")
	second, _ := requestOf(t, c, open, "", "{}")
	if first.URL.Path != "/webhooks/shop" || first.Header.Get("X-Topic") != "orders/create" || second.Header["X-Topic"] != nil {
		t.Errorf("%s with %v, %v", first.URL, first.Header, second.Header)
	}
	ids := []string{first.Header.Get("X-Delivery"), second.Header.Get("X-Delivery")}
	if uuid.Validate(ids[0]) != nil || uuid.Validate(ids[1]) != nil || ids[0] == ids[1] {
		t.Errorf("ids are %q", ids)
	}
	byURL, _ := requestOf(t, &connectors.Connector{}, open, "a/b", "{}")
	if got := byURL.URL.EscapedPath(); got != "/webhooks/shop/a%2Fb" || byURL.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s with %v", got, byURL.Header)
	}
}

// JSON goes in a form where the vendor sends forms; a form is sent as it is.
func TestSendForms(t *testing.T) {
	c, open := &connectors.Connector{FormField: "payload"}, source.Auth{Scheme: source.SchemeNone}
	for body, want := range map[string]url.Values{
		"\n{\"a\":\"=&\"}":    {"payload": {"\n{\"a\":\"=&\"}"}},
		"[1]":                 {"payload": {"[1]"}},
		"payload=%7B%7D&also": {"payload": {"{}"}, "also": {""}},
	} {
		r, sent := requestOf(t, c, open, "", body)
		got, err := url.ParseQuery(sent)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("%q is sent as %q", body, sent)
		}
	}
}

// What is sent is signed, over what the receiver's public address is, and with the headers that are signed.
func TestSendSigns(t *testing.T) {
	h := connectors.HMAC{Header: "X-Signature", TimestampHeader: "X-Time", Signed: "{header.X-Delivery} {header.X-Nonce} {timestamp} {url} {host} {path} {body}"}
	auth := source.Auth{
		Scheme: source.SchemeHMAC, HMAC: &h, PublicURL: "https://hooks.example.com/in",
		Values: secret.List("the-new-one", "the-old-one"),
	}
	r, sent := requestOf(t, &connectors.Connector{KeyHeader: "X-Delivery"}, auth, "a b", "{}")
	received := signature.Request{
		Method: http.MethodPost, Host: "hooks.example.com", Path: "/in/webhooks/shop/a%20b",
		URL: "https://hooks.example.com/in/webhooks/shop/a%20b", Header: r.Header, Body: []byte(sent),
	}
	for secret, want := range map[string]error{"the-new-one": nil, "the-old-one": signature.ErrMismatch} {
		s, err := signature.Compile(h, []string{secret})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(received, time.Now()); !errors.Is(err, want) {
			t.Errorf("%s: %v", secret, err)
		}
	}
	auth.PublicURL = ""
	r, sent = requestOf(t, &connectors.Connector{}, auth, "", "{}")
	received = signature.Request{
		Method: http.MethodPost, Host: "127.0.0.1:8080", Path: "/webhooks/shop", URL: "http://127.0.0.1:8080/webhooks/shop",
		Header: r.Header, Body: []byte(sent),
	}
	s, err := signature.Compile(h, []string{"the-new-one"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(received, time.Now()); err != nil {
		t.Error(err)
	}
}
