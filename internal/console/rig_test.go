package console_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/daemon"
)

const (
	operatorToken = "operators-token-0123"
	vendorSecret  = "vendors-secret-01234"
)

const rigConfig = `
listen: {webhooks: "127.0.0.1:0", ops: "127.0.0.1:0", grpc: "127.0.0.1:0", admin: "127.0.0.1:0"}
journal: {dir: DIR/data, min_free: 1Mi}
shutdown_timeout: 2s
ACCESS
sources:
  - {name: returns, connector: retino, auth: {header: {name: X-Secret, values: [` + vendorSecret + `]}}, keep_headers: [x-agent]}
  - {name: loyalty, connector: openloyalty, currency: EUR, auth: {none: {}}}
sinks:
  - {name: archive, file: {path: DIR/out}}
`

// rig is a server with stored webhooks, and a browser without scripts.
type rig struct {
	*daemon.Server

	t      testing.TB
	client *http.Client
}

// startRig starts a server. Operators need a token if signIn says so; the rig's client has none yet.
func startRig(t testing.TB, signIn bool) *rig {
	t.Helper()
	dir, access := t.TempDir(), ""
	if signIn {
		access = "access: {admin_tokens: [" + operatorToken + "]}"
	}
	path := filepath.Join(dir, "bridge.yaml")
	text := strings.NewReplacer("DIR", dir, "ACCESS", access).Replace(rigConfig)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	plugins := daemon.Plugins{Connectors: []*connectors.Connector{retino.New(), openloyalty.New()}, Sinks: []daemon.SinkKind{daemon.FileSink()}}
	cfg, err := plugins.LoadConfig(path, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	server, err := daemon.Open(t.Context(), cfg, plugins, daemon.Place{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	jar, _ := cookiejar.New(nil) // never fails
	return &rig{server, t, &http.Client{Jar: jar}}
}

// url is an address on the admin listener.
func (r *rig) url(path string) string { return "http://" + r.Addr("admin") + path }

// page is an answer of the console.
type page struct {
	status int
	header http.Header
	// path is where the answer came from, after redirects.
	path, text string
}

func (r *rig) do(req *http.Request) page {
	r.t.Helper()
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Header, resp.Request.URL.RequestURI(), string(text)}
}

func (r *rig) get(path string) page {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url(path), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(req)
}

// submit sends a form of the console's own page.
func (r *rig) submit(path string, fields url.Values) page {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url(path), strings.NewReader(fields.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return r.do(req)
}

// post sends a webhook.
func (r *rig) post(source, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.Addr("webhooks")+"/webhooks/"+source, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Secret", vendorSecret)
	req.Header.Set("X-Agent", "agent-4711")
	if a := r.do(req); a.status != http.StatusOK {
		r.t.Fatalf("a webhook is answered %d: %s", a.status, a.text)
	}
}

var webhookLink = regexp.MustCompile(`href="(/console/webhooks/[0-9a-f-]{36})"`)

// webhooks are the paths of the webhooks on a page.
func (p page) webhooks() (paths []string) {
	for _, m := range webhookLink.FindAllStringSubmatch(p.text, -1) {
		paths = append(paths, m[1])
	}
	return paths
}

// Webhooks of the two vendors.
const (
	ordered     = `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"4711"}}`
	drifted     = `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"4712"},"colour":"green"}`
	malformed   = `{"event_type":"shipping.ordered" "mail":"jdoe@example.com"}`
	badCurrency = `{"event_type":"shipping.ordered","created_at":"2023-01-24T00:00:00Z","shipping":{"id":"4713",` +
		`"customer_payment_details":[{"amount":"3.00","currency":"Kč"}]}}`
)

// seed stores a webhook of each kind.
func (r *rig) seed() {
	r.t.Helper()
	for _, body := range []string{ordered, drifted, malformed, badCurrency} {
		r.post("returns", body)
	}
}
