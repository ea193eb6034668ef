package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/internal/tracing"
	"github.com/webhook-bridge/bridge/sinks"
)

// send calls the sink once, within a span if events of the batch belong to traces.
// [tracing.Batch] says how they are tied.
func (l *lane) send(ctx context.Context, batch []sinks.Record, replay string) (int, error) {
	span := l.d.begin(batch, replay, time.Now())
	n, err := l.sink.Deliver(ctx, batch)
	if !span.Recording() {
		return n, err
	}
	span.Set(tracing.Int("bridge.delivered", n))
	if err != nil || n < len(batch) {
		span.Fail(classOf(ctx, err))
	}
	span.End()
	return n, err
}

// begin begins the span of a delivery, or returns the zero span.
func (d *Dispatcher) begin(batch []sinks.Record, replay string, now time.Time) tracing.Span {
	if d.cfg.Tracer == nil {
		return tracing.Span{}
	}
	var traced tracing.Batch
	for i := range batch {
		traced.Add(batch[i].Header.Traceparent, batch[i].Header.ReceivedAt, now)
	}
	s := tracing.Start{
		Name: "send " + d.cfg.Name, Kind: tracing.Producer, At: now,
		Attributes: []tracing.Attribute{
			tracing.String("messaging.system", d.cfg.System), tracing.String("messaging.operation.type", "send"),
			tracing.String("messaging.operation.name", "send"), tracing.String("bridge.sink", d.cfg.Name),
			tracing.Int("messaging.batch.message_count", len(batch)),
		},
	}
	if replay != "" {
		s.Attributes = append(s.Attributes, tracing.String("bridge.replay", replay))
	}
	return traced.Begin(d.cfg.Tracer, s, replay != "")
}

// classOf is the class of a failed delivery.
func classOf(ctx context.Context, err error) string {
	var after *sinks.RetryAfterError
	switch {
	case err == nil:
		return "partial"
	case ctx.Err() != nil:
		return "cancelled"
	case errors.Is(err, sinks.ErrPermanent):
		return "refused"
	case errors.Is(err, sinks.ErrDisabled):
		return "disabled"
	case errors.Is(err, sinks.ErrClosed):
		return "closed"
	case errors.As(err, &after):
		return "retry_after"
	}
	return "unavailable"
}
