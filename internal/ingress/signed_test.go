package ingress

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/webhook-bridge/bridge/connectors"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/source"
)

const (
	newSecret = "signing-secret-new"
	oldSecret = "signing-secret-old"
)

// signing is how the signed source's sender signs: with the time.
func signing() source.Auth {
	return source.Auth{
		Scheme: source.SchemeHMAC,
		HMAC: &connectors.HMAC{
			Header: "X-Signature", Prefix: "v1=", TimestampHeader: "X-Signed-At", Signed: "{timestamp}.{method} {url} {body}",
		},
		Values: secret.List(newSecret, oldSecret),
	}
}

// newSigned is an edge with one source whose webhooks are signed.
func newSigned(tb testing.TB, change ...func(*source.Source)) *edge {
	tb.Helper()
	return newShop(tb, append([]func(*source.Source){func(s *source.Source) {
		s.Auth, s.UnsignedDeliveryID = signing(), true
	}}, change...)...)
}

// mac computes a signature as the sender does, without Bridge's code.
func mac(secret string, parts ...string) string {
	m := hmac.New(sha256.New, []byte(secret))
	for _, p := range parts {
		io.WriteString(m, p)
	}
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}

const shopURL = "http://example.com/webhooks/shop"

// signed are the headers of a webhook as its sender signs it at a time.
func signed(secret, url string, at time.Time, wire []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	return http.Header{
		"X-Signature": {mac(secret, stamp, ".POST ", url, " ", string(wire))}, "X-Signed-At": {stamp},
	}
}

// TestSigned sends what may be signed, and what is not.
func TestSigned(t *testing.T) {
	now := time.Now()
	body := []byte(shipment("s1"))
	good := signed(newSecret, shopURL, now, body)
	with := func(h http.Header, changed http.Header) http.Header {
		h = h.Clone()
		maps.Copy(h, changed)
		return h
	}
	zip := zipped(t, body)
	for _, tt := range []struct {
		name   string
		h      http.Header
		body   []byte
		status int
		// unread: refused before the body is read.
		unread bool
	}{
		{name: "good", h: good, body: body, status: 200},
		{name: "older secret", h: signed(oldSecret, shopURL, now, body), body: body, status: 200},
		{name: "a while ago", h: signed(newSecret, shopURL, now.Add(-4*time.Minute), body), body: body, status: 200},
		{
			name: "signed as compressed", h: with(signed(newSecret, shopURL, now, zip), http.Header{"Content-Encoding": {"gzip"}}),
			body: zip, status: 200,
		},
		{name: "signed before compression", h: with(good, http.Header{"Content-Encoding": {"gzip"}}), body: zip, status: 401},
		{name: "not signed", body: body, status: 401, unread: true},
		{name: "no time", h: http.Header{"X-Signature": good["X-Signature"]}, body: body, status: 401, unread: true},
		{name: "no signature", h: http.Header{"X-Signed-At": good["X-Signed-At"]}, body: body, status: 401, unread: true},
		{name: "malformed", h: with(good, http.Header{"X-Signature": {"v1=xyz"}}), body: body, status: 401, unread: true},
		{name: "short", h: with(good, http.Header{"X-Signature": {good.Get("X-Signature")[:9]}}), body: body, status: 401, unread: true},
		{name: "twice", h: with(good, http.Header{"X-Signature": {good.Get("X-Signature"), good.Get("X-Signature")}}), body: body, status: 401, unread: true},
		{name: "stale", h: signed(newSecret, shopURL, now.Add(-6*time.Minute), body), body: body, status: 401, unread: true},
		{name: "of the future", h: signed(newSecret, shopURL, now.Add(6*time.Minute), body), body: body, status: 401, unread: true},
		{name: "another time", h: with(good, http.Header{"X-Signed-At": {strconv.FormatInt(now.Unix()+1, 10)}}), body: body, status: 401},
		{name: "secret that was taken away", h: signed("another-secret", shopURL, now, body), body: body, status: 401},
		{name: "another body", h: good, body: []byte(shipment("s2")), status: 401},
		{name: "a byte more", h: good, body: append(bytes.Clone(body), '\n'), status: 401},
		{name: "a byte less", h: good, body: body[:len(body)-1], status: 401},
		{name: "no body", h: good, body: []byte{}, status: 401},
		{name: "another path", h: signed(newSecret, shopURL+"/shipping.ordered", now, body), body: body, status: 401},
		{name: "signed but broken", h: signed(newSecret, shopURL, now, []byte("{")), body: []byte("{"), status: 200},
		{name: "signed but empty", h: signed(newSecret, shopURL, now, nil), body: []byte{}, status: 200},
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(tt.name+" chunked="+strconv.FormatBool(chunked), func(t *testing.T) {
				e := newSigned(t)
				body := &counted{Reader: bytes.NewReader(tt.body)}
				r := httptest.NewRequest(http.MethodPost, "/webhooks/shop", body)
				if r.ContentLength = int64(len(tt.body)); chunked {
					r.ContentLength = -1
				}
				maps.Copy(r.Header, tt.h)
				w := httptest.NewRecorder()
				e.ServeHTTP(w, r)
				if w.Code != tt.status {
					t.Errorf("answer %d, want %d", w.Code, tt.status)
				}
				if tt.unread && body.reads > 0 {
					t.Error("the body was read")
				}
				stored, refused := 0, 1.0
				if tt.status == http.StatusOK {
					stored, refused = 1, 0
				} else if w.Body.Len() != 0 {
					t.Errorf("the answer says %q", w.Body)
				}
				if got := len(e.book.all()); got != stored {
					t.Errorf("%d webhooks were stored", got)
				}
				if got := e.value(t, "bridge_webhooks_refused_total", "unauthorized", "shop"); got != refused {
					t.Errorf("refused{shop,unauthorized} = %v", got)
				}
				wantReleased(t, e, "shop")
			})
		}
	}
}

