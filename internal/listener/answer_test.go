package listener

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// serve serves h on a protected listener and returns its address.
func serve(t *testing.T, s *http.Server) string {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	Protect(s)
	l := New(raw, Config{Limit: 100})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l.HTTP(nil))
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return raw.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// TestAnswers: all answers have the standard headers once, and are otherwise as the handler wrote them.
func TestAnswers(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("HTTP/1.1 200 OK\r\n\r\n", 10_000)
	mux := http.NewServeMux()
	mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "got %s", body)
	})
	mux.HandleFunc("/own", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header()["x-content-type-options"] = []string{"nosniff"}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, large) })
	mux.HandleFunc("/flushed", func(w http.ResponseWriter, _ *http.Request) {
		for _, part := range []string{"HTTP/1.1 ", "200 OK\r\n\r\n"} {
			_, _ = io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/head", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 20 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("y", 1000))
		}
		w.Header().Set("A-Long", strings.Repeat("y", 5000))
		w.Header().Set("Referrer-Policy", "origin")
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "done")
	})
	addr := serve(t, &http.Server{Handler: mux})

	for _, tt := range []struct {
		method, path, request string
		status                int
		body                  string
		interim               bool
		own                   map[string]string
	}{
		{"GET", "/small", "", 200, "got ", false, nil},
		{"HEAD", "/small", "", 200, "", false, nil},
		{"POST", "/small", "Content-Length: 2\r\n\r\n{}", 200, "got {}", false, nil},
		{"POST", "/small", "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", 200, "got {}", true, nil},
		{"POST", "/small", "Content-Length: 2\r\nExpect: other\r\n\r\n{}", 417, "", false, nil},
		{"GET", "/own", "", 204, "", false, map[string]string{"Cache-Control": "max-age=60"}},
		{"GET", "/error", "", 418, "no\n", false, nil},
		{"GET", "/large", "", 200, large, false, nil},
		{"GET", "/flushed", "", 200, "HTTP/1.1 200 OK\r\n\r\n", false, nil},
		{"GET", "/head", "", 200, "", false, map[string]string{"Referrer-Policy": "origin"}},
		{"GET", "/hints", "", 200, "done", true, nil},
		{"GET", "/none", "", 404, "404 page not found\n", false, nil},
	} {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, addr)
			answers := bufio.NewReader(conn)
			if tt.request == "" {
				tt.request = "\r\n"
			}
			for range 2 { // on one connection
				_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: b\r\n%s", tt.method, tt.path, tt.request)
				if tt.interim {
					if first := readResponse(t, answers, tt.method); first.status/100 != 1 || len(first.header) > 0 {
						t.Errorf("the first answer is %d, %v", first.status, first.header)
					}
				}
				resp := readResponse(t, answers, tt.method)
				if resp.status != tt.status || resp.body != tt.body {
					t.Errorf("status %d, %d bytes; want %d, %d", resp.status, len(resp.body), tt.status, len(tt.body))
				}
				for _, h := range standard {
					want := h.value[0]
					if own := tt.own[h.name]; own != "" {
						want = own
					}
					if got := resp.header.Values(h.name); len(got) != 1 || got[0] != want {
						t.Errorf("%s is %q, want %q", h.name, got, want)
					}
				}
				if resp.last {
					return
				}
			}
		})
	}
}

// response is an answer that was read whole. last says that the connection ends with it.
type response struct {
	status int
	header http.Header
	body   string
	last   bool
}

// readResponse reads the answer to a request.
func readResponse(t *testing.T, from *bufio.Reader, method string) response {
	t.Helper()
	resp, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(body), resp.Close}
}

// TestPipelined: requests that arrive together have an answer each.
func TestPipelined(t *testing.T) {
	t.Parallel()
	addr := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	conn := dial(t, addr)
	_, _ = io.WriteString(conn, strings.Repeat("GET /a HTTP/1.1\r\nHost: b\r\n\r\n", 50))
	answers := bufio.NewReader(conn)
	for range 50 {
		if resp := readResponse(t, answers, http.MethodGet); resp.body != "/a" || len(resp.header.Values("Cache-Control")) != 1 {
			t.Fatalf("%q, %v", resp.body, resp.header)
		}
	}
}

// TestDeadlines: each deadline of a server, and of a handler, ends the call that waits.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	const short, long = 50 * time.Millisecond, 10 * time.Second
	readAll := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "ok")
	}
	const whole = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}"
	for _, tt := range []struct {
		name    string
		server  *http.Server
		handler http.HandlerFunc
		request string
		answers int
	}{
		{"idle", &http.Server{IdleTimeout: short, ReadTimeout: long, WriteTimeout: long}, readAll, whole, 1},
		{"headers", &http.Server{IdleTimeout: long, ReadHeaderTimeout: short, WriteTimeout: long}, readAll, whole + whole[:20], 1},
		{"request", &http.Server{IdleTimeout: long, ReadTimeout: short, WriteTimeout: long}, readAll, whole + whole[:len(whole)-1], 1},
		{"handler's", &http.Server{ReadTimeout: long}, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(short))
			readAll(w, r)
		}, whole[:len(whole)-1], 0},
		{"while it waits", &http.Server{ReadTimeout: long}, func(w http.ResponseWriter, r *http.Request) {
			defer time.AfterFunc(short, func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now()) }).Stop()
			readAll(w, r)
		}, whole[:len(whole)-1], 0},
		{"write", &http.Server{WriteTimeout: short}, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, whole, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan struct{}, 10)
			tt.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- struct{}{} }()
				tt.handler(w, r)
			})
			conn := dial(t, serve(t, tt.server))
			began := time.Now()
			_, _ = io.WriteString(conn, tt.request)
			if tt.name == "write" {
				<-ended // although nothing is read
			}
			text, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("not closed: %q, %v", text, err)
			}
			if n := strings.Count(string(text), "200 OK"); tt.name != "write" && n != tt.answers {
				t.Errorf("%d answers, want %d: %q", n, tt.answers, text)
			}
			if took := time.Since(began); took > long/2 {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestHangUp: a sender that hangs up ends the context of its request, and one that does not keeps it beyond all timeouts of reads.
func TestHangUp(t *testing.T) {
	t.Parallel()
	const timeout = 50 * time.Millisecond
	waiting, ended := make(chan struct{}), make(chan error, 1)
	addr := serve(t, &http.Server{
		IdleTimeout: timeout, ReadTimeout: timeout, ReadHeaderTimeout: timeout,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			still, cancel := context.WithTimeout(r.Context(), 4*timeout)
			defer cancel()
			<-still.Done()
			if err := r.Context().Err(); err != nil {
				ended <- fmt.Errorf("too early: %w", err)
				return
			}
			close(waiting)
			<-r.Context().Done()
			ended <- nil
		}),
	})
	conn := dial(t, addr)
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}")
	select {
	case <-waiting:
		_ = conn.Close()
	case err := <-ended:
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
