package history

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// rig has metrics with the names of the program's own.
type rig struct {
	received, refused, duplicates *prometheus.CounterVec
	alarm                         *prometheus.GaugeVec
	ingest                        prometheus.Histogram
	*Recorder
}

func newRig() *rig {
	counter := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: name}, labels)
	}
	r := &rig{
		received:   counter("bridge_webhooks_received_total", "source"),
		refused:    counter("bridge_webhooks_refused_total", "source", "reason"),
		duplicates: counter("bridge_duplicates_total", "source"),
		alarm:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_source_alarm", Help: "x"}, []string{"source", "alarm"}),
		ingest:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "bridge_ingest_seconds", Help: "x", Buckets: []float64{.001, .01, .1}}),
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(r.received, r.refused, r.duplicates, r.alarm, r.ingest)
	r.Recorder = New(metrics)
	return r
}

// TestPoints: each interval has what was counted in it, also for sources that are new, and the quantile of its own times.
func TestPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		ctx, stop := context.WithCancel(t.Context())
		go r.Run(ctx)
		synctest.Wait()
		r.received.WithLabelValues("a").Add(30)
		r.duplicates.WithLabelValues("a").Add(3)
		for range 98 {
			r.ingest.Observe(.0005)
		}
		r.ingest.Observe(.05)
		r.ingest.Observe(.05)
		<-time.After(Interval)
		synctest.Wait()
		r.received.WithLabelValues("b").Add(60)
		r.refused.WithLabelValues("b", "unauthorized").Add(4)
		r.alarm.WithLabelValues("b", "silent").Set(1)
		r.alarm.WithLabelValues("a", "silent").Set(0)
		<-time.After(Interval)
		synctest.Wait()
		stop()
		points := r.Points()
		if len(points) != 2 {
			t.Fatalf("%d points", len(points))
		}
		if p := points[0]; p.Received != 30 || p.Duplicates != 3 || p.For != Interval || p.P99 < .01 || p.P99 > .1 {
			t.Errorf("the first point is %+v", p)
		}
		if p := points[1]; p.Received != 60 || p.Refused != 4 || !math.IsNaN(p.P99) {
			t.Errorf("the second point is %+v", p)
		}
		sources := r.Sources()
		if a, b := sources["a"], sources["b"]; a.Rate != 1.5 || b.Rate != 3 || b.Refused["unauthorized"] != 4 || a.Alerts != nil || len(b.Alerts) != 1 {
			t.Errorf("the sources are %+v", sources)
		}
	})
}

// TestBounds: an hour is kept, and so many sources.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		for i := range maxSources + 50 {
			r.received.WithLabelValues(string(rune('0' + i))).Inc()
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.Run(ctx)
		begin := time.Now()
		<-time.After(2 * Span)
		synctest.Wait()
		if n := len(r.Points()); n != int(Span/Interval) {
			t.Errorf("%d points", n)
		}
		if since := r.Since().Sub(begin); since != Span {
			t.Errorf("the history begins after %v", since)
		}
		if n := len(r.Sources()); n != maxSources {
			t.Errorf("%d sources", n)
		}
	})
}
