package subscribetest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups/groupstest"
	"github.com/webhook-bridge/bridge/sinks"
)

// settle waits until everything has come to rest, and records the end.
func (d *driver) settle(ctx context.Context) error {
	end := time.Now().Add(d.Pace.Calm)
	tick := time.NewTicker(d.Pace.Calm / 400)
	defer tick.Stop()
	for {
		what := d.unsettled(ctx)
		if what == "" {
			return nil
		}
		if time.Now().After(end) {
			d.breach("it does not come to rest: %s", what)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unsettled returns what has not come to rest.
func (d *driver) unsettled(ctx context.Context) string {
	end := d.world.next()
	for _, f := range d.followers {
		if at := sinks.Position(f.at.Load()); at < end {
			return fmt.Sprintf("%s is at %d, the log's end at %d", f.name, at, end)
		}
	}
	for _, g := range d.groups {
		if what := g.unsettled(ctx, end); what != "" {
			return g.name + " " + what
		}
	}
	return ""
}

func (g *group) unsettled(ctx context.Context, end sinks.Position) string {
	p := g.driver.process(0)
	calling, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	got, err := p.GetGroup(calling, &streamv1.GetGroupRequest{Group: g.name})
	if err != nil {
		return fmt.Sprint("does not answer: ", err)
	}
	parked, err := g.parked(calling, p)
	if err != nil {
		return fmt.Sprint("does not list its dead letters: ", err)
	}
	at := sinks.Position(got.GetGroup().GetPosition())
	if at < end {
		return fmt.Sprintf("is at %d, the log's end at %d", at, end)
	}
	g.history.End(groupstest.Final{Parked: parked, Position: at, Missed: got.GetGroup().GetMissed()})
	if g.history.Settled(parked) {
		return ""
	}
	return fmt.Sprintf("has dealt with less than the log has, and stands at its end, %d", end)
}

// judge returns all breaches, and what happened to the events that one of them names.
func (d *driver) judge() []error {
	all := d.breaches
	for _, g := range d.groups {
		breaches := g.history.Check()
		for i, err := range breaches {
			if i == 0 {
				err = fmt.Errorf("%w\n%s", err, g.history.Explain(mentioned(err)...))
			}
			all = append(all, fmt.Errorf("%s: %w", g.name, err))
		}
	}
	return all
}

// mentioned returns the positions in an error's text.
func mentioned(err error) (all []sinks.Position) {
	for _, word := range strings.FieldsFunc(err.Error(), func(r rune) bool { return r < '0' || r > '9' }) {
		if p, err := strconv.ParseUint(word, 10, 64); err == nil {
			all = append(all, sinks.Position(p))
		}
	}
	return all
}
