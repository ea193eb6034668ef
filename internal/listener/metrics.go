package listener

import (
	"github.com/prometheus/client_golang/prometheus"
)

// reason is why a connection was closed.
type reason uint8

const (
	// reasonLimit: the listener's limit was reached.
	reasonLimit reason = iota
	// reasonDescriptors: the process had no descriptor left.
	reasonDescriptors
	// reasonMalformed: what came was no HTTP that has one meaning.
	reasonMalformed
	// reasonSlow: a part of a request took too long to arrive.
	reasonSlow
	// reasonFlood: too many control frames, headers or calls came.
	reasonFlood
	// reasonHandshake: the TLS handshake failed.
	reasonHandshake
	reasons
)

var reasonNames = [reasons]string{"limit", "descriptors", "malformed", "slow", "flood", "handshake"}

func (r reason) String() string { return reasonNames[r] }

// Metrics are the metrics of all listeners.
type Metrics struct {
	open, limit  *prometheus.GaugeVec
	dropped      *prometheus.CounterVec
	acceptErrors *prometheus.CounterVec
}

// NewMetrics registers the metrics of all listeners. It panics if they are registered already.
func NewMetrics(r prometheus.Registerer) *Metrics {
	labels := []string{"listener"}
	m := &Metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bridge_connections_open", Help: "Open connections.",
		}, labels),
		limit: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bridge_connections_limit", Help: "Connections that may be open at once.",
		}, labels),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_connections_dropped_total",
			Help: "Connections that Bridge closed to protect itself.",
		}, []string{"listener", "reason"}),
		acceptErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_accept_errors_total", Help: "Connections that could not be accepted.",
		}, labels),
	}
	r.MustRegister(m.open, m.limit, m.dropped, m.acceptErrors)
	return m
}

// counters are the metrics of one listener.
type counters struct {
	open         prometheus.Gauge
	dropped      [reasons]prometheus.Counter
	acceptErrors prometheus.Counter
}

// of returns the metrics of one listener.
func (m *Metrics) of(name string, limit int) counters {
	if m == nil {
		m = NewMetrics(prometheus.NewRegistry())
	}
	m.limit.WithLabelValues(name).Set(float64(limit))
	c := counters{open: m.open.WithLabelValues(name), acceptErrors: m.acceptErrors.WithLabelValues(name)}
	for i := range c.dropped {
		c.dropped[i] = m.dropped.WithLabelValues(name, reason(i).String())
	}
	return c
}