// counted counts how often it is read.
type counted struct {
	io.Reader

	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// wantReleased checks that no bytes of a source are reserved.
func wantReleased(t *testing.T, e *edge, name string) {
	t.Helper()
	s := e.endpoint(name)
	bodies := bodiesBudget(&s.Source)
	if !s.bodies.bytes.TryAcquire(bodies) || !s.unverified.bytes.TryAcquire(max(bodies/4, maxBuffer(s.Limits.Body))) {
		t.Error("bytes were lost")
	}
}

// TestSignedURLs: a signature covers the URL that the sender called, with its escapes and its query.
func TestSignedURLs(t *testing.T) {
	for name, tt := range map[string]struct {
		public, target, url string
		tls                 bool
	}{
		"plain":           {"", "/webhooks/shop", "http://example.com/webhooks/shop", false},
		"event":           {"", "/webhooks/shop/shipping.ordered", "http://example.com/webhooks/shop/shipping.ordered", false},
		"slash at end":    {"", "/webhooks/shop/", "http://example.com/webhooks/shop/", false},
		"escaped":         {"", "/webhooks/shop/shipping%2Eordered", "http://example.com/webhooks/shop/shipping%2Eordered", false},
		"escaped by need": {"", "/webhooks/s%68op/shipping.ordered", "http://example.com/webhooks/s%68op/shipping.ordered", false},
		"query":           {"", "/webhooks/shop?a=b%20c&d", "http://example.com/webhooks/shop?a=b%20c&d", false},
		"empty query":     {"", "/webhooks/shop?", "http://example.com/webhooks/shop?", false},
		"TLS":             {"", "/webhooks/shop", "https://example.com/webhooks/shop", true},
		"public":          {"https://hooks.acme.test:8443", "/webhooks/shop?x", "https://hooks.acme.test:8443/webhooks/shop?x", false},
		"public, slash":   {"https://hooks.acme.test/", "/webhooks/shop", "https://hooks.acme.test/webhooks/shop", true},
		"public, path":    {"https://acme.test/bri%2Fdge/", "/webhooks/shop", "https://acme.test/bri%2Fdge/webhooks/shop", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newSigned(t, func(s *source.Source) { s.Auth.PublicURL = tt.public })
			body := []byte(shipment("s1"))
			for url, want := range map[string]int{tt.url: 200, tt.url + "x": 401, strings.Replace(tt.url, "http", "ftp", 1): 401} {
				r := httptest.NewRequest(http.MethodPost, tt.target, bytes.NewReader(body))
				if tt.tls {
					r.TLS = &tls.ConnectionState{}
				}
				r.Header = signed(newSecret, url, time.Now(), body)
				w := httptest.NewRecorder()
				e.ServeHTTP(w, r)
				if w.Code != want {
					t.Errorf("signed %s: %d, want %d", url, w.Code, want)
				}
			}
		})
	}
}

