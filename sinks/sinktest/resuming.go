package sinktest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// marks is a log, as far as a Resumer knows it. Its epochs fill all 64 bits, as a real log's do.
type marks string

func (m marks) ID() string { return string(m) }

// Mark gives every seven positions an epoch of their own.
func (m marks) Mark(p sinks.Position) sinks.Mark {
	if p <= 1 {
		return sinks.Mark{Position: p}
	}
	return sinks.Mark{Position: p, Epoch: sinks.Epoch(^uint64(0) - uint64(p-1)/7)}
}

// resuming calls Resume before the Deliver after a failed one, as a dispatcher does. It does not use what Resume returns, so the
// cases of all sinks may repeat events.
type resuming struct {
	sinks.Resumer

	failed bool
}

func (r *resuming) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	if r.failed && len(events) > 0 {
		if _, _, err := r.Resume(ctx); err != nil {
			return 0, err
		}
		r.failed = false
	}
	n, err := r.Resumer.Deliver(ctx, events)
	r.failed = err != nil && !errors.Is(err, sinks.ErrPermanent)
	return n, err
}

// openBeside opens a Resumer beside the others, and has it take the destination over.
func (t *fixture) openBeside(ctx context.Context, from sinks.Origin) (sinks.Resumer, *sinks.Reached, error) {
	sink, err := t.OpenFrom(ctx, from)
	if err != nil {
		return nil, nil, fmt.Errorf("open: %w", err)
	}
	t.others = append(t.others, sink)
	r, ok := sink.(sinks.Resumer)
	if !ok {
		return nil, nil, errors.New("open: the sink is no sinks.Resumer")
	}
	reached, err := t.resume(ctx, r)
	return r, reached, err
}

// resume asks a Resumer until it answers. The result is nil if there is no position.
func (t *fixture) resume(ctx context.Context, r sinks.Resumer) (*sinks.Reached, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		reached, found, err := r.Resume(ctx)
		switch {
		case err == nil && found:
			return &reached, nil
		case err == nil:
			return nil, nil
		case errors.Is(err, sinks.ErrFenced), errors.Is(err, sinks.ErrClosed), !wait(ctx, pause):
			return nil, fmt.Errorf("resume: %w", err)
		}
	}
}

// resumer returns the open sink.
func (t *fixture) resumer() sinks.Resumer { return t.sink.(*resuming).Resumer }

// moveTo moves the open sink.
func (t *fixture) moveTo(ctx context.Context, p sinks.Position) error {
	if err := t.resumer().MoveTo(ctx, p); err != nil {
		return fmt.Errorf("move to %d: %w", p, err)
	}
	return nil
}

// reopenAt opens the sink again, and checks what it has reached.
func (t *fixture) reopenAt(ctx context.Context, want sinks.Position) error {
	if err := t.reopen(ctx); err != nil {
		return err
	}
	return t.checkReached(t.reached, want)
}

func (t *fixture) checkReached(got *sinks.Reached, want sinks.Position) error {
	if got == nil {
		return fmt.Errorf("Resume says that there is no position, want %d", want)
	}
	if want := t.origin.Reached(want); *got != want {
		return fmt.Errorf("Resume says %+v, want %+v", *got, want)
	}
	return nil
}

// goOn delivers the rest of the records from the destination's position on, as a dispatcher does after a failure. It fails if less
// than the first n have arrived.
func (t *fixture) goOn(ctx context.Context, records []sinks.Record, n int) error {
	reached, err := t.resume(ctx, t.resumer())
	if err != nil {
		return err
	}
	rest, err := t.restFrom(reached, records, n)
	if err != nil {
		return err
	}
	return t.push(ctx, rest)
}

// restFrom returns the records that the destination has not reached.
func (t *fixture) restFrom(reached *sinks.Reached, records []sinks.Record, n int) ([]sinks.Record, error) {
	first, end := records[0].Position, records[len(records)-1].Position+1
	at := first
	if reached != nil {
		at = reached.Mark.Position
		if want := t.origin.Reached(at); *reached != want {
			return nil, fmt.Errorf("Resume says %+v, want %+v", *reached, want)
		}
	}
	if at < first+sinks.Position(n) || at > end {
		return nil, fmt.Errorf("Resume says %d; of the events from %d up to %d, %d were reported durable", at, first, end, n)
	}
	return records[at-first:], nil
}

func newDestination(ctx context.Context, t *fixture) error {
	for range 2 {
		if err := t.open(ctx); err != nil {
			return err
		}
		if t.reached != nil {
			return fmt.Errorf("Resume says %+v", *t.reached)
		}
		if err := t.closeSink(); err != nil {
			return err
		}
	}
	return nil
}

func position(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 2, 50, 500} {
		if err := t.pushNext(ctx, n); err != nil {
			return err
		}
		if err := t.reopenAt(ctx, t.next+1); err != nil {
			return err
		}
		t.next += 3 // Events that are not for the sink.
	}
	return t.checkOrder(ctx, false)
}

