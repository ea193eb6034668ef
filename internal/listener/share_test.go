package listener

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

func certificate(t *testing.T) *tls.Config {
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
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

// share serves a gRPC server with the health service, and a handler that says what it sees, on one address.
func share(t *testing.T, t2 *tls.Config) (*Shared, string) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(raw, Config{Limit: 100}).Share(t2, methods)
	rpc := grpc.NewServer(s.Options()...)
	healthv1.RegisterHealthServer(rpc, health.NewServer())
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %t %t %s", r.Proto, r.TLS != nil, TLS(r.Context()) != nil, body)
	})}
	s.Prepare(web)
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Serve(); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() { _ = rpc.Serve(s.RPC()) })
	running.Go(func() { _ = web.Serve(s.Web()) })
	t.Cleanup(func() {
		_ = s.Close()
		rpc.Stop()
		_ = web.Close()
		running.Wait()
	})
	return s, raw.Addr().String()
}

// TestShared: each client reaches the server that speaks its protocol.
func TestShared(t *testing.T) {
	t.Parallel()
	_, plain := share(t, nil)
	_, secure := share(t, certificate(t))
	for name, tt := range map[string]struct {
		addr string
		c    credentials.TransportCredentials
	}{
		"plain": {plain, insecure.NewCredentials()},
		"TLS":   {secure, credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})},
	} {
		conn, err := grpc.NewClient(tt.addr, grpc.WithTransportCredentials(tt.c))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Errorf("gRPC, %s: %v", name, err)
		}
	}
	for _, tt := range []struct {
		url  string
		set  func(*http.Protocols, bool)
		want string
	}{
		{"http://" + plain, (*http.Protocols).SetHTTP1, "HTTP/1.1 false false body, also where gRPC has a length"},
		{"http://" + plain, (*http.Protocols).SetUnencryptedHTTP2, "HTTP/2.0 false false body, also where gRPC has a length"},
		{"https://" + secure, (*http.Protocols).SetHTTP1, "HTTP/1.1 true true body, also where gRPC has a length"},
		{"https://" + secure, (*http.Protocols).SetHTTP2, "HTTP/2.0 true true body, also where gRPC has a length"},
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
		tt.set(transport.Protocols, true)
		client := &http.Client{Transport: transport}
		for range 3 { // on one connection
			resp, err := client.Post(tt.url+"/small", "application/json", strings.NewReader("body, also where gRPC has a length"))
			if err != nil {
				t.Errorf("%s %s: %v", tt.url, tt.want, err)
				break
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(body) != tt.want || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: got %q, want %q, headers %v", tt.url, body, tt.want, resp.Header)
			}
		}
		client.CloseIdleConnections()
	}
}

// TestSharedPlainToTLS: who speaks HTTP in plain text to TLS is told so.
func TestSharedPlainToTLS(t *testing.T) {
	t.Parallel()
	_, addr := share(t, certificate(t))
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "HTTPS") {
		t.Errorf("%s: %s", resp.Status, body)
	}
}

const rpcType, webType = "application/grpc", "application/grpc-web+proto"

// caller writes the frames of a client over conn.
func caller(conn net.Conn) *http2.Framer {
	_, _ = io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	return f
}

func call1(f *http2.Framer, contentType string) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: block(
		":method", "POST", ":scheme", "http", ":path", "/small", ":authority", "b", "content-type", contentType, "te", "trailers",
	)})
}

