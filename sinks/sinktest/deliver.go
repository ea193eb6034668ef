package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/sinks"
)

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

// positions gives events as two lanes of a dispatcher do: with gaps, and the second lane's before the first's. The
// order is that of the call, whatever the positions say.
func positions(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(100)
	if err != nil {
		return err
	}
	first, second := slices.Clip(records[:50]), records[50:]
	for i := range first {
		first[i].Position, second[i].Position = sinks.Position(2*i+2), sinks.Position(2*i+1)
	}
	for _, lane := range [][]sinks.Record{first, second} {
		if err := t.push(ctx, lane); err != nil {
			return err
		}
	}
	return t.settled(ctx, false)
}

func whole(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 2, 50, 500} {
		records, err := t.records(n)
		if err != nil {
			return err
		}
		if n, err := t.sink.Deliver(ctx, records); n != len(records) || err != nil {
			return fmt.Errorf("%d events: %s, want %d, nil", len(records), answer{n, err}, len(records))
		}
	}
	return nil
}

func durable(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 2, 50, 500} {
		if err := t.pushNext(ctx, n); err != nil {
			return err
		}
		if err := t.holds(ctx, len(t.ledger)); err != nil {
			return err
		}
	}
	return nil
}

func crash(ctx context.Context, t *trial) error {
	for range 3 {
		if err := t.open(ctx); err != nil {
			return err
		}
		if err := t.pushNext(ctx, 30); err != nil {
			return err
		}
		t.sink = nil
		t.Crash()
		if err := t.holds(ctx, len(t.ledger)); err != nil {
			return err
		}
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 30); err != nil {
		return err
	}
	return t.settled(ctx, false)
}

func poison(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	before, err := t.records(250)
	if err != nil {
		return err
	}
	bad := t.place(t.Poison())
	after, err := t.records(249)
	if err != nil {
		return err
	}
	n, err := t.sink.Deliver(ctx, slices.Concat(before, []sinks.Record{bad}, after))
	if n != len(before) || !errors.Is(err, sinks.ErrPermanent) {
		return fmt.Errorf("500 events of which number %d is refused: %s, want %d and ErrPermanent", len(before), answer{n, err}, len(before))
	}
	if err := t.holds(ctx, len(before)); err != nil {
		return err
	}
	if n, err := t.sink.Deliver(ctx, after); n != len(after) {
		return fmt.Errorf("the %d events after one that is refused: %s", len(after), answer{n, err})
	}
	return t.settled(ctx, true)
}

// poisonAgain has what is refused at every place of a batch.
func poisonAgain(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	bad := t.place(t.Poison())
	for try := range 3 {
		if n, err := t.sink.Deliver(ctx, []sinks.Record{bad}); n != 0 || !errors.Is(err, sinks.ErrPermanent) {
			return fmt.Errorf("try %d of an event that is refused: %s, want 0 and ErrPermanent", try+1, answer{n, err})
		}
	}
	for _, pattern := range []string{"!.", ".!", "!!", "!.!", "..!!..!."} {
		if err := t.pushAround(ctx, pattern); err != nil {
			return fmt.Errorf("%s, where ! is refused: %w", pattern, err)
		}
	}
	return t.settled(ctx, true)
}

// pushAround pushes a batch with poison at each '!' of the pattern, and wants just that refused.
func (t *trial) pushAround(ctx context.Context, pattern string) error {
	var batch []sinks.Record
	bad := map[sinks.Position]bool{}
	for _, c := range pattern {
		if c == '!' {
			batch = append(batch, t.place(t.Poison()))
			bad[batch[len(batch)-1].Position] = true
			continue
		}
		good, err := t.records(1)
		if err != nil {
			return err
		}
		batch = append(batch, good...)
	}
	refused, err := t.drive(ctx, batch)
	if err != nil {
		return err
	}
	for i, r := range batch {
		if _, is := refused[r.Position]; is != bad[r.Position] {
			return fmt.Errorf("event %d is refused: %t, want %t", i, is, !is)
		}
	}
	return nil
}

func givenAgain(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(20)
	if err != nil {
		return err
	}
	for _, part := range [][]sinks.Record{records, records, records[7:]} {
		if n, err := t.sink.Deliver(ctx, part); n != len(part) {
			return fmt.Errorf("%d events given again: %s", len(part), answer{n, err})
		}
	}
	return t.settled(ctx, true)
}

