//go:build attack && linux

package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"

	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// The attacks on the gRPC port by what is not gRPC.

const (
	webCheck = "POST " + healthCheck + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	tailPath = "/bridge.stream.v1.EventStreamService/Tail"
)

// webHeaders returns the headers of a call that is not gRPC.
func (c *rawHTTP2) webHeaders(method, path string, more ...string) []byte {
	c.block.Reset()
	fields := append([]string{":method", method, ":scheme", "http", ":path", path, ":authority", "localhost", "content-type", "application/json"}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = c.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(c.block.Bytes())
}

// call begins a call that is not gRPC.
func (c *rawHTTP2) call(stream uint32, method, path string, end bool) error {
	return c.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.webHeaders(method, path), EndHeaders: true, EndStream: end,
	})
}

// healthy checks that a load balancer still reaches the port.
func (a *attacked) healthy(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := healthv1.NewHealthClient(dialAttacked(t, a)).Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("a health check: %v", err)
	}
}

// TestAttackWebSlow: a part of a request that comes a byte a second, over HTTP/1.1, with and without TLS.
func TestAttackWebSlow(t *testing.T) {
	t.Parallel()
	plain, secure := startAttacked(t, 0, ""), startAttacked(t, 0, withTLS(t))
	var attacks sync.WaitGroup
	for _, tt := range []struct {
		name        string
		sent, every string
	}{
		{name: "the first line", sent: "G", every: "x"},
		{name: "what may be HTTP/2", sent: "PRI * HTTP/2.0\r\n\r\nSM", every: ""},
		{name: "headers", sent: "GET /v1/events HTTP/1.1\r\n", every: "X: y\r\n"},
		{name: "a body", sent: webCheck + "Content-Length: 4000\r\n\r\n", every: "x"},
		{name: "a body in chunks", sent: webCheck + "Transfer-Encoding: chunked\r\n\r\n", every: "1\r\nx\r\n"},
		{
			name: "a message", every: "x", sent: "POST " + tailPath + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + attackToken +
				"\r\nContent-Type: application/connect+json\r\nContent-Length: 4005\r\n\r\n\x00\x00\x00\x0f\xa0",
		},
		{
			name: "a body that nobody reads", every: "x",
			sent: "POST " + tailPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
		},
	} {
		for n := range 10 {
			server := []*attacked{plain, secure}[n%2]
			conn := server.connect(t, "grpc")
			attacks.Go(func() {
				if server == secure {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
				}
				_, _ = io.WriteString(conn, tt.sent)
				stop := drip(conn, tt.every)
				ends(t, tt.name, conn, 14*time.Second)
				stop()
			})
		}
	}
	attacks.Wait()
	plain.healthy(t)
	plain.webhook(t)
	secure.webhook(t)
}

// TestAttackWebSlowHTTP2: bodies that never end, over HTTP/2: each call ends, and its connection serves others.
func TestAttackWebSlowHTTP2(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 32, func() {
		var attacks sync.WaitGroup
		for range 10 {
			c := a.rawHTTP2(t)
			attacks.Go(func() {
				const calls = 8 // as many health checks as may be open
				for n := range uint32(calls) {
					if err := errors.Join(c.call(2*n+1, "POST", healthCheck, false), c.WriteData(2*n+1, false, []byte("{"))); err != nil {
						t.Error(err)
					}
				}
				began, ended := time.Now(), map[uint32]bool{}
				_ = c.SetReadDeadline(began.Add(14 * time.Second))
				for len(ended) < calls {
					frame, err := c.ReadFrame()
					if err != nil {
						t.Errorf("%d calls have ended: %v", len(ended), err)
						return
					}
					if h := frame.Header(); h.Type == http2.FrameRSTStream || h.Type == http2.FrameHeaders || h.Flags.Has(http2.FlagDataEndStream) {
						ended[h.StreamID] = true
					}
				}
			})
		}
		attacks.Wait()
	})
}

