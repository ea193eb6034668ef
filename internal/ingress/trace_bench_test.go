package ingress

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/telemetry"
	"github.com/webhook-bridge/bridge/internal/tracing"
)

// tracerOf returns a tracer whose collector is not there.
func tracerOf(tb testing.TB, ratio float64) tracing.Tracer {
	tb.Helper()
	t, err := telemetry.Open(context.Background(), telemetry.Config{
		Endpoint: "http://127.0.0.1:1", Traces: &telemetry.Traces{Ratio: ratio, Queue: 4096},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // There is nobody to send to.
		_ = t.Shutdown(ctx)
	})
	return t.Tracer()
}

// BenchmarkTraced compares the edge with a tracer, of which a part of the requests is sampled, to the edge without one. The two take
// turns, so that a busy machine slows both, and medians count. The journal takes no time here: with one, the differences are smaller.
func BenchmarkTraced(b *testing.B) {
	for _, bench := range []struct {
		name  string
		ratio float64
	}{{"0%", 0}, {"1%", 0.01}, {"100%", 1}} {
		b.Run(bench.name, func(b *testing.B) { compareTraced(b, tracerOf(b, bench.ratio)) })
	}
}

func compareTraced(b *testing.B, tracer tracing.Tracer) {
	b.Helper()
	const turn = 200
	body := sample(b, "retino", "shipping_ordered")
	r := httptest.NewRequest(http.MethodPost, "/webhooks/returns", nil)
	r.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"vendor/1.0"}}
	for k, v := range secretOf("returns") {
		r.Header[k] = v
	}
	r.ContentLength = int64(len(body))
	var edges [2]*Ingress
	var turns [2][]time.Duration
	for i, t := range []tracing.Tracer{nil, tracer} {
		in, err := intake.New(intake.Config{Journal: sink{}})
		if err != nil {
			b.Fatal(err)
		}
		if edges[i], err = New(Config{Intake: in, Sources: testSources(), Tracer: t}); err != nil {
			b.Fatal(err)
		}
	}
	w, reader := &thrown{header: make(http.Header)}, bytes.NewReader(body)
	for b.Loop() {
		for i := range edges {
			began := time.Now()
			for range turn {
				reader.Reset(body)
				r.Body = io.NopCloser(reader)
				edges[i].ServeHTTP(w, r)
			}
			turns[i] = append(turns[i], time.Since(began)/turn)
			if w.status != http.StatusOK {
				b.Fatalf("answered %d", w.status)
			}
		}
	}
	median := func(i int) float64 {
		slices.Sort(turns[i])
		return float64(turns[i][len(turns[i])/2])
	}
	b.ReportMetric(median(0), "off-ns/webhook")
	b.ReportMetric(median(1)/median(0), "traced/off")
}