func crashBeforeCursor(ctx context.Context, t *fixture) error {
	for range 3 {
		if err := t.open(ctx); err != nil {
			return err
		}
		if t.next > 0 {
			if err := t.checkReached(t.reached, t.next+1); err != nil {
				return err
			}
		}
		for range 2 {
			if err := t.pushNext(ctx, 15); err != nil {
				return err
			}
		}
		t.sink = nil
		t.Crash()
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.checkReached(t.reached, t.next+1); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

func inDoubt(ctx context.Context, t *fixture) error {
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
		if err := t.goOn(ctx, records, min(max(got.n, 0), size)); err != nil {
			return err
		}
		if i == rounds/2 { // Cut off by its caller, not by the destination.
			if err := t.cutOff(ctx, pace/2); err != nil {
				return err
			}
		}
	}
	return t.checkOrder(ctx, false)
}

// cutOff ends a Deliver by its context, and goes on from the destination's position.
func (t *fixture) cutOff(ctx context.Context, after time.Duration) error {
	records, err := t.records(t.batch)
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, after)
	defer cancel()
	n, _ := t.sink.Deliver(short, records)
	return t.goOn(ctx, records, min(max(n, 0), len(records)))
}

func askedWhileAway(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 10); err != nil {
		return err
	}
	t.beginFault(t.Break)
	for what, ask := range map[string]func(context.Context) error{
		"Resume": func(ctx context.Context) error { _, _, err := t.resumer().Resume(ctx); return err },
		"MoveTo": func(ctx context.Context) error { return t.resumer().MoveTo(ctx, 5) },
	} {
		short, cancel := context.WithTimeout(ctx, t.away)
		err := ask(short)
		cancel()
		if err == nil || errors.Is(err, sinks.ErrFenced) || errors.Is(err, sinks.ErrClosed) {
			return fmt.Errorf("when the destination is unreachable, %s says %w", what, err)
		}
	}
	t.repair()
	reached, err := t.resume(ctx, t.resumer())
	if err != nil {
		return err
	}
	return t.checkReached(reached, 11)
}

func refusedPart(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	before, err := t.records(20)
	if err != nil {
		return err
	}
	bad := t.assignPosition(t.Poison())
	after, err := t.records(10)
	if err != nil {
		return err
	}
	n, err := t.sink.Deliver(ctx, append(append(before, bad), after...))
	if n != len(before) || !errors.Is(err, sinks.ErrPermanent) {
		return fmt.Errorf("31 events, number 20 is refused: %s, want 20 and ErrPermanent", result{n, err})
	}
	if err := t.reopenAt(ctx, bad.Position); err != nil {
		return err
	}
	if err := t.moveTo(ctx, bad.Position+1); err != nil {
		return err
	}
	if err := t.reopenAt(ctx, bad.Position+1); err != nil {
		return err
	}
	if err := t.push(ctx, after); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

func moved(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(20)
	if err != nil {
		return err
	}
	if err := t.push(ctx, records); err != nil {
		return err
	}
	for _, p := range []sinks.Position{8, 8, 1, 21, 1000, 8} {
		if err := t.moveTo(ctx, p); err != nil {
			return err
		}
		if err := t.reopenAt(ctx, p); err != nil {
			return err
		}
	}
	if there, err := t.arrivals(ctx); err != nil || len(there) != len(records) {
		return errors.Join(fmt.Errorf("the destination has %d events, and was given %d", len(there), len(records)), err)
	}
	for _, part := range [][]sinks.Record{records[7:12], records[12:]} {
		if err := t.push(ctx, part); err != nil {
			return err
		}
	}
	if err := t.reopenAt(ctx, 21); err != nil {
		return err
	}
	return t.checkOrder(ctx, true)
}

// earlierEvents delivers an event that was refused before, and events that the destination has.
func earlierEvents(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(30)
	if err != nil {
		return err
	}
	for _, part := range [][]sinks.Record{records[:3], records[4:], records[3:4], records[5:9]} {
		if err := t.push(ctx, part); err != nil {
			return err
		}
	}
	if err := t.checkReceived(ctx, len(records)); err != nil {
		return err
	}
	if err := t.reopenAt(ctx, 31); err != nil {
		return err
	}
	if err := t.push(ctx, records[3:4]); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 3); err != nil {
		return err
	}
	return t.reopenAt(ctx, 34)
}

func restored(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 25); err != nil {
		return err
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	t.Backup()
	if err := t.open(ctx); err != nil {
		return err
	}
	lost, err := t.records(40)
	if err != nil {
		return err
	}
	if err := t.push(ctx, lost); err != nil {
		return err
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	t.Restore()
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.checkReached(t.reached, lost[0].Position); err != nil {
		return err
	}
	if err := t.push(ctx, lost); err != nil {
		return err
	}
	if err := t.reopenAt(ctx, t.next+1); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

func resumeAfterClose(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 5); err != nil {
		return err
	}
	r := t.resumer()
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := errOfBoth(done, r, context.Canceled); err != nil {
		return fmt.Errorf("with a ctx that is done: %w", err)
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	if err := errOfBoth(ctx, r, sinks.ErrClosed); err != nil {
		return fmt.Errorf("after Close: %w", err)
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	return t.checkReached(t.reached, 6)
}

// errOfBoth returns an error unless Resume and MoveTo fail with want.
func errOfBoth(ctx context.Context, r sinks.Resumer, want error) error {
	if _, _, err := r.Resume(ctx); !errors.Is(err, want) {
		return fmt.Errorf("Resume says %s, want %w", said(err), want)
	}
	return errOfMoveTo(ctx, r, want)
}

func errOfMoveTo(ctx context.Context, r sinks.Resumer, want error) error {
	if err := r.MoveTo(ctx, 2); !errors.Is(err, want) {
		return fmt.Errorf("MoveTo says %s, want %w", said(err), want)
	}
	return nil
}

// said is an error that is not the wanted one, as text.
func said(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}
