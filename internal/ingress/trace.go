package ingress

import (
	"net/http"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/webhook-bridge/bridge/internal/tracing"
)

// Names of requests, by the form of their path. They have the place of a token and not the token, and the place of an event's name, since
// a sender can write anything there.
const (
	routePlain = "/webhooks/{source}"
	routeToken = routePlain + "/t/{token}"
	routeEvent = "/{event}"
)

// statusOK is the status of a request that was answered with success.
var statusOK = tracing.Int("http.response.status_code", http.StatusOK)

// begin begins the span of a request to a source. The caller's context is that of a verified sender, or empty.
func (in *Ingress) begin(src *endpoint, to route, received time.Time, caller tracing.Caller) tracing.Span {
	if in.tracer == nil {
		return tracing.Span{}
	}
	path := routePlain
	if to.tokened {
		path = routeToken
	}
	if to.event != "" {
		path += routeEvent
	}
	return tracing.Begin(in.tracer, tracing.Start{
		Name: http.MethodPost + " " + path, Kind: tracing.Server, At: received, Caller: caller,
		Attributes: append(src.attributes(), tracing.String("http.request.method", http.MethodPost), tracing.String("http.route", path)),
	})
}

// attributes are what spans say of a source.
func (s *endpoint) attributes() []tracing.Attribute {
	return []tracing.Attribute{tracing.String("bridge.source", s.Name), tracing.String("bridge.connector", s.Connector.Name)}
}

// callerOf returns the trace context that a vendor sent.
func callerOf(h http.Header) tracing.Caller {
	return tracing.Caller{Parent: h["Traceparent"], State: h["Tracestate"], Vendor: true}
}

// trace notes the answer to a refused sender.
func (a answer) trace(span tracing.Span) {
	span.Set(tracing.String("bridge.outcome", "refused"), tracing.Int("http.response.status_code", a.status))
	if a.status >= http.StatusInternalServerError {
		span.Fail(a.reason.String())
		return
	}
	span.Set(tracing.String("error.type", a.reason.String())) // The server did its work: the sender is at fault.
}

// begin begins the span of a typed call. The caller is verified, or its context is not read.
func (t *typed) begin(src *endpoint, received time.Time, md metadata.MD) tracing.Span {
	if t.in.tracer == nil || src == nil {
		return tracing.Span{}
	}
	name := t.route.method[1:] // A span of an RPC has no slash at its beginning.
	return tracing.Begin(t.in.tracer, tracing.Start{
		Name: name, Kind: tracing.Server, At: received,
		Caller:     tracing.Caller{Parent: md["traceparent"], State: md["tracestate"], Vendor: true},
		Attributes: append(src.attributes(), tracing.String("rpc.system", "grpc"), tracing.String("rpc.method", name)),
	})
}