func empty(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	deliver := func(when string) error {
		for _, none := range [][]sinks.Record{nil, {}} {
			if n, err := t.sink.Deliver(ctx, none); n != 0 || err != nil {
				return fmt.Errorf("an empty slice, %s: %s, want 0, nil", when, answer{n, err})
			}
		}
		return nil
	}
	if err := deliver("at first"); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 3); err != nil {
		return err
	}
	if err := deliver("after events"); err != nil {
		return err
	}
	if t.Break != nil {
		t.fault(t.Break)
		if err := deliver("when the far side is away"); err != nil {
			return err
		}
		t.repair()
	}
	return t.holds(ctx, 3)
}

// lent is a batch whose slices have room behind them, which is not a sink's to use either.
func lent(records []sinks.Record) []sinks.Record {
	batch := make([]sinks.Record, 0, len(records)+4)
	for _, r := range records {
		encoded := append(bytes.Clone(r.Encoded), "room"...)
		batch = append(batch, sinks.Record{Position: r.Position, Encoded: encoded[:len(r.Encoded)]})
	}
	return batch
}

func unchanged(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 40, 300} {
		records, err := t.records(n)
		if err != nil {
			return err
		}
		batch := lent(records)
		if n, err := t.sink.Deliver(ctx, batch); n != len(batch) {
			return fmt.Errorf("%d events: %s", len(batch), answer{n, err})
		}
		if err := same(lent(records), batch); err != nil {
			return err
		}
	}
	return nil
}

// same compares lent batches, with the room behind them.
func same(want, got []sinks.Record) error {
	for i, w := range want[:cap(want)] {
		g := got[:cap(got)][i]
		if i >= len(want) {
			if g.Encoded != nil || g.Position != 0 {
				return errors.New("the room behind the slice of events is used")
			}
			continue
		}
		if g.Position != w.Position || !bytes.Equal(w.Encoded, g.Encoded) {
			return fmt.Errorf("event %d of the slice is another after Deliver", i)
		}
		room := len(w.Encoded) + len("room")
		if cap(g.Encoded) < room || !bytes.Equal(w.Encoded[:room], g.Encoded[:room]) {
			return fmt.Errorf("the room behind the bytes of event %d is used", i)
		}
	}
	return nil
}

// scribble is what a caller may do with a batch after the return.
func scribble(batch []sinks.Record) {
	for i := range batch {
		for j := range batch[i].Encoded {
			batch[i].Encoded[j] = 0xff
		}
		batch[i] = sinks.Record{}
	}
}

func notKept(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 40, 300} {
		records, err := t.records(n)
		if err != nil {
			return err
		}
		batch := lent(records)
		n, err := t.sink.Deliver(ctx, batch)
		scribble(batch)
		if n != len(batch) {
			return fmt.Errorf("%d events: %s", len(batch), answer{n, err})
		}
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	return t.holds(ctx, len(t.ledger))
}

// notKeptInSilence is about what a sink is still sending when it has returned.
func notKeptInSilence(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for range 3 {
		if err := t.pushNext(ctx, 10); err != nil {
			return err
		}
		records, err := t.records(40)
		if err != nil {
			return err
		}
		t.fault(t.Stall)
		batch := lent(records)
		n, _ := t.abandoned(ctx, batch)
		scribble(batch)
		t.repair()
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	return t.holds(ctx, len(t.ledger))
}

func largestEvent(ctx context.Context, t *trial) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushAroundLarge(ctx, min(t.MaxEvent, t.largest), true); err != nil {
		return err
	}
	if t.MaxEvent >= t.largest {
		return nil
	}
	return t.pushAroundLarge(ctx, t.largest, false)
}

// pushAroundLarge pushes an event of size bytes between small ones. If it must be taken it shall arrive, else it may be
// refused for good.
func (t *trial) pushAroundLarge(ctx context.Context, size int, must bool) error {
	batch, err := t.records(3)
	if err != nil {
		return err
	}
	e, err := eventOfSize(int(t.next), size)
	if err != nil {
		return err
	}
	large, err := t.enter(e)
	if err != nil {
		return err
	}
	after, err := t.records(3)
	if err != nil {
		return err
	}
	refused, err := t.drive(ctx, slices.Concat(batch, []sinks.Record{large}, after))
	if err != nil {
		return fmt.Errorf("with an event of %d bytes: %w", proto.Size(e), err)
	}
	if why := refused[large.Position]; why != nil {
		if must {
			return fmt.Errorf("an event of %d bytes is refused: %w", proto.Size(e), why)
		}
		t.strike(e.GetId())
		delete(refused, large.Position)
	}
	for p, why := range refused {
		return fmt.Errorf("the small event at %d, in one batch with one of %d bytes, is refused: %w", p, size, why)
	}
	return t.settled(ctx, true)
}
