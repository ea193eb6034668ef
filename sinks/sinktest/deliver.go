package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/sinks"
)

func order(ctx context.Context, t *fixture) error {
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
	return t.checkOrder(ctx, false)
}

// positions delivers events as two lanes of a dispatcher do: with gaps, and the second lane's positions below the first's. The
// order is that of the call, not of the positions.
func positions(ctx context.Context, t *fixture) error {
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
	return t.checkOrder(ctx, false)
}

func whole(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 2, 50, 500} {
		records, err := t.records(n)
		if err != nil {
			return err
		}
		if n, err := t.sink.Deliver(ctx, records); n != len(records) || err != nil {
			return fmt.Errorf("%d events: %s, want %d, nil", len(records), result{n, err}, len(records))
		}
	}
	return nil
}

func durable(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 2, 50, 500} {
		if err := t.pushNext(ctx, n); err != nil {
			return err
		}
		if err := t.checkReceived(ctx, len(t.ledger)); err != nil {
			return err
		}
	}
	return nil
}

func crash(ctx context.Context, t *fixture) error {
	for range 3 {
		if err := t.open(ctx); err != nil {
			return err
		}
		if err := t.pushNext(ctx, 30); err != nil {
			return err
		}
		t.sink = nil
		t.Crash()
		if err := t.checkReceived(ctx, len(t.ledger)); err != nil {
			return err
		}
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	if err := t.pushNext(ctx, 30); err != nil {
		return err
	}
	return t.checkOrder(ctx, false)
}

func poison(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	before, err := t.records(250)
	if err != nil {
		return err
	}
	bad := t.assignPosition(t.Poison())
	after, err := t.records(249)
	if err != nil {
		return err
	}
	n, err := t.sink.Deliver(ctx, slices.Concat(before, []sinks.Record{bad}, after))
	if n != len(before) || !errors.Is(err, sinks.ErrPermanent) {
		return fmt.Errorf("500 events, number %d is refused: %s, want %d and ErrPermanent", len(before), result{n, err}, len(before))
	}
	if err := t.checkReceived(ctx, len(before)); err != nil {
		return err
	}
	if n, err := t.sink.Deliver(ctx, after); n != len(after) {
		return fmt.Errorf("the %d events after one that is refused: %s", len(after), result{n, err})
	}
	return t.checkOrder(ctx, true)
}

// poisonAgain puts refused events at every index of a batch.
func poisonAgain(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	bad := t.assignPosition(t.Poison())
	for try := range 3 {
		if n, err := t.sink.Deliver(ctx, []sinks.Record{bad}); n != 0 || !errors.Is(err, sinks.ErrPermanent) {
			return fmt.Errorf("try %d of an event that is refused: %s, want 0 and ErrPermanent", try+1, result{n, err})
		}
	}
	for _, pattern := range []string{"!.", ".!", "!!", "!.!", "..!!..!."} {
		if err := t.pushAround(ctx, pattern); err != nil {
			return fmt.Errorf("%s, where ! is refused: %w", pattern, err)
		}
	}
	return t.checkOrder(ctx, true)
}

// pushAround pushes a batch with a refused event at each '!' of the pattern, and checks that only those are refused.
func (t *fixture) pushAround(ctx context.Context, pattern string) error {
	var batch []sinks.Record
	bad := map[sinks.Position]bool{}
	for _, c := range pattern {
		if c == '!' {
			batch = append(batch, t.assignPosition(t.Poison()))
			bad[batch[len(batch)-1].Position] = true
			continue
		}
		good, err := t.records(1)
		if err != nil {
			return err
		}
		batch = append(batch, good...)
	}
	refused, err := t.pushAll(ctx, batch)
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

func givenAgain(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	records, err := t.records(20)
	if err != nil {
		return err
	}
	for _, part := range [][]sinks.Record{records, records, records[7:]} {
		if n, err := t.sink.Deliver(ctx, part); n != len(part) {
			return fmt.Errorf("%d events given again: %s", len(part), result{n, err})
		}
	}
	return t.checkOrder(ctx, true)
}

func empty(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	deliver := func(when string) error {
		for _, none := range [][]sinks.Record{nil, {}} {
			if n, err := t.sink.Deliver(ctx, none); n != 0 || err != nil {
				return fmt.Errorf("an empty slice, %s: %s, want 0, nil", when, result{n, err})
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
		t.beginFault(t.Break)
		if err := deliver("when the destination is unreachable"); err != nil {
			return err
		}
		t.repair()
	}
	return t.checkReceived(ctx, 3)
}

// borrowedBatch returns a batch whose slices have spare capacity, which the sink must not use either.
func borrowedBatch(records []sinks.Record) []sinks.Record {
	batch := make([]sinks.Record, 0, len(records)+4)
	for _, r := range records {
		encoded := append(bytes.Clone(r.Encoded), "room"...)
		copied, _ := sinks.NewRecord(r.Position, encoded[:len(r.Encoded)]) // The kit encoded it.
		batch = append(batch, copied)
	}
	return batch
}

func unchanged(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 40, 300} {
		records, err := t.records(n)
		if err != nil {
			return err
		}
		batch := borrowedBatch(records)
		if n, err := t.sink.Deliver(ctx, batch); n != len(batch) {
			return fmt.Errorf("%d events: %s", len(batch), result{n, err})
		}
		if err := checkUnchanged(borrowedBatch(records), batch); err != nil {
			return err
		}
	}
	return nil
}

// checkUnchanged compares borrowed batches, with their spare capacity.
func checkUnchanged(want, got []sinks.Record) error {
	for i, w := range want[:cap(want)] {
		g := got[:cap(got)][i]
		if i >= len(want) {
			if g.Encoded != nil || g.Position != 0 {
				return errors.New("the spare capacity of the slice is used")
			}
			continue
		}
		if g.Position != w.Position || !bytes.Equal(w.Encoded, g.Encoded) || !reflect.DeepEqual(w.Header, g.Header) {
			return fmt.Errorf("event %d of the slice was changed by Deliver", i)
		}
		room := len(w.Encoded) + len("room")
		if cap(g.Encoded) < room || !bytes.Equal(w.Encoded[:room], g.Encoded[:room]) {
			return fmt.Errorf("the spare capacity of event %d is used", i)
		}
	}
	return nil
}

// overwrite changes a batch, as a caller may do after the return.
func overwrite(batch []sinks.Record) {
	for i := range batch {
		for j := range batch[i].Encoded {
			batch[i].Encoded[j] = 0xff
		}
		batch[i] = sinks.Record{}
	}
}

func notKept(ctx context.Context, t *fixture) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	for _, n := range []int{1, 40, 300} {
		records, err := t.records(n)
		if err != nil {
			return err
		}
		batch := borrowedBatch(records)
		n, err := t.sink.Deliver(ctx, batch)
		overwrite(batch)
		if n != len(batch) {
			return fmt.Errorf("%d events: %s", len(batch), result{n, err})
		}
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	return t.checkReceived(ctx, len(t.ledger))
}

// notKeptInSilence checks bytes that a sink still sends after Deliver has returned.
func notKeptInSilence(ctx context.Context, t *fixture) error {
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
		t.beginFault(t.Stall)
		batch := borrowedBatch(records)
		n, _ := t.deliverBriefly(ctx, batch)
		overwrite(batch)
		t.repair()
		if err := t.push(ctx, records[n:]); err != nil {
			return err
		}
	}
	if err := t.closeSink(); err != nil {
		return err
	}
	return t.checkReceived(ctx, len(t.ledger))
}

func largestEvent(ctx context.Context, t *fixture) error {
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

// pushAroundLarge pushes an event of size bytes between small ones. If mustAccept is set the event must arrive; otherwise the
// sink may refuse it permanently.
func (t *fixture) pushAroundLarge(ctx context.Context, size int, mustAccept bool) error {
	batch, err := t.records(3)
	if err != nil {
		return err
	}
	e, err := eventOfSize(int(t.next), size)
	if err != nil {
		return err
	}
	large, err := t.addToLedger(e)
	if err != nil {
		return err
	}
	after, err := t.records(3)
	if err != nil {
		return err
	}
	refused, err := t.pushAll(ctx, slices.Concat(batch, []sinks.Record{large}, after))
	if err != nil {
		return fmt.Errorf("with an event of %d bytes: %w", proto.Size(e), err)
	}
	if why := refused[large.Position]; why != nil {
		if mustAccept {
			return fmt.Errorf("an event of %d bytes is refused: %w", proto.Size(e), why)
		}
		t.removeFromLedger(e.GetId())
		delete(refused, large.Position)
	}
	for p, why := range refused {
		return fmt.Errorf("the small event at %d, in one batch with one of %d bytes, is refused: %w", p, size, why)
	}
	return t.checkOrder(ctx, true)
}
