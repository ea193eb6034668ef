// Package telemetry records the spans of package tracing and sends them, and the program's metrics, to a collector of OpenTelemetry. It is
// the one room that knows the SDK.
//
// # What is promised
//
//   - It never delays a webhook: spans that are finished wait in a queue of bounded length, and one for which there is no room is dropped and
//     counted. A collector that does not answer delays nothing else.
//   - A request that is not sampled costs one decision.
//   - [Telemetry.Shutdown] sends what waits, and gives up when its context ends.
//   - Secrets are read for each export, so that they may change. No secret is in an error or a log.
//
// # Sampling
//
// A span with a trusted parent follows the parent. A span that links to a stored context follows that: what was received in a trace stays
// in one. Everything else is sampled by the ratio. A vendor's context is trusted only with [VendorParent].
package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	prombridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/webhook-bridge/bridge/internal/secret"
	"github.com/webhook-bridge/bridge/internal/tracing"
)

// Vendors says what the trace context of a vendor's request counts for.
type Vendors uint8

const (
	// VendorLink begins a trace of Bridge's own, whose first span links to the vendor's.
	VendorLink Vendors = iota
	// VendorParent continues the vendor's trace, if the vendor samples it.
	VendorParent
	// VendorIgnore reads no context of vendors.
	VendorIgnore
)

// Config says what is sent, and to whom.
type Config struct {
	// Endpoint is the collector's URL. Empty: the environment's, or this machine.
	Endpoint string
	// HTTP sends by OTLP over HTTP, not gRPC.
	HTTP    bool
	Headers []Header
	// TLS of the collector. Nil: the system's authorities.
	TLS *tls.Config
	// Traces, if set, are sent.
	Traces *Traces
	// MetricsInterval is how often the metrics of Gatherer are sent. 0: never.
	MetricsInterval time.Duration
	Gatherer        prometheus.Gatherer
	// Registerer gets the counts of spans. Nil: none are kept.
	Registerer prometheus.Registerer
	// Version is the program's, for the collector.
	Version string
	// Logger gets exports that fail, within reason.
	Logger *slog.Logger
}

// Header is a header of each export.
type Header struct {
	Name  string
	Value secret.Value
}

// Traces says which requests are traced.
type Traces struct {
	Ratio   float64
	Vendors Vendors
	// Queue is how many spans may wait.
	Queue int
}

// Telemetry sends until it is shut down. The zero value sends nothing.
type Telemetry struct {
	tracer tracing.Tracer
	// closers send what waits.
	closers []func(context.Context) error
}

// Open prepares what is configured. It connects to nothing: a collector that is not there stops no start.
func Open(ctx context.Context, c Config) (*Telemetry, error) {
	t := &Telemetry{}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	// The environment says more of the instance, or otherwise.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "bridge"), attribute.String("service.version", c.Version)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("telemetry: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if c.Traces != nil {
		if err := t.openTraces(ctx, c, about); err != nil {
			return nil, err
		}
	}
	if c.MetricsInterval > 0 {
		exporter, err := c.metricExporter(ctx)
		if err != nil {
			return nil, fmt.Errorf("telemetry: metrics: %w", err)
		}
		provider := sdkmetric.NewMeterProvider(sdkmetric.WithResource(about), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(
			&loggedMetrics{exporter, newComplaints(c)}, sdkmetric.WithInterval(c.MetricsInterval),
			sdkmetric.WithProducer(prombridge.NewMetricProducer(prombridge.WithGatherer(c.Gatherer))))))
		t.closers = append(t.closers, provider.Shutdown)
	}
	return t, nil
}

func (t *Telemetry) openTraces(ctx context.Context, c Config, about *resource.Resource) error {
	exporter, err := c.traceExporter(ctx)
	if err != nil {
		return fmt.Errorf("telemetry: traces: %w", err)
	}
	q, err := newQueue(exporter, c)
	if err != nil {
		return fmt.Errorf("telemetry: traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithSpanProcessor(q),
		sdktrace.WithSampler(sampler{sdktrace.TraceIDRatioBased(c.Traces.Ratio)}))
	t.tracer = &tracer{otel: provider.Tracer("github.com/webhook-bridge/bridge"), vendors: c.Traces.Vendors}
	t.closers = append(t.closers, provider.Shutdown)
	return nil
}

// Tracer begins spans. It is nil, which is off, unless traces are configured.
func (t *Telemetry) Tracer() tracing.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// Shutdown sends what waits, until ctx ends. Spans that end later are lost.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	var all []error
	for _, end := range t.closers {
		all = append(all, end(ctx))
	}
	return errors.Join(all...)
}
