package daemon

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/internal/journal/postgres/pgtest"
)

// The attack suite: what strangers can send, against the whole server in a process of its own, on loopback. The attacks here take no
// time. The ones in the other files wait for time-outs, or measure memory and descriptors of the server's process. The build tag
// `attack` adds them: go test -tags attack -run Attack ./internal/daemon. Each attack is bounded in count and time:
//
//	attack                                                       connections   bytes        time
//	TestAttackCorners           requests with two meanings       50            1 KiB each   1 s
//	TestAttackHeadersOnAnswers  answers of every kind            30            1 KiB each   1 s
//	TestAttackHealthNames       names of unknown services        1             1 MiB        1 s
//	TestAttackRequestSizes      large requests of small methods  1             2 MiB each   1 s
//	TestAttackHealthWatches     7 MiB names in health watches    1             560 MiB      30 s
//	TestAttackEndlessHeaders    headers that never end           30            16 MiB each  30 s
//	TestAttackHeaderBomb        headers that unpack to 60 MiB    10            16 KiB each  10 s
//	TestAttackFloods            frames that cost an answer       5             2 MiB each   10 s
//	TestAttackCallsWithoutRequest  1,000 calls without a request 1             100 KiB      20 s
//	TestAttackSlow              a byte a second, everywhere      10 each       20 each      20 s
//	TestAttackSlowBodies        a byte a second, signed source   100           20 each      15 s
//	TestAttackDescriptors       idle connections, 64 descriptors 100           0            10 s
//	TestAttackNoDescriptor      the same with too high a limit   100           0            10 s
//	TestAttackConnectionFlood   connections beside a sender      3,000         0            20 s
//	TestAttackHalfOpenHeads     heads that never end             800           30 KiB each  10 s
//	TestAttackTypedCalls        large calls without a secret     1             880 MiB      30 s
//	TestAttackIdleHTTP2         connections without a call       600           100 B each   10 s
//	TestAttackUnreadAnswers     answers that nothing reads       100           10 KiB each  10 s
//	TestAttackWebSlow           a byte a second, HTTP at gRPC    70            20 each      15 s
//	TestAttackWebSlowHTTP2      bodies that never end            10            1 KiB each   12 s
//	TestAttackWebHeaders        endless and half-open headers    560           16 MiB each  10 s
//	TestAttackWebFloods         frames that cost an answer       7             2 MiB each   10 s
//	TestAttackWebBodies         large bodies without a token     100           1 MiB each   14 s
//	TestAttackWebUnread         answers that nothing reads       120           10 KiB each  10 s
//	TestAttackWebIdle           connections after one call       600           100 B each   10 s
//	TestAttackLargeBodies       announced and never sent         100           1 KiB each   10 s

const (
	// attackedEnv has the settings of a server under attack, and tells the test's program to be that server.
	attackedEnv  = "BRIDGE_TEST_ATTACKED"
	attackSecret = "a-secret-for-tests"
	attackToken  = "a-token-for-tests-0123"
)

// attackedSettings are the settings of a server under attack.
type attackedSettings struct {
	Config string
	// Descriptors is how many descriptors the process may open. 0 leaves the system's limit.
	Descriptors uint64
}