// TestOneSettingsFrame: a client gets the settings once, before it calls, and one acknowledgement. Its pings are answered once.
func TestOneSettingsFrame(t *testing.T) {
	t.Parallel()
	_, addr := share(t, nil)
	for _, contentType := range []string{rpcType, webType} {
		conn := dial(t, addr)
		f := caller(conn)
		_ = f.WritePing(false, [8]byte{1})
		seen := map[string]int{}
		read := func(until func() bool) {
			for !until() {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatalf("%s: %v, after %v", contentType, err, seen)
				}
				switch frame := frame.(type) {
				case *http2.SettingsFrame:
					if frame.IsAck() {
						seen["acknowledged"]++
						break
					}
					seen["settings"]++
					if got := settingsOf(frame); !maps.Equal(got, settingsWanted()) {
						t.Errorf("%s: settings %v, want %v", contentType, got, settingsWanted())
					}
					_ = f.WriteSettingsAck()
				case *http2.PingFrame:
					seen[fmt.Sprintf("ping %t %d", frame.IsAck(), frame.Data[0])]++
				case *http2.HeadersFrame:
					seen["headers"]++
				case *http2.GoAwayFrame:
					t.Errorf("%s: %v", contentType, frame)
				}
			}
		}
		read(func() bool { return seen["settings"] == 1 && seen["ping true 1"] == 1 })
		if err := call1(f, contentType); err != nil {
			t.Fatal(err)
		}
		read(func() bool { return seen["headers"] > 0 && seen["acknowledged"] > 0 })
		_ = f.WritePing(false, [8]byte{2})
		read(func() bool { return seen["ping true 2"] == 1 })
		if seen["settings"] != 1 || seen["acknowledged"] != 1 || seen["ping true 1"] != 1 {
			t.Errorf("%s: %v", contentType, seen)
		}
	}
}

func settingsOf(f *http2.SettingsFrame) map[http2.SettingID]uint32 {
	got := map[http2.SettingID]uint32{}
	_ = f.ForeachSetting(func(s http2.Setting) error {
		got[s.ID] = s.Val
		return nil
	})
	return got
}

func settingsWanted() map[http2.SettingID]uint32 {
	want := map[http2.SettingID]uint32{}
	for _, s := range settings {
		want[s.ID] = s.Val
	}
	return want
}

// TestServersSettings: the frames that are left out say what greet says.
func TestServersSettings(t *testing.T) {
	t.Parallel()
	s, _ := share(t, nil)
	for name, hand := range map[string]func(*frames){
		"gRPC": func(f *frames) { s.rpc.hand(f) },
		"HTTP": func(f *frames) { s.web.hand(newWebConn(f)) },
	} {
		client, server := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		f := newFrames(server, &Conn{Conn: server, listener: s.listener, removed: true}, methods)
		f.unsent = 0
		go hand(f)
		go func() { _ = call1(caller(client), webType) }()
		frame, err := http2.NewFramer(nil, client).ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, client)
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok {
			t.Fatalf("%s: the first frame is %v", name, frame)
		}
		got := settingsOf(settings)
		delete(got, http2.SettingHeaderTableSize) // the default
		if !maps.Equal(got, settingsWanted()) {
			t.Errorf("%s: settings %v, want %v", name, got, settingsWanted())
		}
	}
}

// TestGreeting: what becomes of a connection that does not call.
func TestGreeting(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		send func(net.Conn)
		// ends is when the connection is closed, and away whether the client is told before.
		ends time.Duration
		away bool
	}{
		{"nothing", func(net.Conn) {}, settingsTimeout, false},
		{"a preface alone", func(c net.Conn) { _, _ = io.WriteString(c, http2.ClientPreface) }, settingsTimeout, false},
		{"a greeting", func(c net.Conn) { caller(c) }, firstCallTimeout, true},
		{"a part of a frame", func(c net.Conn) {
			caller(c)
			_, _ = c.Write([]byte{0, 0, 8})
		}, frameTimeout, false},
		{"endless frames", func(c net.Conn) {
			f := caller(c)
			for f.WriteRawFrame(0x77, 0, 0, make([]byte, 10_000)) == nil {
			}
		}, 0, false},
		{"another protocol", func(c net.Conn) { _, _ = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n") }, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				l := New(&fakeListener{}, Config{Limit: 1})
				conn := &Conn{Conn: server, listener: l, removed: true}
				f := newFrames(server, conn, methods)
				began := time.Now()
				var received bytes.Buffer
				var reading sync.WaitGroup
				reading.Go(func() { _, _ = io.Copy(&received, client) })
				reading.Go(func() { tt.send(client) })
				rpc, err := f.greet()
				if err == nil {
					t.Errorf("it is handed over: %t", rpc)
				}
				if took := time.Since(began); took != tt.ends {
					t.Errorf("it took %v, want %v", took, tt.ends)
				}
				_ = conn.Close()
				reading.Wait()
				if away := hasGoAway(t, &received); away != tt.away {
					t.Errorf("the client is told: %t, want %t", away, tt.away)
				}
			})
		})
	}
}

