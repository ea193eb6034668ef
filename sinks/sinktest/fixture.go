package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// fixture is the state of a running case: the harness, the open sink, and the ledger of the events that the sink was given.
type fixture struct {
	Harness
	Features
	limits

	sink   sinks.Sink   // Nil if no sink is open.
	others []sinks.Sink // Open beside it.
	faulty bool         // True between Break, or a similar fault, and Repair.

	origin  sinks.Origin
	reached *sinks.Reached // What the open Resumer's destination had reached. Nil if it had no position.

	ledger []*eventv1.Event
	at     map[string]int // Index in the ledger, by event id.
	next   sinks.Position // Position of the next record.
}

// open opens the fixture's sink. A Resumer takes the destination over.
func (t *fixture) open(ctx context.Context) error {
	sink, err := t.Open(ctx)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	t.sink = sink
	if t.OpenFrom == nil {
		return nil
	}
	r, ok := sink.(sinks.Resumer)
	if !ok {
		return errors.New("open: the sink is no sinks.Resumer")
	}
	t.sink = &resuming{Resumer: r}
	t.reached, err = t.resume(ctx, r)
	return err
}

// closeSink closes the fixture's sink.
func (t *fixture) closeSink() error {
	sink := t.sink
	t.sink = nil
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

func (t *fixture) reopen(ctx context.Context) error {
	if err := t.closeSink(); err != nil {
		return err
	}
	return t.open(ctx)
}

// release repairs the harness and closes the sink, also after a failed case.
func (t *fixture) release() error {
	if t.faulty {
		t.repair()
	}
	var errs []error
	for _, s := range t.others {
		errs = append(errs, s.Close())
	}
	if t.sink != nil {
		errs = append(errs, t.closeSink())
	}
	return errors.Join(errs...)
}

// beginFault calls a function of the harness that injects a fault until Repair.
func (t *fixture) beginFault(begin func()) {
	t.faulty = true
	begin()
}

func (t *fixture) repair() {
	t.faulty = false
	t.Repair()
}

// records returns the next n events of the stream, and adds them to the ledger: the destination must have them in the end.
func (t *fixture) records(n int) ([]sinks.Record, error) {
	made := make([]sinks.Record, n)
	for i := range made {
		r, err := t.addToLedger(event(int(t.next)))
		if err != nil {
			return nil, err
		}
		made[i] = r
	}
	return made, nil
}

func (t *fixture) addToLedger(e *eventv1.Event) (sinks.Record, error) {
	encoded, err := proto.Marshal(e)
	if err != nil {
		return sinks.Record{}, fmt.Errorf("encode an event: %w", err)
	}
	if t.at == nil {
		t.at = map[string]int{}
	}
	t.at[e.GetId()] = len(t.ledger)
	t.ledger = append(t.ledger, e)
	r, err := sinks.NewRecord(0, encoded)
	if err != nil {
		return sinks.Record{}, err
	}
	return t.assignPosition(r), nil
}

// removeFromLedger removes an event that was refused.
func (t *fixture) removeFromLedger(id string) {
	place := t.at[id]
	delete(t.at, id)
	t.ledger = slices.Delete(t.ledger, place, place+1)
	for id, p := range t.at {
		if p > place {
			t.at[id] = p - 1
		}
	}
}

// assignPosition gives a record the next position.
func (t *fixture) assignPosition(r sinks.Record) sinks.Record {
	t.next++
	r.Position = t.next
	return r
}

// push delivers all records as a dispatcher does: it continues after the first n, and retries after a pause. Errors that other
// cases check do not fail it.
func (t *fixture) push(ctx context.Context, records []sinks.Record) error {
	refused, err := t.pushAll(ctx, records)
	if err != nil {
		return err
	}
	for p, why := range refused {
		return fmt.Errorf("the event at %d is refused for good: %w", p, why)
	}
	return nil
}

// pushNext pushes the next n events.
func (t *fixture) pushNext(ctx context.Context, n int) error {
	records, err := t.records(n)
	if err != nil {
		return err
	}
	return t.push(ctx, records)
}

// pushAll is push that continues after a permanently refused event. It returns the refused positions with their errors.
func (t *fixture) pushAll(ctx context.Context, records []sinks.Record) (map[sinks.Position]error, error) {
	refused := map[sinks.Position]error{}
	pause := time.Millisecond
	for len(records) > 0 {
		n, err := t.sink.Deliver(ctx, records)
		records = records[min(max(n, 0), len(records)):]
		switch {
		case len(records) == 0:
		case errors.Is(err, sinks.ErrPermanent):
			refused[records[0].Position] = err
			records = records[1:]
		case n > 0:
			pause = time.Millisecond
		default:
			if !wait(ctx, pause) {
				return nil, fmt.Errorf("the event at %d was not accepted, the last result is %s", records[0].Position, result{n, err})
			}
			pause = min(2*pause, 500*time.Millisecond)
		}
	}
	return refused, nil
}

// wait waits for d. It returns false if ctx was done first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// arrivals returns the events at the destination, as indices in the ledger. It fails if an event was changed.
func (t *fixture) arrivals(ctx context.Context) ([]int, error) {
	received, err := t.Received(ctx)
	if err != nil {
		return nil, fmt.Errorf("received: %w", err)
	}
	places := make([]int, len(received))
	for i, got := range received {
		place, ok := t.at[got.GetId()]
		if !ok {
			return nil, fmt.Errorf("the destination has an event, with id %q, that was not delivered or was refused", got.GetId())
		}
		if want := t.ledger[place]; !proto.Equal(want, got) {
			return nil, fmt.Errorf("event %d was changed at the destination (-delivered +received):\n%s", place, difference(want, got))
		}
		places[i] = place
	}
	return places, nil
}

func difference(want, got *eventv1.Event) string {
	const readable = 64 << 10
	if proto.Size(want) > readable || proto.Size(got) > readable {
		return fmt.Sprintf("of %d and %d bytes", proto.Size(want), proto.Size(got))
	}
	return cmp.Diff(want, got, protocmp.Transform())
}

// checkReceived returns an error unless the destination has the first n events of the ledger, in any order.
func (t *fixture) checkReceived(ctx context.Context, n int) error {
	places, err := t.arrivals(ctx)
	if err != nil {
		return err
	}
	there := make([]bool, len(t.ledger))
	for _, p := range places {
		there[p] = true
	}
	for p := range n {
		if !there[p] {
			return fmt.Errorf("event %d of %d, which was reported durable, is not at the destination", p, n)
		}
	}
	return nil
}

// checkOrder returns an error unless the destination has all events of the ledger, in order for each key. With repeats, a
// suffix may have arrived twice.
func (t *fixture) checkOrder(ctx context.Context, repeats bool) error {
	places, err := t.arrivals(ctx)
	if err != nil {
		return err
	}
	lanes := t.lanes(len(t.ledger), func(i int) int { return i })
	arrived := t.lanes(len(places), func(i int) int { return places[i] })
	for key, want := range lanes {
		if err := checkSequence(want, arrived[key], repeats && !t.ExactlyOnce); err != nil {
			return fmt.Errorf("ordering key %q: %w", key, err)
		}
	}
	return nil
}

// lanes groups n indices of the ledger by ordering key.
func (t *fixture) lanes(n int, place func(i int) int) map[string][]int {
	lanes := map[string][]int{}
	for i := range n {
		p := place(i)
		key := "any"
		if !t.TotalOrder {
			key = t.ledger[p].GetSource() + " " + t.ledger[p].GetSubject()
		}
		lanes[key] = append(lanes[key], p)
	}
	return lanes
}

// checkSequence returns an error unless got has all elements of want in their order. With repeats, got may step back to an
// earlier element and continue from it.
func checkSequence(want, got []int, repeats bool) error {
	next := map[int]int{} // Index in want after the element.
	for i, p := range want {
		next[p] = i + 1
	}
	reached := 0 // Index in want of the expected element.
	furthest := 0
	for _, p := range got {
		i := next[p] - 1
		switch {
		case i > reached:
			return fmt.Errorf("event %d overtook event %d", p, want[reached])
		case i < reached && !repeats:
			return fmt.Errorf("event %d is there again, after event %d", p, want[reached-1])
		}
		reached = i + 1
		furthest = max(furthest, reached)
	}
	switch {
	case furthest < len(want):
		return fmt.Errorf("event %d, of %d, is missing", want[furthest], len(want))
	case reached < len(want):
		return fmt.Errorf("the last to arrive is a repeated event %d, not event %d", want[reached-1], want[len(want)-1])
	}
	return nil
}
