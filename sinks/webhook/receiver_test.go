package webhook_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
	"github.com/webhook-bridge/bridge/sinks/clienttls"
	"github.com/webhook-bridge/bridge/sinks/cloudevents/cloudeventstest"
	"github.com/webhook-bridge/bridge/sinks/proxytest"
	"github.com/webhook-bridge/bridge/sinks/sinktest"
	"github.com/webhook-bridge/bridge/sinks/webhook"
)

var (
	oldSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("an old secret of thirty-two byte"))
	newSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a new secret of twenty-four"))
)

// receiver is a destination: an HTTPS server behind a proxy that can disconnect. It verifies every request with the library of the
// Standard Webhooks project.
type receiver struct {
	tb     testing.TB
	server *httptest.Server
	proxy  *proxytest.Proxy
	verify *standardwebhooks.Webhook
	caFile string

	mu       sync.Mutex
	events   []*eventv1.Event
	protocol map[string]int // Accepted requests, by version of HTTP.
	left     int            // Events that are still accepted; negative: all.
	once     bool           // Recover after one failure.
	pause    time.Duration
}

func newReceiver(tb testing.TB, http2 bool) *receiver {
	tb.Helper()
	r := &receiver{tb: tb, left: -1, protocol: map[string]int{}}
	var err error
	if r.verify, err = standardwebhooks.NewWebhook(newSecret); err != nil {
		tb.Fatal(err)
	}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.EnableHTTP2 = http2
	r.server.StartTLS()
	tb.Cleanup(r.server.Close)
	if r.proxy, err = proxytest.New(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.proxy.Close)
	r.proxy.Forward(r.server.Listener.Addr().String())
	r.caFile = caFile(tb, r.server)
	return r
}

// caFile writes the certificate of a test server to a file.
func caFile(tb testing.TB, server *httptest.Server) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

func (r *receiver) config(format webhook.Format) webhook.Config {
	return webhook.Config{
		Credentials: webhook.Credentials{URL: "https://" + r.proxy.Addr().String() + "/hook?key=s3cret", Secrets: []string{oldSecret, newSecret}},
		Format:      format,
		Allow:       []string{"127.0.0.0/8"},
		TLS:         &clienttls.Files{CAFile: r.caFile},
	}
}

func (r *receiver) serve(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // The connection broke.
	}
	if err := r.verify.Verify(body, request.Header); err != nil {
		r.tb.Errorf("the request is not verified: %v", err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	event, err := eventOf(request.Header, body)
	if err != nil || request.Header.Get("Idempotency-Key") != event.GetId() {
		r.tb.Errorf("idempotency key %q, event %v, %v", request.Header.Get("Idempotency-Key"), event.GetId(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.pause > 0:
		r.askForPause(w)
	case event.GetType() == "poison":
		w.WriteHeader(http.StatusUnprocessableEntity)
	case r.left == 0:
		if r.once {
			r.left = -1
		}
		panic(http.ErrAbortHandler)
	default:
		r.left = max(r.left-1, -1)
		r.events = append(r.events, event)
		r.protocol[request.Proto]++
		w.WriteHeader(http.StatusNoContent)
	}
}

// askForPause uses both forms of the header.
func (r *receiver) askForPause(w http.ResponseWriter) {
	if r.pause < time.Minute {
		w.Header().Set("Retry-After", strconv.Itoa(int(r.pause.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	w.Header().Set("Retry-After", time.Now().Add(r.pause).UTC().Format(http.TimeFormat))
	w.WriteHeader(http.StatusServiceUnavailable)
}

// eventOf makes the event again from a request.
func eventOf(header http.Header, body []byte) (*eventv1.Event, error) {
	switch {
	case header.Get("Content-Type") == "application/cloudevents+json":
		return cloudeventstest.Structured(body)
	case header.Get("Ce-Dataschema") != "":
		return binaryEvent(header, body)
	}
	event := &eventv1.Event{}
	return event, protojson.Unmarshal(body, event)
}

// set changes the state of the destination.
func (r *receiver) set(left int, once bool, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left, r.once, r.pause = left, once, pause
}

func (r *receiver) received() []*eventv1.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *receiver) harness(format webhook.Format) sinktest.Harness {
	return sinktest.Harness{
		Open:       func(ctx context.Context) (sinks.Sink, error) { return webhook.Open(ctx, r.config(format)) },
		Received:   func(context.Context) ([]*eventv1.Event, error) { return r.received(), nil },
		Break:      r.proxy.Disconnect,
		BreakAfter: func(n int) { r.set(n, false, 0) },
		Stumble:    func(n int) { r.set(n, true, 0) },
		Stall:      r.proxy.Stall,
		Throttle:   func(d time.Duration) { r.set(-1, false, d) },
		Repair: func() {
			r.set(-1, false, 0)
			r.proxy.Resume()
		},
		Crash:  func() {}, // The sink has no state.
		Poison: func() sinks.Record { return record(r.tb, &eventv1.Event{Id: "poison", Type: "poison", Source: "till"}) },
	}
}

func record(tb testing.TB, e *eventv1.Event) sinks.Record {
	tb.Helper()
	if e.GetData() == nil {
		e.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{Json: "{}"}}
	}
	encoded, err := proto.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestSink(t *testing.T) {
	for _, c := range []struct {
		format webhook.Format
		http2  bool
	}{{webhook.FormatJSON, true}, {webhook.FormatCloudEvents, false}} {
		t.Run(string(c.format), func(t *testing.T) {
			sinktest.Run(t, func(tb testing.TB) sinktest.Harness {
				r := newReceiver(tb, c.http2)
				tb.Cleanup(func() {
					for version := range r.protocol {
						if is := strings.HasPrefix(version, "HTTP/2"); is != c.http2 {
							tb.Errorf("requests came by %s", version)
						}
					}
				})
				return r.harness(c.format)
			}, sinktest.Features{TotalOrder: true})
		})
	}
}

func BenchmarkSink(b *testing.B) {
	sinktest.Bench(b, func(tb testing.TB) sinktest.Harness { return newReceiver(tb, true).harness(webhook.FormatJSON) })
}
