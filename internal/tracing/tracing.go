// Package tracing is what the rooms know of traces: a context of a few bytes, and spans that cost nothing when nothing is traced. It
// imports no SDK; package telemetry records the spans and sends them.
//
// # What a span may say
//
// Names and attributes are words of the configuration and of the program: a source's name, an event's name that the connector models, an
// outcome. They never hold a body, a header, a URL as received, an address, or a secret; a path token is replaced by "{token}". A span that
// failed has a class, such as "unavailable", and never an error's text.
//
// # Concurrency
//
// A span belongs to one goroutine at a time, and must not be used after [Span.End].
package tracing

import (
	"context"
	"time"
)

// Tracer begins spans. A nil Tracer is off: [Begin] does nothing then.
type Tracer interface {
	// Begin begins a span that has no parent in this process. It returns nil if the span is not recorded. It never blocks.
	Begin(s Start) Recorder
}

// Start says how a span begins.
type Start struct {
	Name string
	Kind Kind
	// At is when it began. The zero time is now.
	At time.Time
	// Caller has the trace context that the caller of this program sent.
	Caller Caller
	// Parent is the context of a span that is known, such as one that was stored. It is trusted: a span with a sampled parent is recorded.
	Parent Context
	// Links are contexts that the span has to do with, and that are not its parent. A span with a sampled link is recorded.
	Links []Context
	// Attributes are there from the beginning.
	Attributes []Attribute
}

// Caller is the trace context in the headers of a request. Its fields are as received, and not checked.
type Caller struct {
	Parent, State []string
	// Vendor: the setting for vendors decides what it counts for. Otherwise it is the parent: the caller is admitted and follows the
	// operator's rules.
	Vendor bool
}

// Kind is a span's role, as OpenTelemetry has it.
type Kind uint8

// The kinds of spans.
const (
	Internal Kind = iota
	Server
	Producer
)

// Attribute is a fact about a span. Text counts, unless it is empty: then Number does.
type Attribute struct {
	Key    string
	Text   string
	Number int64
}

// String returns an attribute with a text.
func String(key, text string) Attribute { return Attribute{Key: key, Text: text} }

// Int returns an attribute with a number.
func Int[N int | int64 | uint64](key string, n N) Attribute {
	return Attribute{Key: key, Number: int64(n)}
}

// Recorder records a span. Package telemetry implements it; others use [Span].
type Recorder interface {
	Context() Context
	// Child begins a span within this one. The zero time is now.
	Child(name string, kind Kind, at time.Time) Recorder
	Set(attributes ...Attribute)
	// Fail marks the span as failed, with a class of errors.
	Fail(class string)
	End()
}

// Span is work that a trace shows. The zero Span is work that no trace shows: its methods do nothing.
type Span struct{ recorder Recorder }

// Begin begins a span, or returns the zero Span if nothing is recorded. The tracer may be nil.
func Begin(t Tracer, s Start) Span {
	if t == nil {
		return Span{}
	}
	return Span{t.Begin(s)}
}

// Recording reports whether a trace shows the span.
func (s Span) Recording() bool { return s.recorder != nil }

// Context returns the span's context: the zero Context for the zero Span.
func (s Span) Context() Context {
	if s.recorder == nil {
		return Context{}
	}
	return s.recorder.Context()
}

// Child begins a span within this one.
func (s Span) Child(name string) Span {
	if s.recorder == nil {
		return Span{}
	}
	return Span{s.recorder.Child(name, Internal, time.Time{})}
}

// Set adds attributes.
func (s Span) Set(attributes ...Attribute) {
	if s.recorder != nil {
		s.recorder.Set(attributes...)
	}
}

// Fail marks the span as failed. class is a word of a closed list, and never an error's text.
func (s Span) Fail(class string) {
	if s.recorder != nil {
		s.recorder.Fail(class)
	}
}

// End ends the span.
func (s Span) End() {
	if s.recorder != nil {
		s.recorder.End()
	}
}

// LogAttributes returns the ids under which a log line finds the trace, as arguments of [log/slog.Logger]. The zero Span has none.
func (s Span) LogAttributes() []any {
	if s.recorder == nil {
		return nil
	}
	c := s.recorder.Context()
	return []any{"trace_id", c.TraceID(), "span_id", c.SpanID()}
}

type spanKey struct{}

// With returns a context that carries the span. A zero Span changes nothing.
func With(ctx context.Context, s Span) context.Context {
	if s.recorder == nil {
		return ctx
	}
	return context.WithValue(ctx, spanKey{}, s)
}

// From returns the span that a context carries, or the zero Span.
func From(ctx context.Context) Span {
	s, _ := ctx.Value(spanKey{}).(Span)
	return s
}