// TestAttackWebHeaders: headers that never end, that unpack to many megabytes, and heads that are half there.
func TestAttackWebHeaders(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 64, func() {
		var attacks sync.WaitGroup
		for n := range 60 {
			if n%2 == 0 {
				conn := a.connect(t, "grpc")
				attacks.Go(func() {
					_, err := io.WriteString(conn, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n")
					for i := 0; i < 1024 && err == nil; i++ {
						_, err = io.WriteString(conn, "x-"+strconv.Itoa(i)+": "+strings.Repeat("x", 15<<10)+"\r\n")
					}
					ends(t, "endless headers over HTTP/1.1", conn, 10*time.Second)
				})
				continue
			}
			c := a.rawHTTP2(t)
			attacks.Go(func() {
				if n%4 == 1 { // a second call, once it is known that it is no gRPC
					_ = c.call(1, "GET", "/", true)
				}
				block := c.webHeaders("GET", "/v1/events", "x", strings.Repeat("x", 3900))
				err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: append(block, bytes.Repeat([]byte{0x80 | 62}, 8<<10)...)})
				for i := 0; i < 1024 && err == nil; i++ {
					err = c.WriteContinuation(3, false, c.webHeaders("GET", "/", "x-"+strconv.Itoa(i), strings.Repeat("x", 15<<10)))
				}
				ends(t, "endless headers over HTTP/2", c.Conn, 10*time.Second)
			})
		}
		attacks.Wait()
		for range 500 {
			_, _ = io.WriteString(a.connect(t, "grpc"), "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("y", 15<<10))
		}
	})
	a.healthy(t)
}

// TestAttackWebFloods: frames of HTTP/2 that cost an answer, or work, on connections of an [http.Server].
func TestAttackWebFloods(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 32, func() {
		for name, frame := range map[string]func(*rawHTTP2, uint32) error{
			"pings":    func(c *rawHTTP2, _ uint32) error { return c.WritePing(false, [8]byte{}) },
			"settings": func(c *rawHTTP2, _ uint32) error { return c.WriteSettings() },
			"resets": func(c *rawHTTP2, n uint32) error {
				return errors.Join(c.call(2*n+3, "POST", healthCheck, false), c.WriteRSTStream(2*n+3, http2.ErrCodeCancel))
			},
			"empty data":    func(c *rawHTTP2, _ uint32) error { return c.WriteData(1, false, nil) },
			"priorities":    func(c *rawHTTP2, _ uint32) error { return c.WritePriority(3, http2.PriorityParam{StreamDep: 1}) },
			"windows":       func(c *rawHTTP2, _ uint32) error { return c.WriteWindowUpdate(0, 1) },
			"refused calls": func(c *rawHTTP2, n uint32) error { return c.call(2*n+3, "GET", "/v1/events", true) },
		} {
			c := a.rawHTTP2(t)
			_ = c.call(1, "POST", healthCheck, false)
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

// TestAttackWebBodies: large bodies of strangers, announced or sent, are not read before the credential.
func TestAttackWebBodies(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 48, func() {
		body := strings.Repeat("x", 1<<20)
		var attacks sync.WaitGroup
		for n := range 100 {
			conn := a.connect(t, "grpc")
			attacks.Go(func() {
				path := []string{tailPath, healthCheck}[n%2]
				_, _ = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n")
				_, _ = io.WriteString(conn, body)
				ends(t, "a large body", conn, 14*time.Second)
			})
		}
		attacks.Wait()
	})
}

// TestAttackWebUnread: callers that never read what they asked for, with and without a token.
func TestAttackWebUnread(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	for range 20 {
		a.webhook(t)
	}
	a.costs(t, 96, func() {
		for n := range 50 {
			_, _ = io.WriteString(a.connect(t, "grpc"), strings.Repeat("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n", 200))
			c := a.rawHTTP2(t)
			_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for stream := range uint32(200) {
				if c.call(2*stream+1, "GET", "/v1/events", true) != nil {
					break
				}
			}
			if n < 20 {
				_, _ = io.WriteString(a.connect(t, "grpc"),
					"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+attackToken+"\r\n\r\n")
			}
		}
	})
	a.healthy(t)
}

// TestAttackWebIdle: connections that made one call, as many as the listener allows, over HTTP/1.1 and HTTP/2.
func TestAttackWebIdle(t *testing.T) {
	t.Parallel()
	a := startAttacked(t, 0, "")
	a.costs(t, 96, func() {
		for n := range 600 {
			if n%2 == 0 {
				_, _ = io.WriteString(a.connect(t, "grpc"), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
				continue
			}
			_ = a.rawHTTP2(t).call(1, http.MethodGet, "/", true)
		}
	})
	if n := a.metric(t, `bridge_connections_open{listener="grpc"}`); n > 512 {
		t.Errorf("%v connections are open", n)
	}
	a.healthy(t)
}
