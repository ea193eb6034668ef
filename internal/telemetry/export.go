package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// exportTimeout bounds an export with its repetitions, so that one that hangs gives way to later spans.
const exportTimeout = 10 * time.Second

func (c Config) traceExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if c.HTTP {
		options := []otlptracehttp.Option{otlptracehttp.WithHTTPClient(c.client()), otlptracehttp.WithTimeout(exportTimeout)}
		if c.Endpoint != "" {
			options = append(options, otlptracehttp.WithEndpointURL(c.below("/v1/traces")))
		}
		return otlptracehttp.New(ctx, options...)
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithDialOption(c.perCall()), otlptracegrpc.WithTimeout(exportTimeout)}
	if c.TLS != nil {
		options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(c.TLS)))
	}
	if c.Endpoint != "" {
		options = append(options, otlptracegrpc.WithEndpointURL(c.Endpoint))
	}
	return otlptracegrpc.New(ctx, options...)
}

func (c Config) metricExporter(ctx context.Context) (sdkmetric.Exporter, error) {
	if c.HTTP {
		options := []otlpmetrichttp.Option{otlpmetrichttp.WithHTTPClient(c.client()), otlpmetrichttp.WithTimeout(exportTimeout)}
		if c.Endpoint != "" {
			options = append(options, otlpmetrichttp.WithEndpointURL(c.below("/v1/metrics")))
		}
		return otlpmetrichttp.New(ctx, options...)
	}
	options := []otlpmetricgrpc.Option{otlpmetricgrpc.WithDialOption(c.perCall()), otlpmetricgrpc.WithTimeout(exportTimeout)}
	if c.TLS != nil {
		options = append(options, otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(c.TLS)))
	}
	if c.Endpoint != "" {
		options = append(options, otlpmetricgrpc.WithEndpointURL(c.Endpoint))
	}
	return otlpmetricgrpc.New(ctx, options...)
}

func (c Config) below(path string) string { return strings.TrimRight(c.Endpoint, "/") + path }

// client sends the headers of each export. It follows no redirect, which would take the headers to another host.
func (c Config) client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = c.TLS
	return &http.Client{
		Transport:     headers{c.Headers, transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// perCall sends the headers of each export over gRPC.
func (c Config) perCall() grpc.DialOption { return grpc.WithPerRPCCredentials(headers{all: c.Headers}) }

// headers adds the configured headers to each export: as credentials of gRPC, or as an [http.RoundTripper]. Their secrets may change.
type headers struct {
	all  []Header
	next http.RoundTripper
}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (h headers) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	metadata := make(map[string]string, len(h.all))
	for _, x := range h.all {
		x.Value.Use(time.Now())
		metadata[strings.ToLower(x.Name)] = x.Value.Reveal()
	}
	return metadata, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]: the operator chose the endpoint, and with it whether there is TLS.
func (h headers) RequireTransportSecurity() bool { return false }

// RoundTrip implements [http.RoundTripper].
func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for _, x := range h.all {
		x.Value.Use(time.Now())
		r.Header.Set(x.Name, x.Value.Reveal())
	}
	return h.next.RoundTrip(r)
}

// complaints logs exports that fail: the first, and then one a minute.
type complaints struct {
	rate    rate.Sometimes
	logger  *slog.Logger
	secrets []Header
}

func newComplaints(c Config) *complaints {
	return &complaints{rate: rate.Sometimes{First: 1, Interval: time.Minute}, logger: c.Logger, secrets: c.Headers}
}

// maxError bounds the text of an error, which may quote the collector's answer.
const maxError = 300

func (c *complaints) log(what string, err error) {
	c.rate.Do(func() {
		text := err.Error()
		for _, s := range c.secrets { // An answer may repeat what was sent.
			if value := s.Value.Reveal(); value != "" {
				text = strings.ReplaceAll(text, value, "(secret)")
			}
		}
		if len(text) > maxError {
			text = text[:maxError] + "…"
		}
		c.logger.Warn("telemetry: the collector does not accept what is sent; further failures are counted", "what", what, "error", strings.ToValidUTF8(text, "\uFFFD"))
	})
}

// loggedMetrics logs a failure here, and not by the SDK.
type loggedMetrics struct {
	sdkmetric.Exporter

	complaints *complaints
}

// Export implements [sdkmetric.Exporter].
func (l *loggedMetrics) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	if err := l.Exporter.Export(ctx, m); err != nil {
		l.complaints.log("metrics", err)
	}
	return nil
}
