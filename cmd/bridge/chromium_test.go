package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// reporting tells the test what the page shows, in the page's order.
const reporting = `<script>
let reported = Promise.resolve();
new MutationObserver((changes) => {
  for (const { addedNodes } of changes)
    for (const { dataset, textContent } of addedNodes)
      if (dataset?.token) {
        const text = JSON.stringify({ ID: textContent.split("/").pop(), Token: dataset.token });
        reported = reported.then(() => fetch("/seen", { method: "POST", body: text, keepalive: true }));
      }
}).observe(document, { childList: true, subtree: true });
</script>`

// site is a web server with the page of docs/examples/browser, and Bridge behind it.
type site struct {
	*httptest.Server
	page []byte

	mu sync.Mutex
	// bridge is where Bridge is now. Guarded by mu, as the rest.
	bridge *url.URL
	seen   *onceEach
	// cuts break the streams that are open.
	cuts []context.CancelFunc
	// last is the token of the last event that the page showed.
	last string
	// resumed are the ids that browsers came back with.
	resumed []string
	// beatIDs are the ids of heartbeats that were passed on, and beats is how many with the newest id.
	beatIDs map[string]bool
	newest  string
	beats   int
}

func newSite(t *testing.T) *site {
	t.Helper()
	page, err := os.ReadFile("../../docs/examples/browser/index.html")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{page: bytes.Replace(page, []byte(`<h1>`), []byte(reporting+`<h1>`), 1), seen: &onceEach{t: t}, beatIDs: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(s.page)
	})
	mux.HandleFunc("POST /seen", func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ ID, Token string }
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen.add(e.ID)
		s.last = e.Token
	})
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			s.mu.Lock()
			defer s.mu.Unlock()
			r.SetURL(s.bridge)
			if id := r.In.Header.Get("Last-Event-ID"); id != "" {
				s.resumed = append(s.resumed, id)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			r.Body = &watched{r.Body, s}
			return nil
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	mux.HandleFunc("/v1/events", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		s.mu.Lock()
		s.cuts = append(s.cuts, cancel)
		s.mu.Unlock()
		proxy.ServeHTTP(w, r.WithContext(ctx))
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// watched notes the heartbeats that are passed on. Each is written at once, and so read at once.
type watched struct {
	io.ReadCloser
	site *site
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if _, id, ok := strings.Cut(string(p[:n]), "\nid: "); ok && strings.HasPrefix(string(p[:n]), ": heartbeat") {
		id, _, _ = strings.Cut(id, "\n")
		w.site.mu.Lock()
		defer w.site.mu.Unlock()
		if id != w.site.newest {
			w.site.newest, w.site.beats = id, 0
		}
		w.site.beats++
		w.site.beatIDs[id] = true
	}
	return n, err
}

func (s *site) pointAt(p *process, scheme string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bridge = &url.URL{Scheme: scheme, Host: p.addr("grpc")}
}

// cut breaks the streams that are open, and no other requests: a browser would send them again.
func (s *site) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.cuts {
		cancel()
	}
	s.cuts = nil
}

// await waits until the page has shown so many events, or ids came back.
func (s *site) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		s.mu.Lock()
		ok := done()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: the page has shown %d events", what, len(s.seen.ids))
		}
	}
}

// browse opens a page in Chromium, until the returned function kills it.
func browse(t *testing.T, page string) (kill func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--ignore-certificate-errors", "--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", "--enable-logging=stderr", page)
	var text lockedText
	cmd.Stderr = &text
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	kill = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(func() {
		kill()
		if t.Failed() {
			t.Logf("Chromium wrote:\n%s", text.String())
		}
	})
	return kill
}

type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestProtocolsChromium: the page of docs/examples/browser, in a browser, gets each event once, while the connection breaks, the server is
// killed, and the browser is killed and comes back with the last token; behind a proxy on its own origin over HTTP/1.1, and from another
// origin over TLS and HTTP/2.
func TestProtocolsChromium(t *testing.T) {
	needProtocols(t)
	for _, direct := range []bool{false, true} {
		t.Run(fmt.Sprintf("direct=%t", direct), func(t *testing.T) {
			s, dir, scheme := newSite(t), t.TempDir(), "http"
			config := webConfig(t, dir, "", false)
			if direct {
				config, scheme = webConfig(t, dir, s.URL, true), "https"
			}
			p := startBridge(t, config)
			sent := int64(0)
			send := func(n int64) {
				l := &load{addr: p.addr("webhooks"), connections: 1, limit: sent + n}
				l.next.Store(sent)
				l.run(t.Context())
				sent += n
			}
			address := func() string {
				query := url.Values{}
				if direct {
					query.Set("events", "https://"+p.addr("grpc")+"/v1/events?heartbeat=100ms")
				}
				if s.last != "" {
					query.Set("token", s.last)
				}
				return s.URL + "/?" + query.Encode()
			}
			s.pointAt(p, scheme)
			send(50)
			kill := browse(t, address())
			shown := func() { s.await(t, "", func() bool { return int64(len(s.seen.ids)) >= sent }) }
			shown()
			for range 3 {
				send(50)
				if !direct {
					s.cut()
				}
				shown()
			}
			if !direct { // a page cannot follow a server to another port
				p.kill()
				p = startBridge(t, config)
				s.pointAt(p, scheme)
				send(50)
				shown()
			}
			send(50)
			kill()
			send(50)
			s.mu.Lock()
			page := address()
			s.mu.Unlock()
			browse(t, page)
			shown()
			if !s.seen.all(int(sent)) {
				t.Error("events are missing")
			}
		})
	}
}

// TestProtocolsChromiumHeartbeat: a browser comes back with the id of the last heartbeat, although the filter let nothing pass.
func TestProtocolsChromiumHeartbeat(t *testing.T) {
	needProtocols(t)
	s := newSite(t)
	s.page = []byte(`<script>new EventSource("/v1/events?types=none.at.all&heartbeat=100ms")</script>`)
	p := startBridge(t, retinoConfig(t.TempDir()))
	s.pointAt(p, "http")
	browse(t, s.URL)
	came := map[string]bool{}
	for round := range 3 {
		l := &load{addr: p.addr("webhooks"), connections: 1, limit: int64(round+1) * 10}
		l.next.Store(int64(round) * 10)
		l.run(t.Context())
		// The browser may not have read the last one.
		s.await(t, "a heartbeat", func() bool { return s.beats >= 2 && !came[s.newest] })
		s.cut()
		s.await(t, "a browser that comes back", func() bool { return len(s.resumed) > round })
		s.mu.Lock()
		id := s.resumed[len(s.resumed)-1]
		if !s.beatIDs[id] || came[id] {
			t.Errorf("the browser came back with %s, which is not the id of a heartbeat since it came last", id)
		}
		came[id], s.beats = true, 0
		s.mu.Unlock()
	}
}
