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

// trial is one case under way: the harness, the sink that is open, and the ledger of what it was given.
type trial struct {
	Harness
	Features
	limits

	sink   sinks.Sink // Nil when none is open.
	faulty bool       // Between Break, or its like, and Repair.

	ledger []*eventv1.Event
	at     map[string]int // Of an event's id in the ledger.
	next   sinks.Position // Of the next record.
}

// open opens a sink, which becomes the trial's.
func (t *trial) open(ctx context.Context) error {
	sink, err := t.Open(ctx)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	t.sink = sink
	return nil
}

// closeSink closes the trial's sink.
func (t *trial) closeSink() error {
	sink := t.sink
	t.sink = nil
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

func (t *trial) reopen(ctx context.Context) error {
	if err := t.closeSink(); err != nil {
		return err
	}
	return t.open(ctx)
}

// release leaves the harness as it was found, whatever became of the case.
func (t *trial) release() error {
	if t.faulty {
		t.repair()
	}
	if t.sink == nil {
		return nil
	}
	return t.closeSink()
}

// fault calls one of the harness's functions that Repair ends.
func (t *trial) fault(begin func()) {
	t.faulty = true
	begin()
}

func (t *trial) repair() {
	t.faulty = false
	t.Repair()
}

// records returns the next n events of the stream, and enters them in the ledger: the far side shall have them in the end.
func (t *trial) records(n int) ([]sinks.Record, error) {
	made := make([]sinks.Record, n)
	for i := range made {
		r, err := t.enter(event(int(t.next)))
		if err != nil {
			return nil, err
		}
		made[i] = r
	}
	return made, nil
}

func (t *trial) enter(e *eventv1.Event) (sinks.Record, error) {
	encoded, err := proto.Marshal(e)
	if err != nil {
		return sinks.Record{}, fmt.Errorf("encode an event: %w", err)
	}
	if t.at == nil {
		t.at = map[string]int{}
	}
	t.at[e.GetId()] = len(t.ledger)
	t.ledger = append(t.ledger, e)
	return t.place(sinks.Record{Encoded: encoded}), nil
}

// strike takes an event that was refused off the ledger.
func (t *trial) strike(id string) {
	place := t.at[id]
	delete(t.at, id)
	t.ledger = slices.Delete(t.ledger, place, place+1)
	for id, p := range t.at {
		if p > place {
			t.at[id] = p - 1
		}
	}
}

// place gives a record the next position.
func (t *trial) place(r sinks.Record) sinks.Record {
	t.next++
	r.Position = t.next
	return r
}

// push delivers all of records, as whoever drives a sink does: on from n, and again after a pause. It forgives what other cases are about.
func (t *trial) push(ctx context.Context, records []sinks.Record) error {
	refused, err := t.drive(ctx, records)
	if err != nil {
		return err
	}
	for p, why := range refused {
		return fmt.Errorf("the event at %d is refused for good: %w", p, why)
	}
	return nil
}

// pushNext is push of the next n events.
func (t *trial) pushNext(ctx context.Context, n int) error {
	records, err := t.records(n)
	if err != nil {
		return err
	}
	return t.push(ctx, records)
}

// drive is push that goes on after an event that is refused for good, and returns those with the reasons.
func (t *trial) drive(ctx context.Context, records []sinks.Record) (map[sinks.Position]error, error) {
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
				return nil, fmt.Errorf("the event at %d is not taken, the last answer is %s", records[0].Position, answer{n, err})
			}
			pause = min(2*pause, 500*time.Millisecond)
		}
	}
	return refused, nil
}

// wait waits for d, and says whether ctx let it.
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

// arrivals returns what the far side has, as places in the ledger. Each event must be as it was given.
func (t *trial) arrivals(ctx context.Context) ([]int, error) {
	received, err := t.Received(ctx)
	if err != nil {
		return nil, fmt.Errorf("received: %w", err)
	}
	places := make([]int, len(received))
	for i, got := range received {
		place, ok := t.at[got.GetId()]
		if !ok {
			return nil, fmt.Errorf("the far side has an event, with id %q, that was not given or is refused", got.GetId())
		}
		if want := t.ledger[place]; !proto.Equal(want, got) {
			return nil, fmt.Errorf("event %d is changed on the far side (-given +received):\n%s", place, difference(want, got))
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

// holds returns an error unless the far side has the first n events of the ledger, in whatever order.
func (t *trial) holds(ctx context.Context, n int) error {
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
			return fmt.Errorf("event %d of %d, which was reported durable, is not on the far side", p, n)
		}
	}
	return nil
}

// settled returns an error unless the far side has all events of the ledger, in order per lane. With repeats, a suffix may be there again.
func (t *trial) settled(ctx context.Context, repeats bool) error {
	places, err := t.arrivals(ctx)
	if err != nil {
		return err
	}
	lanes := t.lanes(len(t.ledger), func(i int) int { return i })
	arrived := t.lanes(len(places), func(i int) int { return places[i] })
	for key, want := range lanes {
		if err := inOrder(want, arrived[key], repeats && !t.ExactlyOnce); err != nil {
			return fmt.Errorf("ordering key %q: %w", key, err)
		}
	}
	return nil
}

// lanes groups n places in the ledger by ordering key.
func (t *trial) lanes(n int, place func(i int) int) map[string][]int {
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

// inOrder returns an error unless got goes through want step by step to its end. With repeats it may step back at any time,
// to go on from there.
func inOrder(want, got []int, repeats bool) error {
	next := map[int]int{} // Index in want of what follows a place.
	for i, p := range want {
		next[p] = i + 1
	}
	reached := 0 // Index in want of what is due.
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
