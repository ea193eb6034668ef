//go:build attack && linux

package daemon

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// memory returns the most memory that the server's process has had, in MiB.
func (a *attacked) memory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes >> 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// costs fails if the attack makes the server take more than so many MiB, or if a genuine webhook fails after it.
func (a *attacked) costs(t *testing.T, most int, attack func()) {
	t.Helper()
	a.webhook(t)
	before := a.memory(t)
	attack()
	after := a.memory(t)
	t.Logf("memory of the server: %d MiB before, at most %d MiB under attack", before, after)
	if after-before > most {
		t.Errorf("the attack costs %d MiB, more than %d", after-before, most)
	}
	a.webhook(t)
}

// TestAttackHealthWatches: watches of the health service, with names of 7 MiB, without a token.
func TestAttackHealthWatches(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 64, func() {
		conn, err := grpc.NewClient(a.Addresses["grpc"], grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		name := strings.Repeat("x", 7<<20)
		var watches sync.WaitGroup
		for range 80 {
			watches.Go(func() {
				stream, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{Service: name})
				if err == nil {
					_, err = stream.Recv()
				}
				if status.Code(err) != codes.ResourceExhausted {
					t.Errorf("a name of 7 MiB: %.200v", err)
				}
			})
		}
		watches.Wait()
	})
}

// rawHTTP2 is a client of the gRPC port that keeps no rules.
type rawHTTP2 struct {
	net.Conn
	*http2.Framer
	block bytes.Buffer
	hpack *hpack.Encoder
}

func (a *attacked) rawHTTP2(t *testing.T) *rawHTTP2 {
	t.Helper()
	c := &rawHTTP2{Conn: a.connect(t, "grpc")}
	c.Framer = http2.NewFramer(c.Conn, c.Conn)
	c.AllowIllegalWrites = true
	c.hpack = hpack.NewEncoder(&c.block)
	_, _ = io.WriteString(c.Conn, http2.ClientPreface)
	_ = c.WriteSettings()
	return c
}

// headers returns the headers of a call.
func (c *rawHTTP2) headers(path string, more ...string) []byte {
	c.block.Reset()
	fields := append([]string{
		":method", "POST", ":scheme", "http", ":path", path, ":authority", "b", "content-type", "application/grpc", "te", "trailers",
	}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = c.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(c.block.Bytes())
}

// open begins a call and sends no request.
func (c *rawHTTP2) open(stream uint32, path string) error {
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.headers(path), EndHeaders: true})
}

// ends waits until the server has closed the connection. It returns how long that took.
func ends(t *testing.T, what string, conn net.Conn, most time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(most))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the connection is still open after %v", what, most)
	}
	return time.Since(began)
}

const healthCheck, healthWatch = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"

// TestAttackEndlessHeaders: headers that never end, in CONTINUATION frames.
func TestAttackEndlessHeaders(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 32, func() {
		var attacks sync.WaitGroup
		for range 30 {
			c := a.rawHTTP2(t)
			attacks.Go(func() {
				err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers(healthCheck)})
				for i := 0; i < 1024 && err == nil; i++ {
					err = c.WriteContinuation(1, false, c.headers(healthCheck, "x-"+strconv.Itoa(i), strings.Repeat("x", 15<<10)))
				}
				ends(t, "endless headers", c.Conn, 10*time.Second)
			})
		}
		attacks.Wait()
	})
}

// TestAttackHeaderBomb: small frames that unpack to many large headers.
func TestAttackHeaderBomb(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 32, func() {
		for range 10 {
			c := a.rawHTTP2(t)
			block := c.headers(healthCheck, "x", strings.Repeat("x", 3900))
			// 62 is the index of the field that came last.
			block = append(block, bytes.Repeat([]byte{0x80 | 62}, 12<<10)...)
			_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
			ends(t, "a header bomb", c.Conn, 10*time.Second)
		}
	})
}

// TestAttackFloods: frames of HTTP/2 that cost the server an answer, or work, and the client nothing.
func TestAttackFloods(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 32, func() {
		for name, frame := range map[string]func(*rawHTTP2, uint32) error{
			"pings":    func(c *rawHTTP2, _ uint32) error { return c.WritePing(false, [8]byte{}) },
			"settings": func(c *rawHTTP2, _ uint32) error { return c.WriteSettings() },
			"resets": func(c *rawHTTP2, n uint32) error {
				return errors.Join(c.open(2*n+1, healthCheck), c.WriteRSTStream(2*n+1, http2.ErrCodeCancel))
			},
			"empty data": func(c *rawHTTP2, _ uint32) error { return c.WriteData(1, false, nil) },
			"priorities": func(c *rawHTTP2, _ uint32) error {
				return c.WritePriority(3, http2.PriorityParam{StreamDep: 1})
			},
			"windows": func(c *rawHTTP2, _ uint32) error { return c.WriteWindowUpdate(0, 1) },
			"refused calls": func(c *rawHTTP2, n uint32) error {
				return c.open(2*n+1, "/bridge.stream.v1.EventStreamService/Tail")
			},
		} {
			c := a.rawHTTP2(t)
			go io.Copy(io.Discard, c.Conn)
			n, err := uint32(0), error(nil)
			for began := time.Now(); err == nil && n < 50_000 && time.Since(began) < 10*time.Second; n++ {
				err = frame(c, n)
			}
			if err == nil {
				t.Errorf("%s: %d frames and no end", name, n)
			}
		}
	})
}

