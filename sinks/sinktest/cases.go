package sinktest

import (
	"context"
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
)

var cases = []check{
	{"order", "Deliver hands events over in the order given", nil, order},
	{"empty", "An empty slice is delivered at once: 0, nil", nil, empty},
}

func order(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for i := range 20 {
		if err := t.pushNext(ctx, 1+i*i%47); err != nil {
			return err
		}
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	return t.settled(ctx, false)
}

func empty(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, none := range [][]sinks.Record{nil, {}} {
		if n, err := t.sink.Deliver(ctx, none); n != 0 || err != nil {
			return fmt.Errorf("an empty slice: %d, %w, want 0, nil", n, err)
		}
	}
	return nil
}