// attacked is a server under attack, in a process of its own.
type attacked struct {
	// Addresses are the listeners' addresses, by name.
	Addresses map[string]string
	process   *os.Process
	// scheme is http, or https if the configuration has TLS.
	scheme string
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestMain(m *testing.M) {
	if text := os.Getenv(attackedEnv); text != "" {
		if err := beAttacked(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// beAttacked serves until standard input ends. It prints the addresses.
func beAttacked(text string) error {
	var settings attackedSettings
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		return err
	}
	if n := settings.Descriptors; n > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	plugins := Plugins{Connectors: []*connectors.Connector{retino.New()}}
	cfg, err := plugins.LoadConfig(settings.Config, os.LookupEnv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	a, err := Open(ctx, cfg, plugins, Place{}, log)
	if err != nil {
		return err
	}
	addresses := map[string]string{}
	for name := range a.listeners {
		addresses[name] = a.Addr(name)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	line, err := json.Marshal(addresses)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		return err
	}
	return a.Run(ctx)
}

// attackedConfig is a configuration with tokens, a source with a secret and typed calls, and a signed source.
const attackedConfig = `
listen:
  webhooks: "127.0.0.1:0"
  ops: "127.0.0.1:0"
  grpc: "127.0.0.1:0"
  admin: "127.0.0.1:0"
%s
access: {tokens: [` + attackToken + `]}
journal: {dir: %q, min_free: 1Mi}
shutdown_timeout: 2s
sources:
  - name: returns
    connector: retino
    auth: {header: {name: X-Retino-Secret, values: [` + attackSecret + `]}}
    grpc: true
    limits: {body: 16Mi}
  - name: signed
    connector: retino
    auth: {hmac: {secrets: [0123456789], header: X-Signature, signed: "{url}{body}"}}
`

// startAttacked starts a server under attack. more is added to the configuration's key listen.
func startAttacked(t *testing.T, descriptors uint64, more string) *attacked {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "bridge.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, attackedConfig, more, filepath.Join(dir, "data")), 0o600); err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(attackedSettings{Config: path, Descriptors: descriptors})
	if err != nil {
		t.Fatal(err)
	}
	a := &attacked{log: new(lockedBuffer), scheme: "http"}
	if strings.Contains(more, "tls:") {
		a.scheme = "https"
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), attackedEnv+"="+string(settings))
	cmd.Stderr = a.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.process = cmd.Process
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the server ended with %v:\n%s", err, a.log)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", a.log)
		}
	})
	if err := json.NewDecoder(stdout).Decode(&a.Addresses); err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("the server does not start: %v\n%s", err, a.log)
	}
	a.waitUntilReady(t)
	return a
}

func (a *attacked) waitUntilReady(t *testing.T) {
	t.Helper()
	for range 1000 {
		if _, body := a.get(t, "ops", "/readyz"); strings.HasPrefix(body, "ok") {
			return
		}
	}
	t.Fatal("the server is not ready")
}

// client returns a client that makes a new connection for each request.
func (*attacked) client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
}

