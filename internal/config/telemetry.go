package config

import (
	"net/url"
	"strconv"
	"time"

	configv1 "github.com/webhook-bridge/bridge/gen/bridge/config/v1"
	"github.com/webhook-bridge/bridge/internal/secret"
)

// Telemetry says what is sent to a collector of OpenTelemetry. Without Traces and Metrics nothing is.
type Telemetry struct {
	// Endpoint is the collector's address: a URL with http or https. Empty: the environment's, or this machine.
	Endpoint string
	// HTTP sends by OTLP over HTTP, not gRPC.
	HTTP    bool
	Headers []TelemetryHeader
	TLS     *ClientTLS
	Traces  *Traces
	Metrics *OTLPMetrics
}

// TelemetryHeader is a header of each export.
type TelemetryHeader struct {
	Name  string
	Value secret.Value
}

// Traces says which requests are traced.
type Traces struct {
	// Ratio is the part of the requests that is traced.
	Ratio float64
	// Vendors is link, parent or ignore.
	Vendors string
	// Queue is how many spans may wait for the collector.
	Queue int
}

// OTLPMetrics says how metrics are sent.
type OTLPMetrics struct {
	Interval time.Duration
}

func (r resolver) telemetry(file *configv1.Telemetry) Telemetry {
	const path = "telemetry"
	t := Telemetry{
		Endpoint: file.GetEndpoint(), HTTP: text(path+".protocol", file.GetProtocol()) == "http", TLS: clientTLS(file.GetTls()),
	}
	if reason := checkCollector(t.Endpoint); reason != "" {
		r.addf(path+".endpoint", "%s", reason)
	}
	for i, h := range file.GetHeaders() {
		t.Headers = append(t.Headers, TelemetryHeader{h.GetName(), r.secret(element(path+".headers", i)+".value", h.GetValue())})
	}
	if f := file.GetTraces(); f != nil {
		t.Traces = &Traces{
			Ratio: r.ratio(path+".traces.ratio", f.GetRatio()), Vendors: text(path+".traces.vendors", f.GetVendors()),
			Queue: number(path+".traces.queue", f.GetQueue()),
		}
	}
	if f := file.GetMetrics(); f != nil {
		t.Metrics = &OTLPMetrics{Interval: r.duration(path+".metrics.interval", f.GetInterval())}
	}
	return t
}

// ratio resolves an optional number from 0 to 1.
func (r resolver) ratio(path, value string) float64 {
	n, err := strconv.ParseFloat(text(path, value), 64)
	if err != nil || n > 1 {
		r.addf(path, `must be a number from 0 to 1, such as "0.01"`)
	}
	return n
}

// checkCollector returns what is wrong with a collector's address. A login in it would be a secret in a place where none is expected.
func checkCollector(address string) string {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return ""
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, u.RawQuery != "", u.Fragment != "":
		return "must be a URL such as https://collector:4317, without a login and a query"
	}
	return ""
}
