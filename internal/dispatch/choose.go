package dispatch

import (
	"fmt"

	"github.com/webhook-bridge/bridge/sinks"
)

// choose reports whether an event is for the sink.
func (d *Dispatcher) choose(r *sinks.Record) (bool, error) {
	if d.cfg.Choose == nil {
		return true, nil
	}
	return d.cfg.Choose(r)
}

// decide is choose with an error that says what failed.
func (d *Dispatcher) decide(r *sinks.Record) (bool, error) {
	chosen, err := d.choose(r)
	if err != nil {
		return false, fmt.Errorf("dispatch: the route cannot decide about the event: %w", err)
	}
	return chosen, nil
}

// cannotDecide notes that [Config.Choose] failed for an event that the lane is about to take ahead. The event might be for the sink, so
// it must not be lost; and it might not, so it must not arrive there.
func (l *lane) cannotDecide(p sinks.Position, err error) {
	l.d.cfg.Counters.undecided.Add(1)
	if l.undecided == nil || len(l.ahead) == 0 {
		l.undecided = map[sinks.Position]error{}
	}
	l.undecided[p] = err
}
