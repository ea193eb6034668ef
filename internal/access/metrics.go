package access

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Right is something that a principal may have.
type Right string

// The rights, as they are shown in metrics.
const (
	RightSource    Right = "source"
	RightType      Right = "type"
	RightGroup     Right = "group"
	RightRaw       Right = "raw"
	RightSubscribe Right = "subscribe"
	RightOperate   Right = "operate"
)

var rights = []Right{RightSource, RightType, RightGroup, RightRaw, RightSubscribe, RightOperate}

// Credentials that were missing or wrong, as they are shown in metrics.
const (
	credentialNone        = "none"
	credentialToken       = "token"
	credentialCertificate = "certificate"
)

// metrics count refusals. A nil metrics counts nothing.
type metrics struct {
	unauthenticated *prometheus.CounterVec
	denied          *prometheus.CounterVec
	ended           *prometheus.CounterVec
	calls, lastUsed *prometheus.Desc
	authenticator   *Authenticator
}

// newMetrics registers the metrics. Each series is there from the start, so that its first increase shows.
func newMetrics(r prometheus.Registerer, a *Authenticator) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{
		unauthenticated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_grpc_unauthenticated_total",
			Help: "Calls of the gRPC port that were refused because their credential was missing or wrong.",
		}, []string{"credential"}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_grpc_denied_total",
			Help: "Calls of the gRPC port that were refused because their caller, who is known, lacks a right.",
		}, []string{"principal", "right"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bridge_grpc_revoked_total",
			Help: "Open calls of subscribers that ended because the credential was withdrawn or expired.",
		}, []string{"principal"}),
		calls: prometheus.NewDesc("bridge_principal_calls_open",
			"Open calls of bridge.stream.v1 by principal; almost all are streams.", []string{"principal"}, nil),
		lastUsed: prometheus.NewDesc("bridge_principal_last_used_timestamp_seconds",
			"When a credential of the principal was used last; 0 if none was since the start.", []string{"principal"}, nil),
		authenticator: a,
	}
	for _, credential := range []string{credentialNone, credentialToken, credentialCertificate} {
		m.unauthenticated.WithLabelValues(credential)
	}
	m.begin(append([]*Principal{nobody}, a.current.Load().principals...))
	r.MustRegister(m.unauthenticated, m.denied, m.ended, m)
	return m
}

// begin makes the series of principals, those that are there go on.
func (m *metrics) begin(principals []*Principal) {
	if m == nil {
		return
	}
	for _, p := range principals {
		for _, right := range rights {
			m.denied.WithLabelValues(p.name, string(right))
		}
		m.ended.WithLabelValues(p.name)
	}
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.calls
	out <- m.lastUsed
}

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	open := m.authenticator.openCalls()
	for _, p := range m.authenticator.current.Load().principals {
		out <- prometheus.MustNewConstMetric(m.calls, prometheus.GaugeValue, float64(open[p]), p.name)
		out <- prometheus.MustNewConstMetric(m.lastUsed, prometheus.GaugeValue, float64(p.used.Load()), p.name)
	}
}

// refuse counts a caller that is not known, and returns its status.
func (m *metrics) refuse(credential, text string) error {
	if m != nil {
		m.unauthenticated.WithLabelValues(credential).Inc()
	}
	return status.Error(codes.Unauthenticated, text)
}

// deny counts a caller that lacks a right, and returns its status.
func (m *metrics) deny(p *Principal, right Right, text string) error {
	if m != nil {
		m.denied.WithLabelValues(p.name, string(right)).Inc()
	}
	who := "the caller"
	if p.name != "" {
		who = "principal " + p.name
	}
	return status.Error(codes.PermissionDenied, who+" "+text)
}

func (m *metrics) revoked(p *Principal) {
	if m != nil {
		m.ended.WithLabelValues(p.name).Inc()
	}
}

// use records that a credential of the principal was used.
func (p *Principal) use(now time.Time) { p.used.Store(now.Unix()) }
