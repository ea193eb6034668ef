package telemetry

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// queue bounds the spans that wait for the collector, and counts them. The SDK's own processor, which collects and sends the spans, drops
// the ones for which it has no room, and says so to nobody. So the queue lets it have no more than there is room for.
type queue struct {
	sdktrace.SpanProcessor

	exporter   sdktrace.SpanExporter
	complaints *complaints
	room       int64
	// waiting counts the spans from their end until they were sent, or could not be.
	waiting atomic.Int64

	exported, full, failed prometheus.Counter
}

func newQueue(exporter sdktrace.SpanExporter, c Config) (*queue, error) {
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bridge_trace_spans_dropped_total", Help: "Spans that no collector got: the queue was full, or the export failed.",
	}, []string{"reason"})
	q := &queue{
		exporter: exporter, complaints: newComplaints(c), room: int64(c.Traces.Queue),
		exported: prometheus.NewCounter(prometheus.CounterOpts{Name: "bridge_trace_spans_exported_total", Help: "Spans that the collector accepted."}),
		full:     dropped.WithLabelValues("queue"), failed: dropped.WithLabelValues("export"),
	}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(sending{q}, sdktrace.WithMaxQueueSize(c.Traces.Queue),
		sdktrace.WithMaxExportBatchSize(min(c.Traces.Queue, sdktrace.DefaultMaxExportBatchSize)))
	if c.Registerer == nil {
		return q, nil
	}
	return q, errors.Join(c.Registerer.Register(q.exported), c.Registerer.Register(dropped))
}

// OnEnd implements [sdktrace.SpanProcessor]. It does not block.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > q.room {
		q.waiting.Add(-1)
		q.full.Inc()
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// sending sends the spans of a queue. It implements [sdktrace.SpanExporter].
type sending struct{ *queue }

// ExportSpans sends spans, and counts them. A failure is logged here, and not by the SDK.
func (s sending) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := s.exporter.ExportSpans(ctx, spans)
	s.waiting.Add(-int64(len(spans)))
	if err != nil {
		s.failed.Add(float64(len(spans)))
		s.complaints.log("spans", err)
		return nil
	}
	s.exported.Add(float64(len(spans)))
	return nil
}

// Shutdown ends the exporter.
func (s sending) Shutdown(ctx context.Context) error { return s.exporter.Shutdown(ctx) }