// TestAttackCallsWithoutRequest: calls that need no token, and that never send their request.
func TestAttackCallsWithoutRequest(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 32, func() {
		var attacks sync.WaitGroup
		for _, path := range []string{healthCheck, healthWatch} {
			c := a.rawHTTP2(t)
			attacks.Go(func() {
				for n := range uint32(900) {
					if c.open(2*n+1, path) != nil {
						break
					}
				}
				took := ends(t, path+" without a request", c.Conn, 20*time.Second)
				t.Logf("%s: closed after %v", path, took)
			})
		}
		attacks.Wait()
	})
}

// withTLS writes a certificate for the listeners, and returns the configuration's key listen.tls.
func withTLS(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := fmt.Sprintf("{cert_file: %q, key_file: %q}", write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", private))
	return fmt.Sprintf("  tls: {webhooks: %[1]s, ops: %[1]s, grpc: %[1]s, admin: %[1]s}\n", pair)
}

// TestAttackSlow: a part of a request that comes a byte a second, on every listener, with and without TLS.
func TestAttackSlow(t *testing.T) {
	t.Parallel()
	plain, secure := startAttacked(t, 0, ""), startAttacked(t, 0, withTLS(t))
	frame := string([]byte{0, 0x20, 0, byte(http2.FrameHeaders), 0, 0, 0, 0, 1})
	settings := http2.ClientPreface + string([]byte{0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0})
	var attacks sync.WaitGroup
	for _, tt := range []struct {
		name, listener string
		server         *attacked
		tls            bool
		sent, every    string
		most           time.Duration
	}{
		{name: "webhooks: nothing", listener: "webhooks", server: plain, most: 12 * time.Second},
		{name: "webhooks: headers", listener: "webhooks", server: plain, sent: "POST / HTTP/1.1\r\n", every: "X: y\r\n", most: 12 * time.Second},
		{name: "webhooks: the first line", listener: "webhooks", server: plain, every: "x", most: 12 * time.Second},
		{name: "ops: headers", listener: "ops", server: plain, sent: "GET / HTTP/1.1\r\n", every: "X: y\r\n", most: 12 * time.Second},
		{
			name: "ops: a body", listener: "ops", server: plain, most: 12 * time.Second,
			sent: "GET /readyz HTTP/1.1\r\nHost: b\r\nContent-Length: 1000000000\r\n\r\n", every: "x",
		},
		{
			name: "admin: a body", listener: "admin", server: plain, every: "x", most: 12 * time.Second,
			sent: "POST /v1/quarantine:retry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n",
		},
		{
			name: "admin: a body of an operator", listener: "admin", server: plain, every: "x", most: 14 * time.Second,
			sent: "POST /v1/quarantine:retry HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + attackToken +
				"\r\nContent-Length: 100000\r\n\r\n",
		},
		{name: "grpc: nothing", listener: "grpc", server: plain, most: 12 * time.Second},
		{name: "grpc: the preface", listener: "grpc", server: plain, sent: "PRI", every: " ", most: 12 * time.Second},
		{name: "grpc: settings", listener: "grpc", server: plain, sent: http2.ClientPreface, every: "\x00", most: 12 * time.Second},
		{name: "grpc: a frame", listener: "grpc", server: plain, sent: settings + frame, every: "x", most: 12 * time.Second},
		{name: "webhooks: no handshake", listener: "webhooks", server: secure, most: 12 * time.Second},
		{name: "webhooks: a handshake", listener: "webhooks", server: secure, sent: "\x16\x03\x01\x02\x00", every: "\x01", most: 12 * time.Second},
		{name: "ops: a handshake", listener: "ops", server: secure, sent: "\x16\x03\x01\x02\x00", every: "\x01", most: 12 * time.Second},
		{name: "admin: a handshake", listener: "admin", server: secure, sent: "\x16\x03\x01\x02\x00", every: "\x01", most: 12 * time.Second},
		{name: "grpc: a handshake", listener: "grpc", server: secure, sent: "\x16\x03\x01\x02\x00", every: "\x01", most: 12 * time.Second},
		{name: "webhooks: headers in TLS", listener: "webhooks", server: secure, tls: true, sent: "POST / HTTP/1.1\r\n", every: "X: y\r\n", most: 12 * time.Second},
		{name: "grpc: a frame in TLS", listener: "grpc", server: secure, tls: true, sent: settings + frame, every: "x", most: 12 * time.Second},
	} {
		for range 10 {
			conn := tt.server.connect(t, tt.listener)
			attacks.Go(func() {
				if tt.tls {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
				}
				_, _ = io.WriteString(conn, tt.sent)
				stop := drip(conn, tt.every)
				ends(t, tt.name, conn, tt.most)
				stop()
			})
		}
	}
	attacks.Wait()
	plain.webhook(t)
	secure.webhook(t)
}

// drip sends text once a second, until stop is called or the connection ends.
func drip(conn net.Conn, text string) (stop func()) {
	done := make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
			}
		}
	})
	return func() {
		close(done)
		dripping.Wait()
	}
}

