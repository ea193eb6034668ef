package sinktest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// closeSoon closes the fixture's sink, and returns an error unless Close returns soon. It ignores the error of Close.
func (t *fixture) closeSoon() error {
	closed := make(chan struct{})
	sink := t.sink
	t.sink = nil
	go func() {
		defer close(closed)
		_ = sink.Close() // The destination may be unreachable, so an error is expected.
	}()
	late := time.NewTimer(t.soon)
	defer late.Stop()
	select {
	case <-closed:
		return nil
	case <-late.C:
		return fmt.Errorf("%w: Close has not returned after %s", errHangs, t.soon)
	}
}

// closeReleases counts goroutines: a connection or file that a sink leaks usually has one.
func closeReleases(ctx context.Context, t *fixture) error {
	const sessions = 20
	session := func() error {
		if err := t.open(ctx); err != nil {
			return err
		}
		if err := t.pushNext(ctx, 1); err != nil {
			return err
		}
		return t.closeSink()
	}
	if err := session(); err != nil { // Goroutines that start once may stay.
		return err
	}
	before := runtime.NumGoroutine()
	for range sessions {
		if err := session(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(t.soon)
	for runtime.NumGoroutine() >= before+sessions {
		if time.Now().After(deadline) {
			return fmt.Errorf("after %d sinks were closed there are %d goroutines, before there were %d", sessions, runtime.NumGoroutine(), before)
		}
		wait(ctx, 10*time.Millisecond)
	}
	return nil
}

func closeDuring(ctx context.Context, t *fixture) error {
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
		results := t.deliverAsync(ctx, records)
		wait(ctx, pace*time.Duration(i+1)/rounds)
		if err := t.closeSoon(); err != nil {
			return err
		}
		got, err := t.awaitResult(results)
		if err != nil {
			return err
		}
		n := min(max(got.n, 0), size)
		if n < size && !errors.Is(got.err, sinks.ErrClosed) {
			return fmt.Errorf("a Deliver of %d that Close ended: %s, want ErrClosed", size, got)
		}
		if err := t.checkReceived(ctx, before+n); err != nil {
			return err
		}
		if err := t.open(ctx); err != nil {
			return err
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, true)
}

func closeInSilence(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 20); err != nil {
		return err
	}
	records, err := t.records(20)
	if err != nil {
		return err
	}
	t.beginFault(t.Stall)
	results := t.deliverAsync(ctx, records)
	wait(ctx, 20*time.Millisecond)
	if err := t.closeSoon(); err != nil {
		return err
	}
	got, err := t.awaitResult(results)
	if err != nil {
		return err
	}
	if got.n != 0 || !errors.Is(got.err, sinks.ErrClosed) {
		return fmt.Errorf("a Deliver that Close ended when the destination was silent: %s, want 0, ErrClosed", got)
	}
	t.repair()
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.push(ctx, records); err != nil {
		return err
	}
	return t.checkOrder(ctx, true)
}

func closeWhileAway(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 20); err != nil {
		return err
	}
	before := len(t.ledger)
	records, err := t.records(20)
	if err != nil {
		return err
	}
	t.beginFault(t.Break)
	n, _ := t.deliverFor(ctx, records)
	if err := t.closeSoon(); err != nil {
		return err
	}
	t.repair()
	if err := t.checkReceived(ctx, before+n); err != nil {
		return err
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.push(ctx, records[n:]); err != nil {
		return err
	}
	return t.checkOrder(ctx, true)
}

func deliverAfterClose(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 5); err != nil {
		return err
	}
	late, err := t.records(1)
	if err != nil {
		return err
	}
	sink := t.sink
	if err := t.closeSink(); err != nil {
		return err
	}
	for _, events := range [][]sinks.Record{late, late, nil} {
		if n, err := sink.Deliver(ctx, events); n != 0 || !errors.Is(err, sinks.ErrClosed) {
			return fmt.Errorf("after Close, %d events: %s, want 0, ErrClosed", len(events), result{n, err})
		}
	}
	there, err := t.arrivals(ctx)
	if err != nil {
		return err
	}
	if len(there) != 5 {
		return fmt.Errorf("the destination has %d events, and was given 5 before Close", len(there))
	}
	return nil
}

func reopen(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for range 4 {
		for _, n := range []int{30, 1} {
			if err := t.pushNext(ctx, n); err != nil {
				return err
			}
		}
		if err := t.reopen(ctx); err != nil {
			return err
		}
		if err := t.checkReceived(ctx, len(t.ledger)); err != nil {
			return err
		}
	}
	if err := t.pushNext(ctx, 30); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

func closeTwice(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 5); err != nil {
		return err
	}
	sink := t.sink
	if err := t.closeSink(); err != nil {
		return err
	}
	const callers = 8
	failed := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { failed[i] = sink.Close() })
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("closed again: %w", err)
	}
	// Closing again must not close a resource that belongs to the new sink.
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("closed again: %w", err)
	}
	if err := t.pushNext(ctx, 5); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}
