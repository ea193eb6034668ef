package sinktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// fenced has a process thaw after another one took its place.
func fenced(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 10); err != nil {
		return err
	}
	frozen := t.resumer()
	t.others, t.sink = append(t.others, frozen), nil
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.checkReached(t.reached, 11); err != nil {
		return err
	}
	records, err := t.records(10)
	if err != nil {
		return err
	}
	for range 2 {
		if n, err := frozen.Deliver(ctx, records); n != 0 || !errors.Is(err, sinks.ErrFenced) {
			return fmt.Errorf("an earlier opening delivers: %s, want 0 and ErrFenced", result{n, err})
		}
		if err := errOfMoveTo(ctx, frozen, sinks.ErrFenced); err != nil {
			return err
		}
	}
	if _, _, err := frozen.Resume(ctx); !errors.Is(err, sinks.ErrFenced) {
		return fmt.Errorf("an earlier opening resumes: %s, want %w", said(err), sinks.ErrFenced)
	}
	if err := t.push(ctx, records); err != nil {
		return err
	}
	if err := t.reopenAt(ctx, 21); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

// fencedDuring opens the next sink while the last one delivers.
func fencedDuring(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	const rounds = 5
	pace, err := t.measureDeliver(ctx, t.batch)
	if err != nil {
		return err
	}
	for i := range rounds {
		if err := t.takeOverDuring(ctx, pace*time.Duration(i)/rounds); err != nil {
			return err
		}
	}
	return t.checkOrder(ctx, false)
}

func (t *fixture) takeOverDuring(ctx context.Context, after time.Duration) error {
	before := len(t.ledger)
	records, err := t.records(t.batch)
	if err != nil {
		return err
	}
	results := t.deliverAsync(ctx, records)
	wait(ctx, after)
	t.others, t.sink = append(t.others, t.sink), nil
	if err := t.open(ctx); err != nil {
		return err
	}
	got, err := t.awaitResult(results)
	if err != nil {
		return err
	}
	n := min(max(got.n, 0), len(records))
	if n < len(records) && !errors.Is(got.err, sinks.ErrFenced) {
		return fmt.Errorf("a Deliver of %d under way when another opening took over: %s, want ErrFenced", len(records), got)
	}
	rest, err := t.restFrom(t.reached, records, n)
	if err != nil {
		return err
	}
	there, err := t.arrivals(ctx)
	if err != nil {
		return err
	}
	if want := before + len(records) - len(rest); len(there) != want {
		return fmt.Errorf("when another opening took over, the position was %d events after the start, and the destination has %d", want, len(there))
	}
	return t.push(ctx, rest)
}

// oneOpening checks that a second opening fails until the first one is closed.
func oneOpening(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 5); err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, t.away)
	defer cancel()
	if second, err := t.OpenFrom(short, t.origin); err == nil {
		return errors.Join(errors.New("a second opening beside the first one does not fail"), second.Close())
	}
	if err := t.pushNext(ctx, 5); err != nil {
		return err
	}
	return t.reopenAt(ctx, 11)
}
