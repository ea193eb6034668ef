package webhook_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/certs/certstest"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/cloudevents/cloudeventstest"
	"github.com/webhook-bridge/bridge/sinks/webhook"
)

// canary is in every place that must not be printed.
const canary = "CANARY"

// binaryEvent makes an event from a request in CloudEvents' binary mode.
func binaryEvent(header http.Header, body []byte) (*eventv1.Event, error) {
	attributes := map[string]string{}
	for name := range header {
		if name, is := strings.CutPrefix(strings.ToLower(name), "ce-"); is {
			value, err := url.PathUnescape(header.Get("ce-" + name))
			if err != nil {
				return nil, err
			}
			attributes[name] = value
		}
	}
	return cloudeventstest.Event(attributes, body)
}

// answering opens a sink to a plain server that answers with the handler.
func answering(t *testing.T, handler http.HandlerFunc, change func(*webhook.Config)) sinks.Sink {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return openTo(t, server.URL, change)
}

func openTo(t *testing.T, address string, change func(*webhook.Config)) sinks.Sink {
	t.Helper()
	c := webhook.Config{Credentials: webhook.Credentials{URL: address + "/" + canary}, AllowHTTP: true, Allow: []string{"127.0.0.1", "::1"}}
	if change != nil {
		change(&c)
	}
	s, err := webhook.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func order(t *testing.T) sinks.Record {
	t.Helper()
	return record(t, &eventv1.Event{
		Id: "0d6f2a10", Type: "order.changed", Source: "till", Subject: "order/" + canary, Connector: "kasafik", VendorEvent: canary,
		WebhookId: "0197", ReceivedAt: timestamppb.New(time.Unix(1772000000, 0)),
	})
}

// deliver delivers one event, and checks that the error shows no secret and no content.
func deliver(t *testing.T, s sinks.Sink, r sinks.Record) error {
	t.Helper()
	n, err := s.Deliver(t.Context(), []sinks.Record{r})
	if (n == 1) != (err == nil) {
		t.Errorf("%d delivered, %v", n, err)
	}
	if err != nil && (strings.Contains(err.Error(), canary) || len(err.Error()) > 600) {
		t.Errorf("the error shows too much: %v", err)
	}
	return err
}

// The table of docs/sinks/webhook.md.
func TestAnswers(t *testing.T) {
	const delivered, refused, disabled, pause, again = "delivered", "refused", "disabled", "pause", "again"
	for _, c := range []struct {
		code  int
		after string
		want  string
		pause time.Duration
	}{
		{200, "", delivered, 0},
		{201, "", delivered, 0},
		{202, "9", delivered, 0},
		{204, "", delivered, 0},
		{299, "", delivered, 0},
		{300, "", again, 0},
		{301, "", again, 0},
		{302, "", again, 0},
		{303, "", again, 0},
		{304, "", again, 0},
		{307, "", again, 0},
		{308, "", again, 0},
		{400, "", refused, 0},
		{401, "", again, 0},
		{403, "", again, 0},
		{404, "", again, 0},
		{405, "", again, 0},
		{408, "", again, 0},
		{409, "", again, 0},
		{410, "", disabled, 0},
		{413, "", refused, 0},
		{415, "", again, 0},
		{422, "", refused, 0},
		{425, "", again, 0},
		{429, "", again, 0},
		{429, "0", again, 0},
		{429, "7", pause, 7 * time.Second},
		{429, "-7", again, 0},
		{429, "7.5", again, 0},
		{429, "soon", again, 0},
		{429, "3600", pause, time.Hour},
		{429, "3601", pause, time.Hour},
		{429, "9999999999999999999999", pause, time.Hour},
		{429, "Mon, 02 Jan 2006 15:04:05 GMT", again, 0},
		{429, "Mon, 02 Jan 2126 15:04:05 GMT", pause, time.Hour},
		{500, "7", again, 0},
		{502, "", again, 0},
		{503, "", again, 0},
		{503, "30", pause, 30 * time.Second},
		{504, "", again, 0},
		{599, "", again, 0},
	} {
		t.Run(fmt.Sprintf("%d %s", c.code, c.after), func(t *testing.T) {
			followed := false
			s := answering(t, func(w http.ResponseWriter, request *http.Request) {
				followed = followed || request.URL.Path == "/next"
				w.Header().Set("Retry-After", c.after)
				w.Header().Set("Location", "/next?"+canary)
				w.WriteHeader(c.code)
				fmt.Fprint(w, canary)
			}, nil)
			err := deliver(t, s, order(t))
			got := again
			after, asked := errors.AsType[*sinks.RetryAfterError](err)
			switch {
			case err == nil:
				got = delivered
			case errors.Is(err, sinks.ErrPermanent):
				got = refused
			case errors.Is(err, sinks.ErrDisabled):
				got = disabled
			case asked:
				got = pause
			}
			if got != c.want || asked && after.After != c.pause {
				t.Errorf("%s, want %s (%s): %v", got, c.want, c.pause, err)
			}
			if followed {
				t.Error("the redirect was followed")
			}
			if err != nil && !strings.Contains(err.Error(), "http://127.0.0.1:"+portOf(err.Error())) {
				t.Errorf("the error does not name the host: %v", err)
			}
		})
	}
}

func portOf(text string) string {
	_, after, _ := strings.Cut(text, "127.0.0.1:")
	port, _, _ := strings.Cut(after, " ")
	return port
}

// Redirects say where to, but not more than the host.
func TestRedirectNamesHost(t *testing.T) {
	s := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://user:"+canary+"@new.example.com/"+canary)
		w.WriteHeader(http.StatusPermanentRedirect)
	}, nil)
	if err := deliver(t, s, order(t)); err == nil || !strings.Contains(err.Error(), `a redirect to "new.example.com"; redirects are not followed`) {
		t.Error(err)
	}
}