// TestSignedHostAndPath are the parts of the URL, by themselves.
func TestSignedHostAndPath(t *testing.T) {
	body := []byte(shipment("s1"))
	for _, tt := range []struct{ public, want string }{
		{"", "example.com /webhooks/shop/shipping%2Eordered"},
		{"https://acme.test:1/base", "acme.test:1 /base/webhooks/shop/shipping%2Eordered"},
	} {
		e := newSigned(t, func(s *source.Source) {
			s.Auth.HMAC = &connectors.HMAC{Header: "X-Signature", Prefix: "v1=", Signed: "{host} {path} {body}"}
			s.Auth.PublicURL = tt.public
		})
		h := http.Header{"X-Signature": {mac(newSecret, tt.want, " ", string(body))}}
		if w := e.post("/webhooks/shop/shipping%2Eordered?q", h, body); w.Code != http.StatusOK {
			t.Errorf("%q: %d", tt.public, w.Code)
		}
	}
}

// TestSignedOverTheWire: through a real server, chunked and not, and with a body that takes its time.
func TestSignedOverTheWire(t *testing.T) {
	e := newSigned(t)
	server := httptest.NewServer(e)
	defer server.Close()
	body := []byte(shipment("s1"))
	url := server.URL + "/webhooks/shop/shipping%2Eordered?a=%41"
	for _, chunked := range []bool{false, true} {
		for secret, want := range map[string]int{newSecret: 200, "wrong": 401} {
			var reader io.Reader = bytes.NewReader(body)
			if chunked {
				reader = io.MultiReader(bytes.NewReader(body[:10]), bytes.NewReader(body[10:]))
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, reader)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = signed(secret, url, time.Now(), body)
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("chunked %v, %s: %d", chunked, secret, resp.StatusCode)
			}
		}
	}
}

// TestUnsignedCostNothing: rate and quota are charged to the source only for what it signed.
func TestUnsignedCostNothing(t *testing.T) {
	body := []byte(shipment("s1"))
	for name, limits := range map[string]source.Limits{"rate": {Rate: 2}, "quota": {Body: int64(len(body)), Daily: int64(2 * len(body))}} {
		synctest.Test(t, func(t *testing.T) {
			e := newSigned(t, func(s *source.Source) { s.Limits = limits })
			now := time.Now()
			for range 20 {
				if w := e.post("/webhooks/shop", signed("wrong", shopURL, now, body), body); w.Code != http.StatusUnauthorized {
					t.Fatalf("%s: unauthorized: %d", name, w.Code)
				}
			}
			for i, want := range []int{200, 200, 429} {
				if w := e.post("/webhooks/shop", signed(newSecret, shopURL, now, body), body); w.Code != want {
					t.Errorf("%s: webhook %d: %d", name, i, w.Code)
				}
			}
			if w := e.post("/webhooks/shop", signed("wrong", shopURL, now, body), body); w.Code != http.StatusUnauthorized {
				t.Errorf("%s: a stranger learns that the source is over its limit: %d", name, w.Code)
			}
			wantReleased(t, e, "shop")
		})
	}
}

// TestStrangersBudget: bodies that are not verified yet have a separate budget. An announced length reserves nothing. When the
// budget is used up, the source's own budget is not affected.
func TestStrangersBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 100 * kibi
		e := newSigned(t, func(s *source.Source) { s.Limits.Body, s.Limits.InFlight = size, size }) // as much as must be
		shop := e.endpoint("shop")
		post := func(body io.Reader, length int, h http.Header) int {
			r := httptest.NewRequest(http.MethodPost, "/webhooks/shop", body)
			r.ContentLength, r.Header = int64(length), h
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			return w.Code
		}
		body := []byte(`{"event_type":"new","filler":"` + strings.Repeat("x", size-40) + `"}`)
		good, unauthorized := signed(newSecret, shopURL, time.Now(), body), signed("wrong", shopURL, time.Now(), body)
		hold := make(chan struct{})
		var wg sync.WaitGroup
		stall := func(arrived []byte) {
			wg.Go(func() {
				rest := readerOf(func([]byte) (int, error) { <-hold; return 0, io.ErrUnexpectedEOF })
				if code := post(io.MultiReader(bytes.NewReader(arrived), rest), size, unauthorized); code != http.StatusBadRequest {
					t.Errorf("stranger: %d", code)
				}
			})
		}
		const strangers = 5
		for range strangers {
			stall(body[:1]) // and announces the rest
		}
		synctest.Wait()
		if !shop.bodies.bytes.TryAcquire(2 * (size + 1)) {
			t.Error("strangers hold the source's bytes")
		} else {
			shop.bodies.bytes.Release(2 * (size + 1))
		}
		if !shop.unverified.bytes.TryAcquire(size + 1) {
			t.Error("what was announced is held")
		} else {
			shop.unverified.bytes.Release(size + 1)
		}
		stall(body[:size/2]) // and this one has sent half of it
		start := time.Now()
		synctest.Wait()
		if code := post(bytes.NewReader(body), len(body), good); code != http.StatusServiceUnavailable || time.Since(start) > 2*reserveTimeout {
			t.Errorf("with the budget used up: %d after %v", code, time.Since(start))
		}
		// Most webhooks need none of it.
		small := []byte(shipment("s1"))
		if code := post(bytes.NewReader(small), len(small), signed(newSecret, shopURL, time.Now(), small)); code != http.StatusOK {
			t.Errorf("a small one with the budget used up: %d", code)
		}
		close(hold)
		wg.Wait()
		if code := post(bytes.NewReader(body), len(body), good); code != http.StatusOK {
			t.Errorf("once they are gone: %d", code)
		}
		wantReleased(t, e, "shop")
	})
}

