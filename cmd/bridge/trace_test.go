package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/webhook-bridge/bridge/client"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

// receivedSpan is a span as a collector got it.
type receivedSpan struct {
	service, name, id, parent, class string
	links                            []string
	attributes                       map[string]string
	start                            uint64
	took                             time.Duration
}

// collector is a receiver of OTLP, made of the official service definition. It keeps spans by trace.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer

	addr    string
	mu      sync.Mutex
	traces  map[string][]receivedSpan
	changed chan struct{}
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{addr: l.Addr().String(), traces: map[string][]receivedSpan{}, changed: make(chan struct{})}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return c
}

// Export implements [collectorv1.TraceServiceServer].
func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, from := range r.GetResourceSpans() {
		service := ""
		for _, a := range from.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := hex.EncodeToString(s.GetTraceId())
				received := receivedSpan{
					service: service, name: s.GetName(), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
					class: s.GetStatus().GetMessage(), start: s.GetStartTimeUnixNano(), attributes: map[string]string{},
					took: time.Duration(s.GetEndTimeUnixNano() - s.GetStartTimeUnixNano()),
				}
				for _, l := range s.GetLinks() {
					received.links = append(received.links, hex.EncodeToString(l.GetTraceId()))
				}
				for _, a := range s.GetAttributes() {
					received.attributes[a.GetKey()] = cmp.Or(a.GetValue().GetStringValue(), strconv.FormatInt(a.GetValue().GetIntValue(), 10))
				}
				c.traces[id] = append(c.traces[id], received)
			}
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// await returns the spans of a trace, in order of their beginning, once they have all of these names.
func (c *collector) await(t *testing.T, traceID string, names ...string) []receivedSpan {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		c.mu.Lock()
		spans, changed := slices.Clone(c.traces[traceID]), c.changed
		c.mu.Unlock()
		missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			return slices.ContainsFunc(spans, func(s receivedSpan) bool { return s.name == name })
		})
		if len(missing) == 0 {
			slices.SortFunc(spans, func(a, b receivedSpan) int { return cmp.Compare(a.start, b.start) })
			return spans
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("the trace has no spans %v:\n%s", missing, tree(spans))
		}
	}
}

// all returns all spans of all traces.
func (c *collector) all() (all []receivedSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, spans := range c.traces {
		all = append(all, spans...)
	}
	return all
}

// tree prints spans as the tree that their parents make.
func tree(spans []receivedSpan) string {
	var b strings.Builder
	known := map[string]bool{}
	for _, s := range spans {
		known[s.id] = true
	}
	var branch func(parent string, depth int)
	branch = func(parent string, depth int) {
		for _, s := range spans {
			root := parent == "" && !known[s.parent]
			if !root && (parent == "" || s.parent != parent) {
				continue
			}
			fmt.Fprintf(&b, "%s%-*s %-10s %8s %s\n", strings.Repeat("   ", depth), 60-3*depth, s.name, s.service, s.took.Round(time.Microsecond), s.class)
			branch(s.id, depth+1)
		}
	}
	branch("", 0)
	return b.String()
}

// participant traces a program beside Bridge, with the SDK, as its authors would.
func participant(t *testing.T, service, addr string) trace.Tracer {
	t.Helper()
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpointURL("http://"+addr))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))))
	t.Cleanup(func() { _ = provider.Shutdown(context.WithoutCancel(t.Context())) })
	return provider.Tracer(service)
}

// tracedConfig is a server that traces, and whose source has a token in its path.
func tracedConfig(t *testing.T, collector, traces string) string {
	t.Helper()
	return strings.Replace(retinoConfig(t.TempDir()), fmt.Sprintf("{header: {name: X-Retino-Secret, values: [%s]}}", testSecret),
		fmt.Sprintf("{path_token: {values: [%s]}}", pathToken), 1) +
		fmt.Sprintf("sinks: [{name: archive, file: {path: %q}}]\n", filepath.Join(t.TempDir(), "events.jsonl")) +
		fmt.Sprintf("telemetry: {endpoint: 'http://%s', headers: [{name: x-api-key, value: %s}], traces: %s}\n", collector, collectorKey, traces)
}

