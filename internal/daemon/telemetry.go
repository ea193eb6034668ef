package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/webhook-bridge/bridge/internal/build"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/telemetry"
	"github.com/webhook-bridge/bridge/internal/tracing"
)

// telemetryPatience is how long a shutdown waits, after all else, until the collector has the last spans and metrics.
const telemetryPatience = 2 * time.Second

// openTelemetry makes what the configuration says of traces and metrics. It connects to nothing.
func openTelemetry(ctx context.Context, c config.Telemetry, metrics *prometheus.Registry, log *slog.Logger) (*telemetry.Telemetry, error) {
	if c.Traces == nil && c.Metrics == nil {
		return &telemetry.Telemetry{}, nil
	}
	t := telemetry.Config{
		Endpoint: c.Endpoint, HTTP: c.HTTP, Gatherer: metrics, Registerer: metrics, Logger: log, Version: build.Read().Version,
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

// buildInfo is the metric that tells which build runs.
func buildInfo() prometheus.Collector {
	b := build.Read()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bridge_build_info", Help: "1, with the build that runs.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Commit, "go_version": b.Go},
	})
	g.Set(1)
	return g
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

// traceCall shows the unary calls of Bridge's own services. The arguments and the answer's text are not shown: they may have personal data.
// So the interceptor of OpenTelemetry, which shows the text of errors and addresses, does not fit.
func (a *Server) traceCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	tracer := a.telemetry.Tracer()
	if tracer == nil || !isOwn(serviceOf(info.FullMethod)) {
		return next(ctx, req)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	name := strings.TrimPrefix(info.FullMethod, "/")
	span := tracing.Begin(tracer, tracing.Start{
		Name: name, Kind: tracing.Server, Caller: tracing.Caller{Parent: md["traceparent"], State: md["tracestate"]},
		Attributes: []tracing.Attribute{tracing.String("rpc.system", "grpc"), tracing.String("rpc.method", name)},
	})
	defer span.End()
	answer, err := next(tracing.With(ctx, span), req)
	code := status.Code(err)
	span.Set(tracing.String("rpc.response.status_code", code.String()))
	switch code {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		span.Fail(code.String())
	}
	return answer, err
}

// traceRequests shows the requests of operators over HTTP, by the kind of what they are about: a path has ids, and a query may have names.
// A request may come from somebody who is refused, so that its trace context counts for nothing.
func traceRequests(tracer tracing.Tracer, next http.Handler) http.Handler {
	if tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/") {
			next.ServeHTTP(w, r)
			return
		}
		route := adminRoute(r.URL.Path)
		span := tracing.Begin(tracer, tracing.Start{
			Name: r.Method + " " + route, Kind: tracing.Server,
			Attributes: []tracing.Attribute{tracing.String("http.request.method", r.Method), tracing.String("http.route", route)},
		})
		defer span.End()
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, r.WithContext(tracing.With(r.Context(), span)))
		span.Set(tracing.Int("http.response.status_code", answer.status))
		if answer.status >= http.StatusInternalServerError {
			span.Fail(strconv.Itoa(answer.status))
		}
	})
}

// adminRoute is the first part of a path below /v1, if it is a word.
func adminRoute(path string) string {
	part, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	part, _, _ = strings.Cut(part, ":")
	if part == "" || len(part) > 32 || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "/v1/"
	}
	return "/v1/" + part
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the writer below, for [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