type readerOf func([]byte) (int, error)

func (f readerOf) Read(p []byte) (int, error) { return f(p) }

// TestSignedWaitsForItsBytes: a signed body waits for the source's own bytes before it is decompressed, though its sender has
// hung up, and gets 503 if there is none.
func TestSignedWaitsForItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newSigned(t)
		budget := e.endpoint("shop").bodies.bytes
		all := bodiesBudget(&e.endpoint("shop").Source)
		if !budget.TryAcquire(all) {
			t.Fatal("bytes are held")
		}
		wire := zipped(t, []byte(shipment("s1")))
		h := signed(newSecret, shopURL, time.Now(), wire)
		h.Set("Content-Encoding", "gzip")
		if w := e.post("/webhooks/shop", h, wire); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("answer %d", w.Code)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		body := io.MultiReader(bytes.NewReader(wire), onRead(func() {
			hangUp()
			time.AfterFunc(reserveTimeout/2, func() { budget.Release(all) })
		}))
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks/shop", body)
		r.Header = h
		e.ServeHTTP(httptest.NewRecorder(), r)
		wantStored(t, e, "shipping.ordered shipment/s1")
		wantReleased(t, e, "shop")
	})
}

// TestCauseOfRefusedSignature is in the debug log, and nowhere else; no secret or signature is.
func TestCauseOfRefusedSignature(t *testing.T) {
	e := newSigned(t)
	body := []byte(shipment("s1"))
	h := signed("wrong", shopURL, time.Now(), body)
	e.post("/webhooks/shop", h, body)
	e.post("/webhooks/shop", signed(newSecret, shopURL, time.Now().Add(-time.Hour), body), body)
	e.post("/webhooks/shop", nil, body)
	var debug, rest strings.Builder
	for line := range strings.Lines(e.log.String()) {
		if strings.Contains(line, "level=DEBUG") {
			debug.WriteString(line)
		} else {
			rest.WriteString(line)
		}
	}
	for _, cause := range []string{"signature: mismatch", "signature: stale", "signature: missing"} {
		if !strings.Contains(debug.String(), cause) || strings.Contains(rest.String(), cause) {
			t.Errorf("the log says of %s:\n%s", cause, e.log)
		}
	}
	if got := strings.Count(rest.String(), "reason=unauthorized"); got != 3 {
		t.Errorf("%d refusals are in the log", got)
	}
	for _, secret := range []string{newSecret, oldSecret, strings.TrimPrefix(h.Get("X-Signature"), "v1=")} {
		if strings.Contains(e.log.String(), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
}

// TestSignedSourcesTakeNoTypedCalls: nothing in one is signed.
func TestSignedSourcesTakeNoTypedCalls(t *testing.T) {
	e := newSigned(t)
	e.endpoint("shop").GRPC = true // New would not take it
	ctx := metadata.AppendToOutgoingContext(t.Context(), "bridge-source", "shop")
	_, err := retinov1.NewRetinoWebhookServiceClient(dial(t, e)).ShippingOrdered(ctx, shipmentMessage(t))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("error %v", err)
	}
	if e.endpoint("shop").verifier.verifyGRPC(metadata.MD{}, time.Now()) {
		t.Error("a call without a signature passes")
	}
}
