package telemetry

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/webhook-bridge/bridge/internal/tracing"
)

// maxState bounds a tracestate, in bytes, as the specification suggests.
const maxState = 512

type tracer struct {
	otel    trace.Tracer
	vendors Vendors
}

// Begin implements [tracing.Tracer].
func (t *tracer) Begin(s tracing.Start) tracing.Recorder {
	ctx, link := context.Background(), trace.SpanContext{}
	switch caller := t.caller(s.Caller); {
	case s.Parent.Valid():
		ctx = trace.ContextWithRemoteSpanContext(ctx, spanContext(s.Parent))
	case !caller.IsValid():
	case s.Caller.Vendor && t.vendors == VendorLink:
		link = caller
	default:
		ctx = trace.ContextWithRemoteSpanContext(ctx, caller)
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kindOf(s.Kind)), trace.WithAttributes(attributesOf(s.Attributes)...)}
	if !s.At.IsZero() {
		options = append(options, trace.WithTimestamp(s.At))
	}
	for _, l := range s.Links {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: spanContext(l)}))
	}
	r := t.start(ctx, s.Name, options...)
	if r == nil {
		return nil
	}
	if link.IsValid() { // After the decision: what a vendor says does not decide.
		r.span.AddLink(trace.Link{SpanContext: link})
	}
	return r
}

func (t *tracer) start(ctx context.Context, name string, options ...trace.SpanStartOption) *recorder {
	ctx, span := t.otel.Start(ctx, name, options...)
	if !span.IsRecording() {
		return nil
	}
	return &recorder{t, ctx, span}
}

// caller returns the context that a caller sent, if it counts and is well formed.
func (t *tracer) caller(c tracing.Caller) trace.SpanContext {
	if len(c.Parent) != 1 || c.Vendor && t.vendors == VendorIgnore {
		return trace.SpanContext{}
	}
	parsed, ok := tracing.Parse(c.Parent[0])
	if !ok {
		return trace.SpanContext{}
	}
	remote := spanContext(parsed)
	length := 0
	for _, s := range c.State {
		length += len(s) + 1
	}
	if length == 0 || length > maxState+1 {
		return remote
	}
	// A tracestate that is malformed is left out, and the parent counts all the same.
	if state, err := trace.ParseTraceState(strings.Join(c.State, ",")); err == nil {
		remote = remote.WithTraceState(state)
	}
	return remote
}

func spanContext(c tracing.Context) trace.SpanContext {
	var flags trace.TraceFlags
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: c.Trace, SpanID: c.Span, TraceFlags: flags.WithSampled(c.Sampled), Remote: true})
}

func kindOf(k tracing.Kind) trace.SpanKind {
	return [...]trace.SpanKind{tracing.Internal: trace.SpanKindInternal, tracing.Server: trace.SpanKindServer, tracing.Producer: trace.SpanKindProducer}[k]
}

func attributesOf(all []tracing.Attribute) []attribute.KeyValue {
	converted := make([]attribute.KeyValue, len(all))
	for i, a := range all {
		converted[i] = attribute.Int64(a.Key, a.Number)
		if a.Text != "" {
			converted[i] = attribute.String(a.Key, a.Text)
		}
	}
	return converted
}

// recorder records one span.
type recorder struct {
	tracer *tracer
	ctx    context.Context //nolint:containedctx // the SDK finds the parent in it
	span   trace.Span
}

// Context implements [tracing.Recorder].
func (r *recorder) Context() tracing.Context {
	c := r.span.SpanContext()
	return tracing.Context{Trace: c.TraceID(), Span: c.SpanID(), Sampled: c.IsSampled()}
}

// Child implements [tracing.Recorder].
func (r *recorder) Child(name string, kind tracing.Kind, at time.Time) tracing.Recorder {
	options := []trace.SpanStartOption{trace.WithSpanKind(kindOf(kind))}
	if !at.IsZero() {
		options = append(options, trace.WithTimestamp(at))
	}
	if c := r.tracer.start(r.ctx, name, options...); c != nil {
		return c
	}
	return nil
}

// Set implements [tracing.Recorder].
func (r *recorder) Set(all ...tracing.Attribute) { r.span.SetAttributes(attributesOf(all)...) }

// Fail implements [tracing.Recorder].
func (r *recorder) Fail(class string) {
	r.span.SetAttributes(attribute.String("error.type", class))
	r.span.SetStatus(codes.Error, class)
}

// End implements [tracing.Recorder].
func (r *recorder) End() { r.span.End() }

// sampler decides which spans are recorded.
type sampler struct{ ratio sdktrace.Sampler }

// ShouldSample implements [sdktrace.Sampler]. The links that it sees are to contexts of Bridge's own.
func (s sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	sampled := parent.IsSampled()
	if !parent.IsValid() {
		if len(p.Links) == 0 {
			return s.ratio.ShouldSample(p)
		}
		for _, l := range p.Links {
			sampled = sampled || l.SpanContext.IsSampled()
		}
	}
	decision := sdktrace.Drop
	if sampled {
		decision = sdktrace.RecordAndSample
	}
	return sdktrace.SamplingResult{Decision: decision, Tracestate: parent.TraceState()}
}

// Description implements [sdktrace.Sampler].
func (s sampler) Description() string { return "Bridge{" + s.ratio.Description() + "}" }
