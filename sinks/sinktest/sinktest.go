// Package sinktest judges implementations of [sinks.Sink]. Each case carries the sentence of the contract that it enforces,
// and prints it when the sink breaks it.
//
// A sink's test is one line of kit and a [Harness]:
//
//	sinktest.Run(t, open, sinktest.Features{TotalOrder: true})
//
// Package memory is the reference; its test shows a harness that can do everything.
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

// Harness is a fresh, empty far side, the way to open a sink onto it, and what can happen to it. Functions that are nil leave
// out the cases that need them; those say so and count as skipped. All may call tb.Fatal, which ends the case. The kit has at
// most one sink open at a time and closes every one.
type Harness struct {
	// Open opens the sink. It is called again, after the last one was closed, for the same far side.
	Open func(ctx context.Context) (sinks.Sink, error)
	// Received returns all that is durable on the far side, in the order of its arrival; where that is told only per
	// ordering key (no [Features.TotalOrder]), in that order per key. It is called with a sink open or not, never during a
	// Deliver, and not between Break and Repair.
	Received func(ctx context.Context) ([]*eventv1.Event, error)

	// Break makes the far side go away: from its return until Repair, nothing can be delivered. It is called with a
	// sink open, before and during a Deliver.
	Break func()
	// BreakAfter makes the far side go away by itself when it has taken that many more events.
	BreakAfter func(events int)
	// Stumble makes the far side refuse what comes after that many more events, once, as if it were away, and take what
	// comes then.
	Stumble func(events int)
	// Stall makes the far side fall silent: from its return until Repair, it accepts what is sent, connections too, and
	// neither answers nor takes anything.
	Stall func()
	// Throttle makes the far side ask for a pause of d, and take nothing until Repair.
	Throttle func(d time.Duration)
	// Repair ends what Break, BreakAfter, Stall and Throttle began. The sink that is open then must recover by itself; it
	// is given several attempts. It must be set when any of them is.
	Repair func()
	// Crash ends the sink that is open, which is not used again, not even closed, and loses whatever a crash of this process may
	// lose.
	Crash func()

	// Poison returns an event that this sink refuses for good. The kit sets its Position.
	Poison func() sinks.Record
}

// Features are the promises that sinks are free to make or not.
type Features struct {
	// TotalOrder: the far side keeps the order of all events. Otherwise, of those with the same source and subject.
	TotalOrder bool
	// ExactlyOnce: an event that is delivered again, at its position, is not there twice.
	ExactlyOnce bool
	// MaxEvent is the largest encoded event, in bytes, that is taken. 0 means that [sinks.LargestEvent] is.
	MaxEvent int
}

// Run runs every case against a harness of its own, which open makes.
func Run(t *testing.T, open func(tb testing.TB) Harness, features Features) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			if lack := c.needs.lacking(h); lack != "" {
				t.Skipf("the harness has no %s\nrule: %s", lack, c.rule)
			}
			if err := judge(t.Context(), c, defaults.trial(h, features)); err != nil {
				t.Errorf("%v\nrule: %s", err, c.rule)
			}
		})
	}
}

// check is one case: a sentence of the contract, and what shows whether it holds.
type check struct {
	name, rule string
	needs      means
	run        func(ctx context.Context, t *trial) error
}

// means are the functions of a harness that a case cannot do without.
type means []string

func (m means) lacking(h Harness) string {
	has := map[string]bool{
		"Break":      h.Break != nil,
		"BreakAfter": h.BreakAfter != nil,
		"Stumble":    h.Stumble != nil,
		"Stall":      h.Stall != nil,
		"Throttle":   h.Throttle != nil,
		"Crash":      h.Crash != nil,
		"Poison":     h.Poison != nil,
	}
	for _, name := range m {
		if !has[name] {
			return name
		}
	}
	return ""
}

// limits are how long things may take, and how large they get.
type limits struct {
	// whole is for a case: a sink that hangs fails, and does not hang the tests.
	whole time.Duration
	// soon is for what has to return soon.
	soon time.Duration
	// away is how long a Deliver to a far side that is away may try.
	away time.Duration
	// largest is the size of the largest event, in bytes.
	largest int
	// batch is how many events are in a Deliver that something happens to.
	batch int
}

var defaults = limits{
	whole:   3 * time.Minute,
	soon:    10 * time.Second,
	away:    5 * time.Second,
	largest: sinks.LargestEvent,
	batch:   500,
}

func (l limits) trial(h Harness, f Features) *trial {
	if f.MaxEvent == 0 {
		f.MaxEvent = l.largest
	}
	return &trial{Harness: h, Features: f, limits: l}
}

var errHangs = errors.New("hangs")

// judge runs a case within its deadline. A case that a harness ended, by tb.Fatal, has said why there.
func judge(ctx context.Context, c check, t *trial) error {
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