// Answers that are hostile end soon, and nothing of them is printed.
func TestHostileAnswers(t *testing.T) {
	raw := func(answer string, repeat string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, answer)
			for repeat != "" {
				if _, err := io.WriteString(conn, repeat); err != nil {
					return
				}
			}
		}
	}
	endless := strings.Repeat("x", 1<<16)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		ok      bool
	}{
		"not HTTP":         {raw(canary+"\r\n\r\n", ""), false},
		"odd status":       {raw("HTTP/1.1 "+canary+"\r\n\r\n", ""), false},
		"odd header":       {raw("HTTP/1.1 200 OK\r\n"+canary+"\r\n\r\n", ""), false},
		"endless header":   {raw("HTTP/1.1 200 OK\r\nX: ", canary+endless), false},
		"endless headers":  {raw("HTTP/1.1 200 OK\r\n", "X: "+canary+"\r\n"), false},
		"endless 1xx":      {raw("", "HTTP/1.1 103 Early Hints\r\nX: "+canary+endless[:1000]+"\r\n\r\n"), false},
		"odd length":       {raw("HTTP/1.1 200 OK\r\nContent-Length: "+canary+"\r\n\r\n", ""), false},
		"nothing":          {raw("", ""), false},
		"switches":         {raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+canary+"\r\nConnection: upgrade\r\n\r\n", ""), false},
		"endless body":     {raw("HTTP/1.1 200 OK\r\n\r\n", endless), true},
		"endless chunks":   {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10000\r\n"+endless+"\r\n"), true},
		"endless refusal":  {raw("HTTP/1.1 500 "+canary+"\r\n\r\n", canary+endless), false},
		"claims gzip":      {raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", ""), true},
		"short body":       {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", ""), true},
		"two answers":      {raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 no\r\n\r\n", ""), true},
		"answer and junk":  {raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"+canary, ""), true},
		"sets many things": {raw("HTTP/1.1 200 OK\r\nSet-Cookie: a="+canary+"\r\nRefresh: 0\r\nContent-Length: 0\r\n\r\n", ""), true},
	} {
		t.Run(name, func(t *testing.T) {
			s := answering(t, c.handler, func(c *webhook.Config) { c.Timeout = 5 * time.Second })
			for range 3 {
				if err := deliver(t, s, order(t)); (err == nil) != c.ok {
					t.Errorf("ok is %t, want %t: %v", err == nil, c.ok, err)
				}
			}
		})
	}
}

// A body that never ends does not delay the next event by much, and a header that never comes is an error that says so.
func TestSlowAnswers(t *testing.T) {
	silent := make(chan struct{})
	defer close(silent)
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("Ce-Type") == "slow" {
			<-silent
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, func(c *webhook.Config) { c.Timeout = 3 * time.Second })
	began := time.Now()
	if err := deliver(t, s, order(t)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("a slow body took %s", took)
	}
	err := deliver(t, s, record(t, &eventv1.Event{Id: "1", Type: "slow"}))
	if err == nil || !strings.Contains(err.Error(), "no answer within 3s") {
		t.Error(err)
	}
}

// What a request looks like in each format, with values that try to break out of their headers.
func TestRequest(t *testing.T) {
	want := &eventv1.Event{
		Id: "id 1\r\nX-Evil: 1", Type: "order.changed\n", Source: "till", Subject: "order/\"ž\" 100%\r\n\r\n{}", Connector: "kasafik",
		VendorEvent: "a\x00b\x7f", SubjectVersion: "7", WebhookId: "0197", ReceivedAt: timestamppb.New(time.Unix(1772000000, 5)), Stale: true,
		Data: &eventv1.Event_Order{Order: &eventv1.Order{Id: "1"}},
	}
	for _, format := range []webhook.Format{"", webhook.FormatJSON, webhook.FormatCloudEvents, webhook.FormatCloudEventsBinary} {
		var header http.Header
		var got *eventv1.Event
		s := answering(t, func(_ http.ResponseWriter, r *http.Request) {
			header = r.Header
			body, err := io.ReadAll(r.Body)
			if err == nil {
				got, err = eventOf(header, body)
			}
			if err != nil || r.Method != http.MethodPost || r.URL.Path != "/"+canary {
				t.Errorf("%s: %s %s, %v", format, r.Method, r.URL, err)
			}
		}, func(c *webhook.Config) {
			c.Format, c.Headers = format, []webhook.Header{{Name: "authorization", Value: "Bearer 1"}}
		})
		r := record(t, want)
		r.Header.Replay = []byte("again")
		if err := deliver(t, s, r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: event (-want +got):\n%s", format, diff)
		}
		for name, value := range map[string]string{
			"Authorization": "Bearer 1", "Ce-Specversion": "1.0", "Ce-Id": "id%201%0D%0AX-Evil:%201", "Ce-Stale": "true", "Ce-Replay": "again",
			"Ce-Subject": "order/%22%C5%BE%22%20100%25%0D%0A%0D%0A{}", "Webhook-Id": "id%201%0D%0AX-Evil:%201:again",
			"Idempotency-Key": "id%201%0D%0AX-Evil:%201:again", "X-Evil": "", "Webhook-Signature": "", "Accept-Encoding": "", "User-Agent": "bridge",
		} {
			if header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", format, name, header.Get(name), value)
			}
		}
	}
}

// All secrets sign, so a receiver may have either during a rotation. Secrets and headers may change while the sink runs.
func TestRotation(t *testing.T) {
	seed := ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))
	asymmetric := "whsk_" + base64.StdEncoding.EncodeToString(seed)
	var header http.Header
	var body []byte
	now := webhook.Credentials{Secrets: []string{oldSecret}}
	s := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
	}, func(c *webhook.Config) {
		first := c.URL
		c.Current = func() webhook.Credentials {
			now.URL = first
			return now
		}
	})
	for _, c := range []struct{ secrets, verify []string }{
		{[]string{oldSecret}, []string{oldSecret}},
		{[]string{oldSecret, newSecret, asymmetric}, []string{oldSecret, newSecret}},
		{[]string{newSecret}, []string{newSecret}},
	} {
		now.Secrets = c.secrets
		if err := deliver(t, s, order(t)); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{oldSecret, newSecret} {
			w, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			known := len(c.verify) == 2 || c.verify[0] == secret
			if err := w.Verify(body, header); (err == nil) != known {
				t.Errorf("%d secrets: %v, want verified: %t", len(c.secrets), err, known)
			}
			if err := w.Verify(append(body, ' '), header); err == nil {
				t.Error("another body is verified")
			}
		}
		for signature := range strings.FieldsSeq(header.Get("Webhook-Signature")) {
			if text, is := strings.CutPrefix(signature, "v1a,"); is {
				raw, err := base64.StdEncoding.DecodeString(text)
				signed := header.Get("Webhook-Id") + "." + header.Get("Webhook-Timestamp") + "." + string(body)
				if err != nil || !ed25519.Verify(seed.Public().(ed25519.PublicKey), []byte(signed), raw) {
					t.Errorf("v1a: %v", err)
				}
			}
		}
		if n := len(strings.Fields(header.Get("Webhook-Signature"))); n != len(c.secrets) {
			t.Errorf("%d signatures, want %d", n, len(c.secrets))
		}
	}
	now.Secrets = []string{canary}
	if err := deliver(t, s, order(t)); err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("a bad secret: %v", err)
	}
}