// TestAttackSlowBodies: bodies of a signed source that send a byte each second. The announced length does not matter.
func TestAttackSlowBodies(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	signature := "X-Signature: " + strings.Repeat("0", 64) + "\r\n"
	var attacks sync.WaitGroup
	var mu sync.Mutex
	longest := time.Duration(0)
	for i := range 100 {
		framing := []string{"Content-Length: 1000000\r\n\r\n", "Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"}[i%3]
		conn := a.connect(t, "webhooks")
		attacks.Go(func() {
			_, _ = io.WriteString(conn, "POST /webhooks/signed HTTP/1.1\r\nHost: b\r\n"+signature+framing)
			stop := drip(conn, []string{"x", "x", "1\r\nx\r\n"}[i%3])
			took := ends(t, "a slow body", conn, 15*time.Second)
			stop()
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, took)
		})
	}
	a.webhook(t)
	attacks.Wait()
	t.Logf("100 connections, a byte a second: the last one was closed after %v", longest)
}

// TestAttackHalfOpenHeads: heads of requests that never end, with many fields or one long one, each nearly as large as allowed.
func TestAttackHalfOpenHeads(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 128, func() {
		for i := range 800 {
			conn := a.connect(t, "webhooks")
			head := "POST /webhooks/signed HTTP/1.1\r\nHost: b\r\n"
			if i%2 == 0 {
				head += "X: " + strings.Repeat("y", 30<<10)
			} else {
				var fields strings.Builder
				for n := range 120 {
					fmt.Fprintf(&fields, "x-%d: %s\r\n", n, strings.Repeat("y", 240))
				}
				head += fields.String()
			}
			_, _ = io.WriteString(conn, head)
		}
	})
}

// TestAttackTypedCalls: large typed calls with a wrong secret, and large subscriptions without a token.
func TestAttackTypedCalls(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 32, func() {
		conn := dialAttacked(t, a)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		typed := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+attackToken, "bridge-source", "returns", "x-retino-secret", "wrong")
		shipment := largeShipment(15 << 20)
		var calls sync.WaitGroup
		for range 40 {
			calls.Go(func() {
				_, err := retinov1.NewRetinoWebhookServiceClient(conn).ShippingOrdered(typed, shipment)
				if status.Code(err) != codes.Unauthenticated {
					t.Errorf("a typed call: %.200v", err)
				}
			})
			calls.Go(func() {
				if err := openTail(ctx, conn, 7<<20); status.Code(err) != codes.Unauthenticated {
					t.Errorf("a subscription: %.200v", err)
				}
			})
		}
		calls.Wait()
	})
}

// TestAttackIdleHTTP2: connections that only greet, as many as the listener allows.
func TestAttackIdleHTTP2(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 64, func() {
		for range 600 {
			a.rawHTTP2(t)
		}
	})
	if n := a.metric(t, `bridge_connections_open{listener="grpc"}`); n > 512 {
		t.Errorf("%v connections are open", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := healthv1.NewHealthClient(dialAttacked(t, a)).Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("a health check beside them: %v", err)
	}
}

// TestAttackUnreadAnswers: callers that never read what they asked for.
func TestAttackUnreadAnswers(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 96, func() {
		for range 50 {
			conn := a.connect(t, "ops")
			_, _ = io.WriteString(conn, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n", 200))
			c := a.rawHTTP2(t)
			_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for n := range uint32(200) {
				if c.open(2*n+1, healthCheck) != nil || c.WriteData(2*n+1, true, make([]byte, 5)) != nil {
					break
				}
			}
		}
	})
}
