package tracing

import (
	"slices"
	"time"
)

const (
	// continuedFor is for how long after its receipt a delivery of an event is a part of the event's trace. Collectors take a trace for
	// complete some time after its last span.
	continuedFor = 15 * time.Minute
	// maxLinks bounds the links of a span.
	maxLinks = 128
)

// Batch collects the contexts of the events of one delivery. The zero value has none.
//
// OpenTelemetry's conventions for messaging know two ways to tie the sending of messages to the contexts in which they were made. If all
// traced events come from one request, and that was not long ago, the span of the delivery is a child of the request's: the trace shows the
// whole way. Otherwise the span begins a trace of its own, and links to those of the events: a span has one parent only, and a batch of
// many requests, a replay and a late retry are work of their own. What is sent carries the events' own contexts in both cases.
type Batch struct {
	contexts []Context
	late     bool
}

// Add adds an event with its traceparent, which may be empty, and the time of its receipt.
func (b *Batch) Add(traceparent []byte, receivedAt, now time.Time) {
	if len(traceparent) == 0 || len(b.contexts) == maxLinks {
		return
	}
	c, ok := Parse(traceparent)
	if !ok || !c.Sampled || slices.Contains(b.contexts, c) {
		return
	}
	b.contexts = append(b.contexts, c)
	b.late = b.late || now.Sub(receivedAt) >= continuedFor
}

// Begin begins the span of the delivery, or returns the zero Span if none of the events belongs to a trace. separate: it is a replay, and
// always a trace of its own.
func (b *Batch) Begin(t Tracer, s Start, separate bool) Span {
	if len(b.contexts) == 0 {
		return Span{}
	}
	if len(b.contexts) == 1 && !b.late && !separate {
		s.Parent = b.contexts[0]
	} else {
		s.Links = b.contexts
	}
	return Begin(t, s)
}
