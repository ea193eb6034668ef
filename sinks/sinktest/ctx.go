package sinktest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

func ctxBefore(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(10)
	if err != nil {
		return err
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	expired, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	for _, done := range []context.Context{cancelled, expired} {
		n, err := t.sink.Deliver(done, records)
		if n != 0 || !errors.Is(err, done.Err()) {
			return fmt.Errorf("with a ctx that is done: %s, want 0, %w", result{n, err}, done.Err())
		}
	}
	if there, err := t.arrivals(ctx); err != nil || len(there) > 0 {
		return errors.Join(fmt.Errorf("%d events were sent with a ctx that is done", len(there)), err)
	}
	if err := t.push(ctx, records); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

func ctxDuring(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	const rounds = 6
	size := t.batch
	pace, err := t.measureDeliver(ctx, size)
	if err != nil {
		return err
	}
	for i := range rounds {
		before := len(t.ledger)
		records, err := t.records(size)
		if err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, pace*time.Duration(i)/rounds)
		n, err := t.sink.Deliver(short, records)
		cancel()
		n = min(max(n, 0), size)
		if n < size && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("when ctx was done, of %d: %s", size, result{n, err})
		}
		if err := t.checkReceived(ctx, before+n); err != nil {
			return err
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, true)
}

func silence(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 20); err != nil {
		return err
	}
	for range 3 {
		records, err := t.records(20)
		if err != nil {
			return err
		}
		t.beginFault(t.Stall)
		abandoned, cancel := context.WithCancel(ctx)
		results := t.deliverAsync(abandoned, records)
		wait(ctx, 20*time.Millisecond)
		cancel()
		got, err := t.awaitResult(results)
		if err != nil {
			return err
		}
		if got.n != 0 || !errors.Is(got.err, context.Canceled) {
			return fmt.Errorf("when the destination was silent and ctx done: %s, want 0, %w", got, context.Canceled)
		}
		t.repair()
		if err := t.push(ctx, records); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, true)
}