func hasGoAway(t *testing.T, received *bytes.Buffer) bool {
	t.Helper()
	for f := http2.NewFramer(nil, received); ; {
		frame, err := f.ReadFrame()
		switch {
		case errors.Is(err, io.EOF):
			return false
		case err != nil:
			t.Fatal(err)
		case frame.Header().Type == http2.FrameGoAway:
			return true
		}
	}
}

// TestSharedCloses: Serve ends when Close was called, although connections never say what they speak.
func TestSharedCloses(t *testing.T) {
	t.Parallel()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(raw, Config{Limit: 100}).Share(nil, methods)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	silent, greeted := dial(t, raw.Addr().String()), dial(t, raw.Addr().String())
	f := caller(greeted)
	if _, err := f.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("Serve does not return")
	}
	for _, c := range []net.Conn{silent, greeted} {
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
	}
}

// TestFirstCallDecides: the first call decides, also when others came with it.
func TestFirstCallDecides(t *testing.T) {
	t.Parallel()
	for _, first := range []string{rpcType, webType} {
		client, server := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		go io.Copy(io.Discard, client)
		go func() {
			s := newScript()
			_ = call1(s.Framer, first)
			for id := uint32(3); id < 9; id += 2 {
				for _, contentType := range []string{webType, rpcType} {
					_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block("content-type", contentType), EndHeaders: true})
				}
			}
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 11, BlockFragment: block("content-type", "x")})
			_, _ = client.Write(s.Bytes())
		}()
		f := newFrames(server, &Conn{Conn: server, listener: New(&fakeListener{}, Config{Limit: 1}), removed: true}, methods)
		rpc, err := f.greet()
		if err != nil || rpc != (first == rpcType) {
			t.Errorf("%s: %t, %v", first, rpc, err)
		}
	}
}

// TestContentTypes: only gRPC itself goes to the gRPC server.
func TestContentTypes(t *testing.T) {
	t.Parallel()
	var rpc []string
	for _, contentType := range []string{
		"application/grpc", "application/grpc+proto", "Application/GRPC", "application/grpc;charset=utf-8", "application/grpc-web",
		"application/grpc-web+proto", "application/grpc-web-text", "application/grpcx", "application/json", "application/connect+json", "",
	} {
		if IsRPC(contentType) {
			rpc = append(rpc, contentType)
		}
	}
	if want := []string{"application/grpc", "application/grpc+proto", "Application/GRPC", "application/grpc;charset=utf-8"}; !slices.Equal(rpc, want) {
		t.Errorf("got %q, want %q", rpc, want)
	}
}

// TestNothingIsLost: a server reads what the client sent but for the pings that were answered, wherever the parts end in which it arrived.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	sent, kept := newScript(), newScript()
	for n, s := range []*script{sent, kept} {
		if n == 0 {
			_ = s.WritePing(false, [8]byte{1})
		}
		_ = s.WriteSettingsAck()
		_ = s.WritePing(true, [8]byte{2})
		_ = s.WriteWindowUpdate(0, 1000)
		if n == 0 {
			_ = s.WritePing(false, [8]byte{3})
		}
		_ = call1(s.Framer, webType)
	}
	for size := 1; size < sent.Len(); size += 7 {
		client, server := net.Pipe()
		go io.Copy(io.Discard, client)
		greeted := make(chan struct{})
		go func() {
			for rest := sent.Bytes(); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				_, _ = client.Write(rest[:min(size, len(rest))])
			}
			<-greeted // the answer to a ping is written to a client that is there
			_ = client.Close()
		}()
		f := newFrames(server, &Conn{Conn: server, listener: New(&fakeListener{}, Config{Limit: 1}), removed: true}, methods)
		if _, err := f.greet(); err != nil {
			t.Fatalf("in parts of %d: %v", size, err)
		}
		close(greeted)
		got, _ := io.ReadAll(f)
		if !bytes.Equal(got, kept.Bytes()) {
			t.Fatalf("in parts of %d: the server reads %q, want %q", size, got, kept.Bytes())
		}
	}
}
