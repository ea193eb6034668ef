package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/telemetry"
)

// telemetryPatience is how long a shutdown waits, after all else, until the collector has the last spans and metrics.
const telemetryPatience = 2 * time.Second

// openTelemetry makes what the configuration says of traces and metrics. It connects to nothing.
func openTelemetry(ctx context.Context, c config.Telemetry, metrics *prometheus.Registry, log *slog.Logger) (*telemetry.Telemetry, error) {
	if c.Traces == nil && c.Metrics == nil {
		return &telemetry.Telemetry{}, nil
	}
	t := telemetry.Config{
		Endpoint: c.Endpoint, HTTP: c.HTTP, Gatherer: metrics, Registerer: metrics, Logger: log, Version: buildVersion().version,
	}
	var err error
	if t.TLS, err = collectorTLS(c.TLS); err != nil {
		return nil, err
	}
	for _, h := range c.Headers {
		t.Headers = append(t.Headers, telemetry.Header{Name: h.Name, Value: h.Value})
	}
	if c.Traces != nil {
		t.Traces = &telemetry.Traces{Ratio: c.Traces.Ratio, Queue: c.Traces.Queue, Vendors: vendorsOf[c.Traces.Vendors]}
	}
	if c.Metrics != nil {
		t.MetricsInterval = c.Metrics.Interval
	}
	return telemetry.Open(ctx, t)
}

var vendorsOf = map[string]telemetry.Vendors{
	"link": telemetry.VendorLink, "parent": telemetry.VendorParent, "ignore": telemetry.VendorIgnore,
}

func collectorTLS(c *config.ClientTLS) (*tls.Config, error) {
	files := clientTLSFiles(c)
	if files == nil {
		return nil, nil //nolint:nilnil // the default
	}
	t, problems := files.Config("telemetry.tls")
	return t, errors.Join(problems...)
}

// sendTelemetry sends the last spans and metrics. A collector that does not answer delays the end by a bounded time.
func (a *Server) sendTelemetry(ctx context.Context) {
	within(ctx, telemetryPatience, func(ctx context.Context) {
		if err := a.telemetry.Shutdown(ctx); err != nil {
			a.log.Warn("telemetry: the last spans and metrics are lost", "error", err)
		}
	})
}
