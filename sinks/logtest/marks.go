package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/webhook-bridge/bridge/sinks"
)

// resolved returns an error unless Resolve returns want, which may be nil, for the mark.
func resolved(ctx context.Context, log sinks.Log, m sinks.Mark, want error) error {
	if got := log.Resolve(ctx, m); !errors.Is(got, want) {
		return fmt.Errorf("resolving %+v returned %s, want %s", m, fmt.Sprint(got), fmt.Sprint(want))
	}
	if next := log.Bounds().Next; want == nil && next < m.Position {
		return fmt.Errorf("%+v is resolved, but the log's end is %d", m, next)
	}
	return nil
}

// allResolved returns an error unless Resolve returns want for each of the marks.
func allResolved(ctx context.Context, log sinks.Log, marks []sinks.Mark, want error) error {
	for _, m := range marks {
		if err := resolved(ctx, log, m, want); err != nil {
			return err
		}
	}
	return nil
}

// marksBetween returns the marks of the positions after first, up to last.
func marksBetween(log sinks.Log, first, last sinks.Position) []sinks.Mark {
	var all []sinks.Mark
	for p := first + 1; p <= last; p++ {
		all = append(all, log.Mark(p))
	}
	return all
}

// otherThan returns another epoch. It is never 0.
func otherThan(e sinks.Epoch) sinks.Epoch { return e ^ 1<<63 | 1 }

func marks(_ context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	if got := h.Log.Mark(first).Position; got != first {
		return fmt.Errorf("the mark at %d, of an empty log, has position %d", first, got)
	}
	appendEvents(h, 5)
	for p := first + 1; p <= first+5; p++ {
		got := h.Log.Mark(p)
		if got.Position != p || got.Epoch == 0 {
			return fmt.Errorf("the mark at %d is %+v", p, got)
		}
		if got != h.Log.Mark(p) {
			return fmt.Errorf("the mark at %d is %+v first, %+v then", p, got, h.Log.Mark(p))
		}
	}
	return nil
}

func resolves(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	begin := h.Log.Mark(first)
	if err := resolved(ctx, h.Log, begin, nil); err != nil {
		return err
	}
	appendEvents(h, 5)
	if err := resolved(ctx, h.Log, begin, nil); err != nil {
		return err
	}
	return allResolved(ctx, h.Log, marksBetween(h.Log, first, first+5), nil)
}

func resolvesUnknown(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	appendEvents(h, 3)
	for p := first; p <= first+3; p++ {
		if err := resolved(ctx, h.Log, sinks.Mark{Position: p}, nil); err != nil {
			return err
		}
	}
	return resolved(ctx, h.Log, sinks.Mark{Position: first + 4}, sinks.ErrFuture)
}

func resolvesFuture(ctx context.Context, h Harness) error {
	appendEvents(h, 3)
	next := h.Log.Bounds().Next
	epoch := h.Log.Mark(next).Epoch
	for _, p := range []sinks.Position{next + 1, next + 1_000_000} {
		if err := resolved(ctx, h.Log, sinks.Mark{Epoch: epoch, Position: p}, sinks.ErrFuture); err != nil {
			return err
		}
	}
	h.Append(event(3))
	return resolved(ctx, h.Log, sinks.Mark{Epoch: epoch, Position: next + 1}, nil)
}

func resolvesForeign(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	appendEvents(h, 3)
	for _, m := range marksBetween(h.Log, first, first+3) {
		m.Epoch = otherThan(m.Epoch)
		if err := resolved(ctx, h.Log, m, sinks.ErrForked); err != nil {
			return err
		}
	}
	return nil
}

func resolvesExpired(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Earliest
	appendEvents(h, 5)
	known := marksBetween(h.Log, first, first+5)
	h.Expire(first + 3)
	for _, m := range known[:2] {
		foreign, unknown := m, m
		foreign.Epoch, unknown.Epoch = otherThan(m.Epoch), 0
		if err := allResolved(ctx, h.Log, []sinks.Mark{m, foreign, unknown}, sinks.ErrExpired); err != nil {
			return err
		}
	}
	// The last event that the reader saw may have expired. The events that it wants next have not.
	if err := allResolved(ctx, h.Log, known[2:], nil); err != nil {
		return err
	}
	return resolved(ctx, h.Log, h.Log.Mark(first+3), nil)
}

func resolvesClosed(ctx context.Context, h Harness) error {
	appendEvents(h, 1)
	m := h.Log.Mark(h.Log.Bounds().Next)
	h.Close()
	return resolved(ctx, h.Log, m, sinks.ErrClosed)
}

func restores(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	var known []sinks.Mark
	for opened := range 3 {
		begin := h.Log.Bounds().Next
		for n := range 3 {
			h.Append(event(3*opened + n))
		}
		known = append(known, marksBetween(h.Log, begin, begin+3)...)
		id, last := h.Log.ID(), h.Log.Mark(begin+3)
		h = h.Backup()()
		if h.Log.ID() != id {
			return fmt.Errorf("the id was %q and is %q after a restore", id, h.Log.ID())
		}
		if got := h.Log.Mark(begin + 3); got != last {
			return fmt.Errorf("the mark at the end was %+v and is %+v after a restore", last, got)
		}
		if err := allResolved(ctx, h.Log, known, nil); err != nil {
			return err
		}
	}
	h.Append(event(9))
	if first+10 != h.Log.Bounds().Next {
		return fmt.Errorf("the log's end is %d, want %d", h.Log.Bounds().Next, first+10)
	}
	return allResolved(ctx, h.Log, append(known, h.Log.Mark(first+10)), nil)
}

func restoreLoses(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	appendEvents(h, 3)
	restore := h.Backup()
	for n := 3; n < 6; n++ {
		h.Append(event(n))
	}
	kept, lost := marksBetween(h.Log, first, first+3), marksBetween(h.Log, first+3, first+6)
	h = restore()
	if err := allResolved(ctx, h.Log, lost, sinks.ErrFuture); err != nil {
		return err
	}
	for n := range 6 { // Other events now have the positions.
		h.Append(event(10 + n))
	}
	if err := allResolved(ctx, h.Log, lost, sinks.ErrForked); err != nil {
		return err
	}
	ours := slices.Concat(kept, marksBetween(h.Log, first+3, first+9))
	return allResolved(ctx, h.Log, ours, nil)
}

func restoredTwice(ctx context.Context, h Harness) error {
	first := h.Log.Bounds().Next
	appendEvents(h, 3)
	restore := h.Backup()
	one, other := restore(), restore()
	for n := 3; n < 6; n++ {
		one.Append(event(n))
		other.Append(event(n + 10))
	}
	if err := allResolved(ctx, other.Log, marksBetween(one.Log, first+3, first+6), sinks.ErrForked); err != nil {
		return err
	}
	return allResolved(ctx, one.Log, marksBetween(one.Log, first, first+6), nil)
}
