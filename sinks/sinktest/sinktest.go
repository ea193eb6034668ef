// Package sinktest tests implementations of [sinks.Sink]. Each test case has the sentence of the contract that it checks, and
// prints the sentence when the sink breaks it.
//
// A sink's test is one call and a [Harness]:
//
//	sinktest.Run(t, open, sinktest.Features{TotalOrder: true})
//
// A [sinks.Resumer] is tested with the same call, and with [Harness.OpenFrom] in place of Open. A kind of sink that can be
// configured either way is tested twice.
//
// Package memory is the reference implementation. Its test shows a harness with all functions.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// Harness is a new, empty destination, a function that opens a sink to it, and functions that inject faults. A nil function
// skips the cases that need it. All functions may call tb.Fatal, which ends the case. Except for Resumers, the kit has at
// most one sink open at a time. It closes every sink.
type Harness struct {
	// Open opens the sink. The kit calls it again for the same destination after it closed the last sink.
	Open func(ctx context.Context) (sinks.Sink, error)
	// OpenFrom opens a [sinks.Resumer] that gets the events of the origin. It takes the place of Open, and adds the cases of
	// Resumers. The kit calls Resume after it. In those cases two sinks are open at a time, unless [Features.OneOpening] is set.
	OpenFrom func(ctx context.Context, from sinks.Origin) (sinks.Sink, error)
	// Received returns all events that are durable at the destination, in the order of their arrival. Without
	// [Features.TotalOrder], the order holds for each ordering key only. The kit calls it with or without an open sink, but
	// never during a Deliver, and not between Break and Repair.
	Received func(ctx context.Context) ([]*eventv1.Event, error)

	// Break makes the destination unreachable: from its return until Repair, no event can be delivered. The kit calls it while a
	// sink is open, before and during a Deliver.
	Break func()
	// BreakAfter makes the destination unreachable after it has accepted that many more events.
	BreakAfter func(events int)
	// Stumble makes the destination fail once, as if it were unreachable, after it has accepted that many more events. It
	// accepts the events after that.
	Stumble func(events int)
	// Stall makes the destination silent: from its return until Repair, it accepts connections and bytes, but stores nothing and
	// does not answer.
	Stall func()
	// Throttle makes the destination ask for a pause of d, and refuse all events until Repair.
	Throttle func(d time.Duration)
	// Repair ends the faults of Break, BreakAfter, Stall and Throttle. The open sink must then recover by itself, within several
	// attempts. Repair must be set when any of the others is.
	Repair func()
	// Crash simulates a crash of this process: it loses everything that such a crash may lose. The kit does not use the open
	// sink afterwards, and does not close it.
	Crash func()

	// Backup takes a copy of the destination, with its position, and Restore puts the last copy back. No sink is open meanwhile.
	Backup, Restore func()

	// Poison returns an event that this sink refuses permanently. The kit sets its Position.
	Poison func() sinks.Record
}

// Features are the optional promises of a sink.
type Features struct {
	// TotalOrder: the destination keeps the order of all events. Otherwise it keeps the order of events with the same source and
	// subject.
	TotalOrder bool
	// ExactlyOnce: an event that is delivered twice, with the same position, is stored once.
	ExactlyOnce bool
	// MaxEvent is the size of the largest encoded event, in bytes, that the sink accepts. 0 means [sinks.LargestEvent].
	MaxEvent int
	// OneOpening: OpenFrom fails while an earlier sink is open, also one of a process that was frozen. So no sink needs a fence.
	OneOpening bool
	// SharedDestination: sinks with different names may deliver to one destination, and each has its own position there.
	SharedDestination bool
}

// Run runs every case with a new harness, which open makes.
func Run(t *testing.T, open func(tb testing.TB) Harness, features Features) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			if lack := c.needs.missingIn(h, features); lack != "" {
				t.Skipf("the harness or the sink has no %s\nrule: %s", lack, c.rule)
			}
			if err := runCase(t.Context(), c, defaults.newFixture(h, features)); err != nil {
				t.Errorf("%v\nrule: %s", err, c.rule)
			}
		})
	}
}

// testCase is one case: a sentence of the contract, and the function that checks it.
type testCase struct {
	name, rule string
	needs      requires
	run        func(ctx context.Context, t *fixture) error
}

// requires names the functions of a harness, and the features, that a case needs.
type requires []string

func (r requires) missingIn(h Harness, f Features) string {
	has := map[string]bool{
		"OpenFrom":   h.OpenFrom != nil,
		"Backup":     h.Backup != nil && h.Restore != nil,
		"Break":      h.Break != nil,
		"BreakAfter": h.BreakAfter != nil,
		"Stumble":    h.Stumble != nil,
		"Stall":      h.Stall != nil,
		"Throttle":   h.Throttle != nil,
		"Crash":      h.Crash != nil,
		"Poison":     h.Poison != nil,

		"OneOpening":        f.OneOpening,
		"several openings":  !f.OneOpening,
		"SharedDestination": f.SharedDestination,
	}
	for _, name := range r {
		if !has[name] {
			return name
		}
	}
	return ""
}

// limits are the time limits and sizes of the cases.
type limits struct {
	// whole limits a case: a sink that hangs fails its case, and the other tests run.
	whole time.Duration
	// soon limits a call that must return soon.
	soon time.Duration
	// away limits a Deliver to an unreachable destination.
	away time.Duration
	// largest is the size of the largest event, in bytes.
	largest int
	// batch is the number of events in a Deliver that is interrupted.
	batch int
}

var defaults = limits{
	whole:   3 * time.Minute,
	soon:    10 * time.Second,
	away:    5 * time.Second,
	largest: sinks.LargestEvent,
	batch:   500,
}

func (l limits) newFixture(h Harness, f Features) *fixture {
	if f.MaxEvent == 0 {
		f.MaxEvent = l.largest
	}
	t := &fixture{Harness: h, Features: f, limits: l, origin: sinks.Origin{Log: marks("0198b0f1-log"), Sink: "orders"}}
	if h.OpenFrom != nil {
		t.Open = func(ctx context.Context) (sinks.Sink, error) { return h.OpenFrom(ctx, t.origin) }
	}
	return t
}

var errHangs = errors.New("hangs")

// runCase runs a case within its deadline. If the harness ended the case with tb.Fatal, it has reported the reason.
func runCase(ctx context.Context, c testCase, t *fixture) error {
	ctx, cancel := context.WithTimeout(ctx, t.whole)
	defer cancel()
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { failed = errors.Join(failed, t.release()) }()
		failed = c.run(ctx, t)
	}()
	late := time.NewTimer(t.whole + t.soon)
	defer late.Stop()
	select {
	case <-ended:
		return failed
	case <-late.C:
		return fmt.Errorf("%w: no answer after %s", errHangs, t.whole)
	}
}
