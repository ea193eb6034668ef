package ingress

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/webhook-bridge/bridge/internal/tracing"
)

// unknownSource is the one label for all sources that are not configured.
const unknownSource = "unknown"

type metrics struct {
	received, taken, refused, mislabelled, handshakes *prometheus.CounterVec

	ingest prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_webhooks_received_total", Help: "Requests to a configured source, with any outcome.",
		}, []string{"source"}),
		taken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_webhooks_taken_total", Help: "Requests that were answered with success, without pings and handshakes.",
		}, []string{"source"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_webhooks_refused_total", Help: "Requests that were not answered with success.",
		}, []string{"source", "reason"}),
		mislabelled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_content_encoding_ignored_total",
			Help: "Webhooks whose Content-Encoding names no encoding of bytes, or one that the body does not have.",
		}, []string{"source"}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_handshakes_total", Help: "Requests that are no webhooks, and that were answered as the connector declares.",
		}, []string{"source"}),
		ingest: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "bridge_ingest_seconds",
			Help:    "Time from a webhook's headers to its answer of success.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.received), r.Register(m.taken), r.Register(m.refused), r.Register(m.mislabelled), r.Register(m.handshakes), r.Register(m.ingest))
}

// observe counts a webhook that was answered with success. A traced one is an exemplar of its duration.
func (m *metrics) observe(took time.Duration, span tracing.Span) {
	if e, ok := m.ingest.(prometheus.ExemplarObserver); ok && span.Recording() {
		c := span.Context()
		e.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": c.TraceID(), "span_id": c.SpanID()})
		return
	}
	m.ingest.Observe(took.Seconds())
}

// refusals are one source's refused webhooks.
type refusals struct {
	counters [reasons]prometheus.Counter
	// complaints bounds what is logged of them.
	complaints *rate.Sometimes
}

func (m *metrics) refusalsOf(source string) refusals {
	r := refusals{complaints: newComplaints()}
	for i := range r.counters {
		r.counters[i] = m.refused.WithLabelValues(source, reason(i).String())
	}
	return r
}

func (r *refusals) count(why reason) { r.counters[why].Inc() }