// get makes a request over a connection of its own, and returns the status and the body.
func (a *attacked) get(t *testing.T, listener, path string) (int, string) {
	t.Helper()
	client := a.client(10 * time.Second)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.scheme+"://"+a.Addresses[listener]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s%s: %v", listener, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// metric returns the value of a series, as /metrics writes its name and labels. A missing series is 0.
func (a *attacked) metric(t *testing.T, series string) float64 {
	t.Helper()
	_, text := a.get(t, "ops", "/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// webhook is a genuine webhook, over a connection of its own. It returns how long it took.
func (a *attacked) webhook(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	client := a.client(30 * time.Second)
	body := strings.NewReader(fmt.Sprintf(`{"event_type":"shipping.ordered","created_at":"2023-01-23T10:28:10.010Z","n":%d}`, time.Now().UnixNano()))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.scheme+"://"+a.Addresses["webhooks"]+"/webhooks/returns", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Retino-Secret", attackSecret)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("a genuine webhook: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("a genuine webhook: status %d", resp.StatusCode)
	}
	return time.Since(began)
}

// connect opens a connection that is closed with the test.
func (a *attacked) connect(t *testing.T, listener string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", a.Addresses[listener])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

// TestAttackCorners: requests that two programs could read in two ways are refused, and the connection is closed, on each listener.
func TestAttackCorners(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	const chunked = "Transfer-Encoding: chunked\r\n"
	for _, tt := range []struct {
		name, head, body string
		status           int
	}{
		{"a length beside chunks", "Content-Length: 2\r\n" + chunked, "2\r\n{}\r\n0\r\n\r\n", 400},
		{"chunks beside a length", chunked + "Content-Length: 2\r\n", "2\r\n{}\r\n0\r\n\r\n", 400},
		{"two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n", "{} ", 400},
		{"one length twice", "Content-Length: 2\r\nContent-Length: 2\r\n", "{}", 400},
		{"another coding", "Transfer-Encoding: xchunked\r\n", "2\r\n{}\r\n0\r\n\r\n", 501},
		{"two codings", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", 501},
		{"LF alone", "X: y\nContent-Length: 2\r\n", "{}", 400},
		{"a folded field", "X: y\r\n z\r\nContent-Length: 2\r\n", "{}", 400},
		{"a blank before the colon", "Content-Length : 2\r\n", "{}", 400},
		{"two hosts", "Host: c\r\nContent-Length: 2\r\n", "{}", 400},
		{"a wrong chunk size", chunked, "0x2\r\n{}\r\n0\r\n\r\n", 400},
		{"a long chunk extension", chunked, "2;" + strings.Repeat("x", 4096) + "\r\n{}\r\n0\r\n\r\n", 400},
		{"an unknown expectation", "Expect: the worst\r\nContent-Length: 2\r\n", "{}", 417},
		{"headers without end", "X: " + strings.Repeat("x", 80<<10) + "\r\n", "", 431},
	} {
		for listener, first := range map[string]string{
			"webhooks": "POST /webhooks/returns HTTP/1.1\r\nX-Retino-Secret: " + attackSecret + "\r\n",
			"ops":      "POST /readyz HTTP/1.1\r\n",
			"admin":    "POST /v1/webhooks HTTP/1.1\r\nAuthorization: Bearer " + attackToken + "\r\n",
		} {
			conn := a.connect(t, listener)
			_, _ = io.WriteString(conn, first+"Host: "+a.Addresses[listener]+"\r\n"+tt.head+"\r\n"+tt.body)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Errorf("%s at %s: %v", tt.name, listener, err)
				continue
			}
			if resp.StatusCode != tt.status || !resp.Close {
				t.Errorf("%s at %s: status %d, closed %v; want %d and closed", tt.name, listener, resp.StatusCode, resp.Close, tt.status)
			}
			checkHeaders(t, tt.name+" at "+listener, resp)
			if n, err := io.Copy(io.Discard, conn); err != nil || n > 0 {
				t.Errorf("%s at %s: after the answer come %d bytes and %v", tt.name, listener, n, err)
			}
			_ = resp.Body.Close()
		}
	}
	// The source was never reached: nothing of a refused request is a webhook.
	if n := a.metric(t, `bridge_webhooks_taken_total{source="returns"}`); n != 0 {
		t.Errorf("%v webhooks were accepted", n)
	}
	if n := a.metric(t, `bridge_connections_dropped_total{listener="webhooks",reason="malformed"}`); n < 10 {
		t.Errorf("%v connections were counted as malformed", n)
	}
	a.webhook(t)
}

// TestAttackKeepAlive: what is allowed still works: pipelined requests, chunks, HTTP/1.0, an absolute target, 100-continue.
func TestAttackKeepAlive(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	auth := "Host: b\r\nX-Retino-Secret: " + attackSecret + "\r\n"
	for _, tt := range []struct {
		name, requests string
		statuses       []int
	}{
		{
			"two in one packet", "POST /webhooks/returns HTTP/1.1\r\n" + auth + "Content-Length: 2\r\n\r\n{}" +
				"POST /webhooks/returns HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nTrailer: x\r\n\r\n" +
				"POST /webhooks/returns HTTP/1.1\r\n" + auth + "Content-Length: 2\r\n\r\n{}", []int{200, 200, 200},
		},
		{"HTTP/1.0", "POST /webhooks/returns HTTP/1.0\r\nConnection: keep-alive\r\n" + auth + "Content-Length: 2\r\n\r\n{}", []int{200}},
		{"an absolute target", "POST http://other/webhooks/returns HTTP/1.1\r\n" + auth + "Content-Length: 2\r\n\r\n{}", []int{200}},
		{"an absolute target of a stranger", "POST http://other/webhooks/returns HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", []int{401}},
		{
			"a sender who asks", "POST /webhooks/returns HTTP/1.1\r\n" + auth + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
			[]int{100, 200},
		},
		{
			"a stranger who asks", "POST /webhooks/returns HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
			[]int{401},
		},
		{
			// The first request is answered, and the connection closed.
			"a bad one behind a good one", "POST /webhooks/returns HTTP/1.1\r\n" + auth + "Content-Length: 2\r\n\r\n{}" +
				"POST /webhooks/returns HTTP/1.1\r\n" + auth + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{200},
		},
	} {
		conn := a.connect(t, "webhooks")
		_, _ = io.WriteString(conn, tt.requests)
		in := bufio.NewReader(conn)
		for _, want := range tt.statuses {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				break
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: status %d, want %d", tt.name, resp.StatusCode, want)
			}
		}
	}
}

// TestAttackHeadersOnAnswers: every answer of every HTTP listener has the standard headers.
func TestAttackHeadersOnAnswers(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	token := "Authorization: Bearer " + attackToken + "\r\n"
	for _, tt := range []struct {
		listener, request string
		status            int
	}{
		{"webhooks", "POST /webhooks/returns HTTP/1.1\r\nHost: b\r\nX-Retino-Secret: " + attackSecret + "\r\nContent-Length: 2\r\n\r\n{}", 200},
		{"webhooks", "POST /webhooks/returns HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", 401},
		{"webhooks", "POST /webhooks/unknown HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", 404},
		{"webhooks", "GET /webhooks/returns HTTP/1.1\r\nHost: b\r\nX-Retino-Secret: " + attackSecret + "\r\n\r\n", 405},
		{"webhooks", "GET / HTTP/1.1\r\nHost: b\r\n\r\n", 404},
		{"webhooks", "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", 404},
		{"webhooks", "nonsense\r\n\r\n", 400},
		{"webhooks", "GET / HTTP/1.1\r\n\r\n", 400},
		{"webhooks", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
		{"webhooks", "GET / HTTP/3.1\r\nHost: b\r\n\r\n", 505},
		{"webhooks", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404},
		{"ops", "GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n", 200},
		{"ops", "GET /readyz HTTP/1.1\r\nHost: b\r\n\r\n", 200},
		{"ops", "GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n", 200},
		{"ops", "POST /metrics HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 405},
		{"ops", "GET /<script> HTTP/1.1\r\nHost: b\r\n\r\n", 404},
		{"ops", "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", 200},
		{"ops", "nonsense\r\n\r\n", 400},
		{"admin", "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n", 200},
		{"admin", "GET /v1/webhooks HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n", 200},
		{"admin", "GET /v1/unknown HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n", 404},
		{"admin", "GET /unknown HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n", 404},
		{"admin", "GET /v1/webhooks HTTP/1.1\r\nHost: localhost\r\n\r\n", 401},
		{"admin", "GET /v1/webhooks HTTP/1.1\r\nHost: evil\r\n\r\n", 403},
		{"admin", "nonsense\r\n\r\n", 400},
	} {
		conn := a.connect(t, tt.listener)
		_, _ = io.WriteString(conn, tt.request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %q: %v", tt.listener, tt.request, err)
			continue
		}
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %q: status %d, want %d", tt.listener, tt.request, resp.StatusCode, tt.status)
		}
		checkHeaders(t, fmt.Sprintf("%s: %q", tt.listener, tt.request), resp)
		_ = resp.Body.Close()
	}
}

func checkHeaders(t *testing.T, name string, resp *http.Response) {
	t.Helper()
	for header, want := range map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"Cache-Control":           "no-store",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy":         "no-referrer",
	} {
		if got := resp.Header.Values(header); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q", name, header, got)
		}
	}
}
