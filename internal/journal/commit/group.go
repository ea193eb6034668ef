package commit

import (
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Group is a number of calls that are committed at once.
type Group struct {
	calls []*Pending
	// entries are the entries of all calls that have not failed, in order, and items their items.
	entries []*Pending
	items   []*Item
	plan    Plan
}

// Counts describe a group that was decided on.
type Counts struct {
	// Webhooks and Events were added; Revisions are among the webhooks. Duplicates were not added.
	Webhooks, Events, Duplicates, Revisions int
}

// Calls yields the first entry of each call.
func (g *Group) Calls(yield func(*Pending) bool) {
	for _, p := range g.calls {
		if !yield(p) {
			return
		}
	}
}

// All yields the entries of a call, given its first.
func (p *Pending) All(yield func(*Pending) bool) {
	if !yield(p) {
		return
	}
	for _, r := range p.rest {
		if !yield(r) {
			return
		}
	}
}

// Fail excludes a call from the decision. Its caller gets err when the group is answered.
func (p *Pending) Fail(err error) { p.err = err }

// Entries returns the entries that were decided on, in order.
func (g *Group) Entries() []*Pending { return g.entries }

// Plan returns the plan that Decide made.
func (g *Group) Plan() *Plan { return &g.plan }

// Decide decides on all calls that have not failed. The first event that is added gets position next. It returns the position
// after the last one. A group whose transaction was rolled back may be decided on again.
func (g *Group) Decide(known *Known, next sinks.Position) (sinks.Position, Counts) {
	g.entries, g.items = g.entries[:0], g.items[:0]
	for _, call := range g.calls {
		if call.err == nil {
			g.entries = append(append(g.entries, call), call.rest...)
		}
	}
	for _, p := range g.entries {
		g.items = append(g.items, &p.Item)
	}
	Decide(&g.plan, g.items, known)
	counts := Counts{Events: g.plan.Events}
	for i, p := range g.entries {
		p.Decision = g.plan.Decisions[i]
		p.First = next + sinks.Position(p.Decision.First)
		p.receipt = receiptOf(p)
		counts.addEntry(p)
	}
	for _, call := range g.calls {
		if call.err == nil && call.Decision.Outcome == NotFound {
			call.err = journal.ErrNotFound
		}
	}
	return next + sinks.Position(g.plan.Events), counts
}

func receiptOf(p *Pending) journal.Receipt {
	r := journal.Receipt{
		Duplicate: p.Decision.Duplicate(),
		Kept:      p.Decision.Outcome == Kept,
		Revised:   p.Decision.Outcome == Revised,
		Stale:     len(p.Decision.Stale),
	}
	if p.Decision.Adds() && p.Events > 0 {
		r.First = p.First
	}
	return r
}

func (c *Counts) addEntry(p *Pending) {
	switch {
	case p.Decision.Duplicate():
		c.Duplicates++
	case p.Decision.Adds() && p.Operation == journal.Receive:
		c.Webhooks++
	}
	if p.Decision.Outcome == Revised {
		c.Revisions++
	}
}

// Answer ends all calls: with err, or with their receipts and errors. The group is empty afterwards.
func (g *Group) Answer(err error) {
	for _, call := range g.calls {
		if err != nil {
			call.err = err
		}
		call.answer(call.err)
	}
	clear(g.calls)
	clear(g.entries)
	clear(g.items)
	g.calls, g.entries, g.items = g.calls[:0], g.entries[:0], g.items[:0]
}
