package groups

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxParkBytes bounds the events that one write parks.
const maxParkBytes = 8 << 20

// prepare gets what the writes of changes need: the events to park, and requests for what is parked behind.
func (g *group) prepare(ctx context.Context, shares []*share) error {
	g.mu.Lock()
	var todo []*change
	for _, s := range shares {
		for _, c := range s.flight {
			if !c.prepared {
				todo = append(todo, c)
			}
		}
	}
	strict := g.def.policy.StrictOrder
	g.mu.Unlock()
	size := 0
	for _, c := range todo {
		if size > maxParkBytes {
			return nil
		}
		if err := g.prepareOne(ctx, c, strict); err != nil {
			return err
		}
		size += len(c.park.GetEvent())
		c.prepared = true
	}
	return nil
}

func (g *group) prepareOne(ctx context.Context, c *change, strict bool) error {
	switch {
	case c.kind == opPark && c.round == 0:
		return g.preparePark(ctx, c)
	case c.kind == opPark:
		return g.prepareAttempted(ctx, c)
	case c.round != 0 && c.kind != opFail:
		if c.kind != opDrop {
			c.unpark = c.position
		}
		if strict && c.item.ordered {
			return g.requestNext(ctx, c.item.share, c.item.subject, c.position)
		}
	}
	return nil
}

// preparePark reads the event to park. An event that cannot be read any more is missed.
func (g *group) preparePark(ctx context.Context, c *change) error {
	record, err := readOne(ctx, g.events, c.position)
	if errors.Is(err, sinks.ErrExpired) || errors.Is(err, sinks.ErrDamaged) || errors.Is(err, sinks.ErrFuture) {
		g.logger.Warn("an event to park cannot be read any more", "group", g.name, "position", uint64(c.position), "error", err)
		g.mu.Lock()
		defer g.mu.Unlock()
		c.kind, c.attempt = opMiss, 0
		return nil
	}
	if err != nil {
		return err
	}
	attempts := c.attempt
	if attempts == 0 {
		g.mu.Lock()
		attempts = c.item.share.base.failed[c.position].attempts
		g.mu.Unlock()
	}
	c.park = parkedEvent(g.name, c.op, c.at, record.Encoded, attempts)
	return nil
}

// prepareAttempted reads the parked event whose replay failed. One that was discarded meanwhile stays gone.
func (g *group) prepareAttempted(ctx context.Context, c *change) error {
	parked, err := readParked(ctx, g.letters, g.name, c.position)
	if err != nil {
		return err
	}
	if parked == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		c.kind = opDrop
		return nil
	}
	c.park = parkedEvent(g.name, c.op, c.at, parked.GetEvent(), c.attempt)
	return nil
}

// parkedEvent returns the dead letter of an event after so many attempts.
func parkedEvent(group string, o op, at time.Time, encoded []byte, attempts uint32) *journalv1.Parked {
	p := &journalv1.Parked{
		Sink: journal.GroupReader(group), Position: uint64(o.position), Event: encoded, Reason: o.reason, AttemptCount: uint64(attempts),
	}
	if attempts > 0 {
		p.LastAttemptAt = timestamppb.New(at)
		p.Attempts = []*journalv1.Attempt{{At: p.LastAttemptAt, Error: o.reason}}
	}
	if !o.first.IsZero() {
		p.FirstAttemptAt = timestamppb.New(o.first)
	}
	return p
}

// readOne reads the event at a position. It does not wait for it.
func readOne(ctx context.Context, log sinks.Log, p sinks.Position) (sinks.Record, error) {
	records, err := log.Read(ctx, p, make([]sinks.Record, 0, 1))
	if err != nil {
		return sinks.Record{}, err
	}
	return records[0], nil
}

// readParked returns the parked event at a position, or nil.
func readParked(ctx context.Context, letters journal.DeadLetters, group string, p sinks.Position) (*journalv1.Parked, error) {
	parked, err := letters.Parked(ctx, journal.GroupReader(group), p, 1)
	if err != nil || len(parked) == 0 || parked[0].GetPosition() != uint64(p) {
		return nil, err
	}
	return parked[0], nil
}

// requestNext asks for the event that is parked behind another one of its subject, before that one is parked no more. So a crash
// in between forgets nothing: the later event waits for the earlier one anyhow.
func (g *group) requestNext(ctx context.Context, s *share, subject subjectHash, behind sinks.Position) error {
	for {
		next, known := g.parkedBehind(s, subject, behind)
		if !known {
			return requestNext(ctx, g.letters, g.name, subject, behind)
		}
		if next == 0 {
			return nil
		}
		err := g.letters.RequestRetry(ctx, journal.GroupReader(g.name), next)
		if !errors.Is(err, journal.ErrNotFound) {
			return err
		}
		behind = next // It was discarded.
	}
}

// parkedBehind returns the first parked event of a subject behind a position, or 0, and whether the share knows its parked events.
func (g *group) parkedBehind(s *share, subject subjectHash, behind sinks.Position) (next sinks.Position, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range s.parked[subject] {
		if p > behind {
			return p, s.lettersKnown
		}
	}
	return 0, s.lettersKnown
}

// parkedPage is how many parked events are read at once.
const parkedPage = 100

// requestNext asks for the first parked event of a subject behind a position, if there is one.
func requestNext(ctx context.Context, letters journal.DeadLetters, group string, subject subjectHash, behind sinks.Position) error {
	return eachParked(ctx, letters, group, behind+1, func(p *journalv1.Parked) (bool, error) {
		if s, ordered, err := subjectOfParked(p); err != nil || !ordered || s != subject {
			return true, nil //nolint:nilerr // An event that cannot be read has no subject.
		}
		err := letters.RequestRetry(ctx, journal.GroupReader(group), sinks.Position(p.GetPosition()))
		if errors.Is(err, journal.ErrNotFound) {
			return true, nil
		}
		return false, err
	})
}

// eachParked calls f for the parked events of a group from a position on, until it returns false.
func eachParked(ctx context.Context, letters journal.DeadLetters, group string, from sinks.Position, f func(*journalv1.Parked) (bool, error)) error {
	for {
		page, err := letters.Parked(ctx, journal.GroupReader(group), from, parkedPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, p := range page {
			if more, err := f(p); err != nil || !more {
				return err
			}
			from = sinks.Position(p.GetPosition()) + 1
		}
	}
}

// subjectOfParked returns the subject of a parked event.
func subjectOfParked(p *journalv1.Parked) (subjectHash, bool, error) {
	r, err := sinks.NewRecord(sinks.Position(p.GetPosition()), p.GetEvent())
	if err != nil {
		return 0, false, err
	}
	s, ordered := subjectOf(&r.Header)
	return s, ordered, nil
}
