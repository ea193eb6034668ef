package sinktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// answer is what a Deliver returned.
type answer struct {
	n   int
	err error
}

// start delivers in the background.
func (t *trial) start(ctx context.Context, records []sinks.Record) <-chan answer {
	answers := make(chan answer, 1)
	sink := t.sink
	go func() {
		n, err := sink.Deliver(ctx, records)
		answers <- answer{n, err}
	}()
	return answers
}

func (a answer) String() string { return fmt.Sprintf("%d, %v", a.n, a.err) }

// soonFrom returns the answer of a Deliver that now has to return soon.
func (t *trial) soonFrom(answers <-chan answer) (answer, error) {
	late := time.NewTimer(t.soon)
	defer late.Stop()
	select {
	case a := <-answers:
		return a, nil
	case <-late.C:
		return answer{}, fmt.Errorf("%w: Deliver has not returned after %s", errHangs, t.soon)
	}
}

// attempt delivers to a far side that may be away, for a while.
func (t *trial) attempt(ctx context.Context, records []sinks.Record) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, t.away)
	defer cancel()
	n, err := t.sink.Deliver(ctx, records)
	return min(max(n, 0), len(records)), err
}

// abandoned delivers to a far side that is silent, and gives up.
func (t *trial) abandoned(ctx context.Context, records []sinks.Record) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	n, err := t.sink.Deliver(ctx, records)
	return min(max(n, 0), len(records)), err
}

// pace is how long a Deliver of n events takes now.
func (t *trial) pace(ctx context.Context, n int) (time.Duration, error) {
	if err := t.pushNext(ctx, n); err != nil { // The first may have to connect.
		return 0, err
	}
	began := time.Now()
	err := t.pushNext(ctx, n)
	return time.Since(began), err
}

func partial(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, most := range []int{0, 1, 7, 39} {
		held := len(t.ledger)
		records, err := t.records(40)
		if err != nil {
			return err
		}
		t.fault(func() { t.BreakAfter(most) })
		n, _ := t.attempt(ctx, records)
		t.repair()
		if n > most {
			return fmt.Errorf("%d events are reported durable where %d were taken", n, most)
		}
		if err := t.holds(ctx, held+n); err != nil {
			return err
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.settled(ctx, true)
}

// stumble finds a sink that sends what follows before it knows about what it has sent.
func stumble(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, most := range []int{0, 1, 7, 39} {
		held := len(t.ledger)
		records, err := t.records(40)
		if err != nil {
			return err
		}
		t.Stumble(most)
		n, _ := t.attempt(ctx, records)
		if err := t.holds(ctx, held+n); err != nil {
			return err
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.settled(ctx, true)
}

func saysWhy(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(10)
	if err != nil {
		return err
	}
	t.fault(t.Break)
	if n, err := t.attempt(ctx, records); n < len(records) && err == nil {
		return fmt.Errorf("%d of %d events are delivered when the far side is away, and the error is nil", n, len(records))
	}
	return nil
}

func condition(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	away := func(deliver func(context.Context, []sinks.Record) (int, error), what string, begin func()) error {
		records, err := t.records(10)
		if err != nil {
			return err
		}
		t.fault(begin)
		for range 3 {
			n, err := deliver(ctx, records)
			records = records[n:]
			if errors.Is(err, sinks.ErrPermanent) || errors.Is(err, sinks.ErrClosed) {
				return fmt.Errorf("when the far side is %s: %w", what, err)
			}
		}
		t.repair()
		return t.push(ctx, records)
	}
	if err := away(t.attempt, "away", t.Break); err != nil {
		return err
	}
	if t.Stall != nil {
		if err := away(t.abandoned, "silent", t.Stall); err != nil {
			return err
		}
	}
	if t.Throttle != nil {
		return away(t.attempt, "overburdened", func() { t.Throttle(time.Second) })
	}
	return nil
}

func pause(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, d := range []time.Duration{time.Second, 90 * time.Second} {
		records, err := t.records(10)
		if err != nil {
			return err
		}
		t.fault(func() { t.Throttle(d) })
		n, err := t.attempt(ctx, records)
		t.repair()
		var again *sinks.RetryAfterError
		if !errors.As(err, &again) {
			return fmt.Errorf("when asked for a pause of %s: %s", d, answer{n, err})
		}
		// What travels as a date has whole seconds.
		if again.After <= 0 || again.After > d+time.Second {
			return fmt.Errorf("when asked for a pause of %s, Deliver says %s", d, again.After)
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.settled(ctx, true)
}

func breakAndRepair(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for range 3 {
		if err := t.pushNext(ctx, 50); err != nil {
			return err
		}
		held := len(t.ledger)
		records, err := t.records(50)
		if err != nil {
			return err
		}
		t.fault(t.Break)
		for range 2 {
			if n, err := t.attempt(ctx, records); n > 0 {
				return fmt.Errorf("when the far side is away: %s, want 0", answer{n, err})
			}
		}
		t.repair()
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		if err := t.push(ctx, records); err != nil {
			return err
		}
	}
	return t.settled(ctx, true)
}

func breakDuring(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	const rounds = 5
	size := t.batch
	pace, err := t.pace(ctx, size)
	if err != nil {
		return err
	}
	for i := range rounds {
		held := len(t.ledger)
		records, err := t.records(size)
		if err != nil {
			return err
		}
		attempt, cancel := context.WithTimeout(ctx, t.away)
		answers := t.start(attempt, records)
		wait(ctx, pace*time.Duration(i)/rounds)
		t.fault(t.Break)
		got := <-answers
		cancel()
		t.repair()
		n := min(max(got.n, 0), size)
		if err := t.holds(ctx, held+n); err != nil {
			return err
		}
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	return t.settled(ctx, true)
}