// Names are resolved by the system, and what they resolve to is checked, at each connection.
func TestDialGuard(t *testing.T) {
	called := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTP_PROXY", server.URL)
	t.Setenv("http_proxy", server.URL)
	s := openTo(t, "http://localhost:"+port, func(c *webhook.Config) { c.Allow = nil })
	if err := deliver(t, s, order(t)); err == nil || errors.Is(err, sinks.ErrPermanent) || !strings.Contains(err.Error(), "is not public") {
		t.Errorf("a name of a loopback address: %v", err)
	}
	s = openTo(t, "http://nowhere.invalid", func(c *webhook.Config) { c.Allow = nil })
	if err := deliver(t, s, order(t)); err == nil || called {
		t.Errorf("the proxy of the environment was used: %v", err)
	}
	// Without Control, this request would be made: only the address decides.
	s = openTo(t, "http://localhost:"+port, nil)
	if err := deliver(t, s, order(t)); err != nil || !called {
		t.Errorf("an allowed address: %v", err)
	}
}

// A configured proxy gets the requests. It must be allowed itself.
func TestProxy(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	defer proxy.Close()
	s := openTo(t, "http://hooks.example.com", func(c *webhook.Config) { c.Proxy = proxy.URL })
	if err := deliver(t, s, order(t)); err != nil || asked != "http://hooks.example.com/"+canary {
		t.Errorf("the proxy was asked for %q: %v", asked, err)
	}
	// Its URL may change while the sink runs.
	asked = ""
	now := webhook.Credentials{URL: "http://hooks.example.com/", Proxy: "http://127.0.0.1:1"}
	s = openTo(t, "http://hooks.example.com", func(c *webhook.Config) {
		c.Proxy, c.Current = now.Proxy, func() webhook.Credentials { return now }
	})
	if err := deliver(t, s, order(t)); err == nil {
		t.Error("a proxy that is away was not used")
	}
	now.Proxy = proxy.URL
	if err := deliver(t, s, order(t)); err != nil || asked != "http://hooks.example.com/" {
		t.Errorf("the new proxy was asked for %q: %v", asked, err)
	}
	s = openTo(t, "http://hooks.example.com", func(c *webhook.Config) { c.Proxy, c.Allow = proxy.URL, nil })
	if err := deliver(t, s, order(t)); err == nil || !strings.Contains(err.Error(), "is not public") {
		t.Error(err)
	}
}

