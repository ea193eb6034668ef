package sinktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// result is the result of a Deliver.
type result struct {
	n   int
	err error
}

// deliverAsync delivers in the background.
func (t *fixture) deliverAsync(ctx context.Context, records []sinks.Record) <-chan result {
	results := make(chan result, 1)
	sink := t.sink
	go func() {
		n, err := sink.Deliver(ctx, records)
		results <- result{n, err}
	}()
	return results
}

func (r result) String() string { return fmt.Sprintf("%d, %v", r.n, r.err) }

// awaitResult returns the result of a Deliver that must return soon.
func (t *fixture) awaitResult(results <-chan result) (result, error) {
	late := time.NewTimer(t.soon)
	defer late.Stop()
	select {
	case r := <-results:
		return r, nil
	case <-late.C:
		return result{}, fmt.Errorf("%w: Deliver has not returned after %s", errHangs, t.soon)
	}
}

// deliverFor delivers to a destination that may be unreachable, with the time limit t.away.
func (t *fixture) deliverFor(ctx context.Context, records []sinks.Record) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, t.away)
	defer cancel()
	n, err := t.sink.Deliver(ctx, records)
	return min(max(n, 0), len(records)), err
}

// deliverBriefly delivers to a silent destination, and cancels soon.
func (t *fixture) deliverBriefly(ctx context.Context, records []sinks.Record) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	n, err := t.sink.Deliver(ctx, records)
	return min(max(n, 0), len(records)), err
}

// measureDeliver returns how long a Deliver of n events takes now.
func (t *fixture) measureDeliver(ctx context.Context, n int) (time.Duration, error) {
	if err := t.pushNext(ctx, n); err != nil { // The first may have to connect.
		return 0, err
	}
	began := time.Now()
	err := t.pushNext(ctx, n)
	return time.Since(began), err
}

func partial(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, most := range []int{0, 1, 7, 39} {
		before := len(t.ledger)
		records, err := t.records(40)
		if err != nil {
			return err
		}
		t.beginFault(func() { t.BreakAfter(most) })
		n, _ := t.deliverFor(ctx, records)
		t.repair()
		if n > most {
			return fmt.Errorf("%d events are reported durable, but %d were accepted", n, most)
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

// stumble finds a sink that sends the next events before it knows the result of the last ones.
func stumble(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, most := range []int{0, 1, 7, 39} {
		before := len(t.ledger)
		records, err := t.records(40)
		if err != nil {
			return err
		}
		t.Stumble(most)
		n, _ := t.deliverFor(ctx, records)
		if err := t.checkReceived(ctx, before+n); err != nil {
			return err
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, true)
}

func saysWhy(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(10)
	if err != nil {
		return err
	}
	t.beginFault(t.Break)
	if n, err := t.deliverFor(ctx, records); n < len(records) && err == nil {
		return fmt.Errorf("%d of %d events are delivered when the destination is unreachable, and the error is nil", n, len(records))
	}
	return nil
}

func condition(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	away := func(deliver func(context.Context, []sinks.Record) (int, error), what string, begin func()) error {
		records, err := t.records(10)
		if err != nil {
			return err
		}
		t.beginFault(begin)
		for range 3 {
			n, err := deliver(ctx, records)
			records = records[n:]
			if errors.Is(err, sinks.ErrPermanent) || errors.Is(err, sinks.ErrClosed) {
				return fmt.Errorf("when the destination is %s: %w", what, err)
			}
		}
		t.repair()
		return t.push(ctx, records)
	}
	if err := away(t.deliverFor, "unreachable", t.Break); err != nil {
		return err
	}
	if t.Stall != nil {
		if err := away(t.deliverBriefly, "silent", t.Stall); err != nil {
			return err
		}
	}
	if t.Throttle != nil {
		return away(t.deliverFor, "throttling", func() { t.Throttle(time.Second) })
	}
	return nil
}

func pause(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, d := range []time.Duration{time.Second, 90 * time.Second} {
		records, err := t.records(10)
		if err != nil {
			return err
		}
		t.beginFault(func() { t.Throttle(d) })
		n, err := t.deliverFor(ctx, records)
		t.repair()
		var again *sinks.RetryAfterError
		if !errors.As(err, &again) {
			return fmt.Errorf("when asked for a pause of %s: %s", d, result{n, err})
		}
		// A pause sent as a date is rounded to whole seconds.
		if again.After <= 0 || again.After > d+time.Second {
			return fmt.Errorf("when asked for a pause of %s, Deliver says %s", d, again.After)
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, true)
}

func breakAndRepair(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for range 3 {
		if err := t.pushNext(ctx, 50); err != nil {
			return err
		}
		before := len(t.ledger)
		records, err := t.records(50)
		if err != nil {
			return err
		}
		t.beginFault(t.Break)
		for range 2 {
			if n, err := t.deliverFor(ctx, records); n > 0 {
				return fmt.Errorf("when the destination is unreachable: %s, want 0", result{n, err})
			}
		}
		t.repair()
		if err := t.checkReceived(ctx, before); err != nil {
			return err
		}
		if err := t.push(ctx, records); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, true)
}

func breakDuring(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	const rounds = 5
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
		attempt, cancel := context.WithTimeout(ctx, t.away)
		results := t.deliverAsync(attempt, records)
		wait(ctx, pace*time.Duration(i)/rounds)
		t.beginFault(t.Break)
		got := <-results
		cancel()
		t.repair()
		n := min(max(got.n, 0), size)
		if err := t.checkReceived(ctx, before+n); err != nil {
			return err
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, true)
}
