package sinktest

import (
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
)

func otherLog(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 10); err != nil {
		return err
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	t.origin.Log = marks("0198b0f2-log")
	if err := t.open(ctx); err != nil {
		return err
	}
	if t.reached != nil && t.reached.Log == t.origin.Log.ID() {
		return fmt.Errorf("Resume says %+v, and the sink has had no event of this log", *t.reached)
	}
	if err := t.moveTo(ctx, 4); err != nil {
		return err
	}
	if err := t.reopenAt(ctx, 4); err != nil {
		return err
	}
	records, err := t.records(3)
	if err != nil {
		return err
	}
	for i := range records {
		records[i].Position = sinks.Position(4 + i)
	}
	if err := t.push(ctx, records); err != nil {
		return err
	}
	if err := t.reopenAt(ctx, 7); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

func otherSink(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 10); err != nil {
		return err
	}
	other, reached, err := t.openBeside(ctx, sinks.Origin{Log: t.origin.Log, Sink: "orders-2"})
	if err != nil {
		return err
	}
	if reached != nil {
		return fmt.Errorf("another sink had no event, and Resume says %+v", *reached)
	}
	if err := other.MoveTo(ctx, 3); err != nil {
		return fmt.Errorf("move another sink: %w", err)
	}
	if err := t.pushNext(ctx, 10); err != nil {
		return err
	}
	return t.reopenAt(ctx, 21)
}