// The receiver demands a client certificate, and has one of an authority of its own.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	authority := certstest.New(t, "authority")
	authority.WriteServer(t, at("client.pem"), at("client.key"))
	clients := x509.NewCertPool()
	clients.AddCert(authority.Cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server.StartTLS()
	defer server.Close()
	ca := caFile(t, server)
	for name, c := range map[string]struct {
		files *clienttls.Files
		ok    bool
	}{
		"none":           {nil, false},
		"no certificate": {&clienttls.Files{CAFile: ca}, false},
		"not trusted":    {&clienttls.Files{CertFile: at("client.pem"), KeyFile: at("client.key")}, false},
		"another name":   {&clienttls.Files{CAFile: ca, CertFile: at("client.pem"), KeyFile: at("client.key"), ServerName: "x.test"}, false},
		"both":           {&clienttls.Files{CAFile: ca, CertFile: at("client.pem"), KeyFile: at("client.key")}, true},
	} {
		s := openTo(t, server.URL, func(config *webhook.Config) { config.TLS = c.files })
		if err := deliver(t, s, order(t)); (err == nil) != c.ok || errors.Is(err, sinks.ErrPermanent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// All problems are told at once, each with its key, and no value that may be a secret is shown.
func TestCheck(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.pem")
	good := webhook.Credentials{URL: "https://hooks.example.com/x"}
	for name, c := range map[string]struct {
		config webhook.Config
		keys   []string
	}{
		"good":        {webhook.Config{Credentials: good}, nil},
		"nothing":     {webhook.Config{}, []string{"url"}},
		"no host":     {webhook.Config{Credentials: webhook.Credentials{URL: "https:///" + canary}}, []string{"url"}},
		"not a URL":   {webhook.Config{Credentials: webhook.Credentials{URL: "https://a b/\x00" + canary}}, []string{"url"}},
		"user":        {webhook.Config{Credentials: webhook.Credentials{URL: "https://a:" + canary + "@b.example"}}, []string{"url"}},
		"fragment":    {webhook.Config{Credentials: webhook.Credentials{URL: "https://b.example/#" + canary}}, []string{"url"}},
		"not allowed": {webhook.Config{Credentials: webhook.Credentials{URL: "http://b.example"}}, []string{"url"}},
		"scheme":      {webhook.Config{Credentials: webhook.Credentials{URL: "ftp://b.example"}, AllowHTTP: true}, []string{"url"}},
		"private":     {webhook.Config{Credentials: webhook.Credentials{URL: "https://10.1.2.3"}}, []string{"url"}},
		"allowed":     {webhook.Config{Credentials: webhook.Credentials{URL: "https://10.1.2.3"}, Allow: []string{"10.0.0.0/8"}}, nil},
		"proxied":     {webhook.Config{Credentials: webhook.Credentials{URL: "https://10.1.2.3", Proxy: "http://u:p@proxy.example"}}, nil},
		"all": {webhook.Config{
			Credentials: webhook.Credentials{
				URL: "gopher://b.example", Secrets: []string{canary, "whsec_" + canary, "whsec_" + base64.StdEncoding.EncodeToString([]byte(canary)), "whsk_" + canary},
				Headers: []webhook.Header{{"a b", canary}, {"Host", canary}, {"webhook-id", canary}, {"X-Good", canary + "\n"}},
				Proxy:   "socks5://" + canary,
			},
			Format: "xml", Timeout: -1, ConnectTimeout: -1, Allow: []string{"10.0.0.0/33", "10.0.0.1"},
			TLS: &clienttls.Files{CAFile: missing},
		}, []string{
			"url", "secrets[0]", "secrets[1]", "secrets[2]", "secrets[3]", "headers[0].name", "headers[1].name", "headers[2].name", "headers[3].value",
			"proxy", "format", "timeout", "allow[0]", "connect_timeout", "tls.ca_file",
		}},
	} {
		var keys []string
		for _, problem := range c.config.Check() {
			at, ok := errors.AsType[*sinks.KeyError](problem)
			if !ok || strings.Contains(problem.Error(), canary) {
				t.Errorf("%s: %v", name, problem)
				continue
			}
			keys = append(keys, at.Key)
		}
		if diff := cmp.Diff(c.keys, keys); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if s, err := webhook.Open(t.Context(), c.config); (err == nil) != (len(c.keys) == 0) {
			t.Errorf("%s: open: %v", name, err)
		} else if err == nil {
			_ = s.Close()
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(verb, c.config.Credentials); strings.Contains(text, canary) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
}

// A short body is read, so that the connection can be used again.
func TestReusesConnection(t *testing.T) {
	connections := map[string]bool{}
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, strings.Repeat("thanks ", 1000))
	}, nil)
	for range 20 {
		if err := deliver(t, s, order(t)); err != nil {
			t.Fatal(err)
		}
	}
	if len(connections) != 1 {
		t.Errorf("20 requests used %d connections", len(connections))
	}
}
