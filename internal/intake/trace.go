package intake

import (
	"context"
	"errors"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/tracing"
)

// shown does a step of reading within a span of its own, if the delivery has one.
func shown(within tracing.Span, name string, r *Reading, step func()) {
	span := within.Child(name)
	defer func() { // A panic, too, is a fault of the connector, and is found by the caller.
		if r.Fault != nil {
			span.Fail(string(r.Fault.Reason))
		}
		span.End()
	}()
	step()
}

// traceCommit commits drafts within a span, and notes in the delivery's span what became of them.
func (in *Intake) traceCommit(ctx context.Context, within tracing.Span, all ...*Draft) error {
	if !within.Recording() {
		return in.Commit(ctx, all...)
	}
	span := within.Child("commit")
	err := in.Commit(ctx, all...)
	if err != nil {
		span.Fail(classOf(err))
	}
	span.End()
	if err == nil {
		describe(within, all)
	}
	return err
}

// classOf is the class of an error of [Intake.Commit], for traces.
func classOf(err error) string {
	switch {
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, journal.ErrNotFound):
		return "not_found"
	}
	return "internal"
}

// describe says in a span what drafts became. The webhooks of an array may have many ids and outcomes; the first stands for them.
func describe(span tracing.Span, all []*Draft) {
	if len(all) == 0 {
		return
	}
	events := 0
	for _, d := range all {
		if d.Outcome == Accepted {
			events += d.Events()
		}
	}
	first := all[0]
	attributes := []tracing.Attribute{
		tracing.String("bridge.outcome", first.Outcome.String()),
		tracing.String("bridge.webhook.id", first.entry.Webhook.GetId()),
		tracing.Int("bridge.webhooks", len(all)), tracing.Int("bridge.events", events),
	}
	// A sender may write anything in the place of a name. The names that the connector models are known.
	if e, known := first.source.Event(first.Event); known {
		attributes = append(attributes, tracing.String("bridge.event", e.Name))
	}
	if first.Fault != nil {
		attributes = append(attributes, tracing.String("bridge.quarantine.reason", string(first.Fault.Reason)))
	}
	span.Set(attributes...)
}

// traceAttributes returns the trace of a webhook, as arguments of [log/slog.Logger]. Without a trace there are none.
func traceAttributes(w *journalv1.Webhook) []any {
	c, ok := tracing.Parse(w.GetTraceparent())
	if !ok {
		return nil
	}
	return []any{"trace_id", c.TraceID()}
}