const (
	pathToken    = "a-token-in-a-path-for-tests-0123456789"
	collectorKey = "a-key-for-the-collector-01"
)

// postTraced posts a webhook with the trace of ctx, and returns the status.
func postTraced(ctx context.Context, t *testing.T, p *process, body string) int {
	t.Helper()
	url := "http://" + p.addr("webhooks") + "/webhooks/returns/t/" + pathToken + "/shipping.ordered"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// TestTrace follows one webhook from the vendor's request to the subscriber's handler, in one trace, and prints it as a tree.
func TestTrace(t *testing.T) {
	c := newCollector(t)
	p := startBridge(t, tracedConfig(t, c.addr, "{ratio: 0, vendors: parent}"))
	ctx, begun := participant(t, "vendor", c.addr).Start(t.Context(), "ship a return")
	id := begun.SpanContext().TraceID().String()
	subscriber := participant(t, "subscriber", c.addr)

	if status := postTraced(ctx, t, p, string(sampleBody("retino", "shipping_ordered"))); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	begun.End()
	subscribing, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	err := client.Subscribe(subscribing, client.Config{Target: p.addr("grpc"), Group: "billing"}, func(ctx context.Context, e *eventv1.Event) error {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": e.GetTraceparent()})
		_, span := subscriber.Start(ctx, "process "+e.GetType(), trace.WithSpanKind(trace.SpanKindConsumer))
		span.End()
		end()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	const request = "POST /webhooks/{source}/t/{token}/{event}"
	spans := c.await(t, id, "ship a return", request, "decode", "translate", "commit", "send archive", "send stream", "process shipment.ordered")
	t.Logf("trace %s, from the vendor's request to the subscriber's receipt, as a receiver made of the official OTLP service got it:\n%s", id, tree(spans))
	roots := 0
	for _, s := range spans {
		if s.parent == "" {
			roots++
		}
		if s.name == request && (s.attributes["bridge.source"] != "returns" || s.attributes["bridge.outcome"] != "accepted" ||
			s.attributes["bridge.event"] != "shipping.ordered" || s.attributes["http.response.status_code"] != "200") {
			t.Errorf("the request's attributes are %v", s.attributes)
		}
	}
	if roots != 1 {
		t.Errorf("%d spans are no one's child:\n%s", roots, tree(spans))
	}
	checkPrivate(t, c, p)
}

// checkPrivate checks that no secret, token, address or data is in a span or in the log.
func checkPrivate(t *testing.T, c *collector, p *process) {
	t.Helper()
	all := fmt.Sprint(c.all()) + p.text()
	for _, private := range []string{pathToken, collectorKey, "Z3824826667", "@"} {
		if strings.Contains(all, private) {
			t.Errorf("a span or the log has %q", private)
		}
	}
}

// TestTraceLinks: by default a vendor decides nothing. Its context is a link of a trace of Bridge's own. A refused request is shown, and a
// malformed context counts for nothing.
func TestTraceLinks(t *testing.T) {
	c := newCollector(t)
	p := startBridge(t, tracedConfig(t, c.addr, "{ratio: 1}"))
	ctx, begun := participant(t, "vendor", c.addr).Start(t.Context(), "ship a return")
	begun.End()
	if status := postTraced(ctx, t, p, "{"); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	vendor := begun.SpanContext().TraceID().String()
	var found receivedSpan
	c.await(t, vendor, "ship a return")
	waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		for _, s := range c.all() {
			if s.attributes["bridge.quarantine.reason"] != "" {
				found = s
			}
		}
		if found.id != "" {
			break
		}
		select {
		case <-changed:
		case <-waiting.Done():
			t.Fatalf("no span of the webhook: %v", c.all())
		}
	}
	if found.parent != "" || !slices.Equal(found.links, []string{vendor}) {
		t.Errorf("the span has the parent %q and the links %v, want none and %s", found.parent, found.links, vendor)
	}
	if !strings.Contains(p.text(), `"trace_id"`) {
		t.Error("the log line of the quarantined webhook has no trace id")
	}
	checkPrivate(t, c, p)
}
