package telemetry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/telemetry"
	"github.com/webhook-bridge/bridge/internal/tracing"
)

const vendor = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// receiver is a collector over HTTP. It refuses with a status, unless that is 200.
func receiver(t *testing.T, status int) (url string, spans func() []*tracev1.Span, headers func() []string) {
	t.Helper()
	got, keys := make(chan []*tracev1.Span, 100), make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collectorv1.ExportTraceServiceRequest
		if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		for _, from := range request.GetResourceSpans() {
			for _, scope := range from.GetScopeSpans() {
				got <- scope.GetSpans()
			}
		}
		keys <- r.Header.Get("X-Api-Key")
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() (all []*tracev1.Span) {
			for len(got) > 0 {
				all = append(all, <-got...)
			}
			return all
		}, func() (all []string) {
			for len(keys) > 0 {
				all = append(all, <-keys)
			}
			return all
		}
}

func open(t *testing.T, url string, traces telemetry.Traces) (*telemetry.Telemetry, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewRegistry()
	opened, err := telemetry.Open(t.Context(), telemetry.Config{
		Endpoint: url, HTTP: true, Headers: []telemetry.Header{{Name: "x-api-key", Value: secret.New("key-of-the-collector")}},
		Traces: &traces, Registerer: r,
	})
	if err != nil {
		t.Fatal(err)
	}
	return opened, r
}

// request is the span of a vendor's request.
func request(parent ...string) tracing.Start {
	return tracing.Start{Name: "receive", Kind: tracing.Server, Caller: tracing.Caller{Parent: parent, State: []string{"a=1"}, Vendor: true}}
}

// TestVendors: what a vendor's context counts for is a setting, and a malformed one never counts.
func TestVendors(t *testing.T) {
	for name, c := range map[string]struct {
		vendors  telemetry.Vendors
		ratio    float64
		parent   []string
		recorded bool
		child    bool
		links    int
	}{
		"link, sampled by the ratio":         {telemetry.VendorLink, 1, []string{vendor}, true, false, 1},
		"link: the vendor does not decide":   {telemetry.VendorLink, 0, []string{vendor}, false, false, 0},
		"parent":                             {telemetry.VendorParent, 0, []string{vendor}, true, true, 0},
		"parent that is not sampled":         {telemetry.VendorParent, 1, []string{vendor[:53] + "00"}, false, false, 0},
		"ignore":                             {telemetry.VendorIgnore, 1, []string{vendor}, true, false, 0},
		"two headers":                        {telemetry.VendorParent, 1, []string{vendor, vendor}, true, false, 0},
		"malformed":                          {telemetry.VendorParent, 1, []string{vendor + "-"}, true, false, 0},
		"malformed, and the ratio says none": {telemetry.VendorParent, 0, []string{"x"}, false, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			url, spans, headers := receiver(t, http.StatusOK)
			sent, _ := open(t, url, telemetry.Traces{Ratio: c.ratio, Vendors: c.vendors, Queue: 10})
			s := tracing.Begin(sent.Tracer(), request(c.parent...))
			if s.Recording() != c.recorded {
				t.Fatalf("recording is %v", s.Recording())
			}
			s.End()
			if err := sent.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := spans()
			if !c.recorded {
				if len(got) > 0 {
					t.Errorf("sent %v", got)
				}
				return
			}
			if len(got) != 1 || (len(got[0].GetParentSpanId()) > 0) != c.child || len(got[0].GetLinks()) != c.links {
				t.Errorf("sent %v", got)
			}
			if c.child && got[0].GetTraceState() != "a=1" {
				t.Errorf("tracestate is %q", got[0].GetTraceState())
			}
			if keys := headers(); !slices.Equal(keys, []string{"key-of-the-collector"}) {
				t.Errorf("headers %v", keys)
			}
		})
	}
}

// TestTracestate: one that is too long or malformed is left out, and the parent counts.
func TestTracestate(t *testing.T) {
	for name, state := range map[string]string{"long": "a=" + strings.Repeat("x", 600), "malformed": "=,;"} {
		t.Run(name, func(t *testing.T) {
			url, spans, _ := receiver(t, http.StatusOK)
			sent, _ := open(t, url, telemetry.Traces{Vendors: telemetry.VendorParent, Queue: 10})
			start := request(vendor)
			start.Caller.State = []string{state}
			tracing.Begin(sent.Tracer(), start).End()
			if err := sent.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := spans(); len(got) != 1 || got[0].GetTraceState() != "" || len(got[0].GetParentSpanId()) == 0 {
				t.Errorf("sent %v", got)
			}
		})
	}
}

// TestDeliveries: one recent request is the parent of a delivery. Several, an old one and a replay are links. What was sampled stays so.
func TestDeliveries(t *testing.T) {
	other := strings.Replace(vendor, "4bf9", "5bf9", 1)
	url, spans, _ := receiver(t, http.StatusOK)
	sent, _ := open(t, url, telemetry.Traces{Ratio: 0, Queue: 10})
	now := time.Now()
	send := func(name string, separate bool, age int, parents ...string) {
		var b tracing.Batch
		for _, p := range parents {
			b.Add([]byte(p), now.Add(-minutes(age)), now)
		}
		b.Begin(sent.Tracer(), tracing.Start{Name: name, Kind: tracing.Producer}, separate).End()
	}
	send("child", false, 1, vendor, "", vendor, "nonsense")
	send("several", false, 1, vendor, other)
	send("old", false, 60, vendor)
	send("replay", true, 1, vendor)
	send("untraced", false, 1, "")
	send("unsampled", false, 1, vendor[:53]+"00")
	if err := sent.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"child": 0, "several": 2, "old": 1, "replay": 1}
	for _, s := range spans() {
		links, known := want[s.GetName()]
		if !known || len(s.GetLinks()) != links || (len(s.GetParentSpanId()) > 0) != (s.GetName() == "child") {
			t.Errorf("sent %v", s)
		}
		delete(want, s.GetName())
	}
	if len(want) > 0 {
		t.Errorf("not sent: %v", want)
	}
}

// TestQueue: spans for which there is no room are dropped and counted, and so are the ones that the collector refuses. Nothing waits.
func TestQueue(t *testing.T) {
	url, _, _ := receiver(t, http.StatusBadRequest)
	sent, counted := open(t, url, telemetry.Traces{Ratio: 1, Queue: 3})
	parent := tracing.Begin(sent.Tracer(), request())
	blocked := make([]tracing.Span, 20)
	for i := range blocked {
		blocked[i] = parent.Child("step")
	}
	for _, s := range blocked {
		s.End()
	}
	if err := sent.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	all, err := counted.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				counts[l.GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if counts["queue"]+counts["export"] != float64(len(blocked)) || counts["queue"] == 0 || counts["export"] < 3 {
		t.Errorf("counted %v of %d spans", counts, len(blocked))
	}
	if n, err := testutil.GatherAndCount(counted, "bridge_trace_spans_exported_total"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestShutdownEnds: a collector that does not answer delays the end no longer than the context allows.
func TestShutdownEnds(t *testing.T) {
	hangs := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer s.Close()
	defer close(hangs)
	sent, _ := open(t, s.URL, telemetry.Traces{Ratio: 1, Queue: 3})
	tracing.Begin(sent.Tracer(), request()).End()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = sent.Shutdown(ctx)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }
