package subscribetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/groups/groupstest"
	"github.com/webhook-bridge/bridge/sinks"
)

// group is a group with its history.
type group struct {
	GroupPlan
	driver  *driver
	name    string
	history *groupstest.History

	mu sync.Mutex
	// names are those of the members of each process, also of those that have left: what they did may not be stored yet.
	names map[*process]map[string]bool
	// streams are the members on streams, by the ids that the server gave them. begun are the deliveries that have begun and were not sent.
	streams map[string]string
	begun   map[string]string
	count   int
}

func newGroup(d *driver, i int, plan GroupPlan) *group {
	return &group{
		GroupPlan: plan, driver: d, name: fmt.Sprint("group-", i), names: map[*process]map[string]bool{}, streams: map[string]string{}, begun: map[string]string{},
	}
}

// filter is the group's filter, as clients send it.
func (g *group) filter() *streamv1.Filter {
	if g.All {
		return &streamv1.Filter{}
	}
	return &streamv1.Filter{Types: []string{"order.*"}}
}

func (g *group) passes(f fact) bool { return g.All || f.kind != other }

// begin makes the history of a group that starts at a position.
func (g *group) begin(start sinks.Position) {
	g.history = groupstest.New(groupstest.Config{
		Start: start, Deadline: g.Policy.AckDeadline, MaxAttempts: g.Policy.MaxAttempts, Pause: g.pause, StrictOrder: g.Policy.StrictOrder,
		Latest: g.Policy.OnExpired == groups.Latest, Fail: g.Policy.OnExpired == groups.Fail,
		SeekGrace: g.driver.Pace.Grace, Tolerance: g.driver.Pace.Tolerance,
	})
	g.driver.world.register(g)
}

// pause is that of the policy after so many attempts.
func (g *group) pause(attempts uint32) time.Duration {
	p := g.Policy.MinBackoff
	for i := uint32(1); i < attempts && p < g.Policy.MaxBackoff; i++ {
		p *= 2
	}
	return min(p, g.Policy.MaxBackoff)
}

// member gives a member at a process a name.
func (g *group) member(p *process) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
	name := fmt.Sprintf("%s/%d@%s", g.name, g.count, p.name)
	if g.names[p] == nil {
		g.names[p] = map[string]bool{g.pulls(p): true}
	}
	g.names[p][name] = true
	if p.suspect.Load() {
		g.history.Suspect(name)
	}
	return name
}

// pulls is the name of the member of a process's pulls.
func (g *group) pulls(p *process) string { return g.name + "/pulls@" + p.name }

// of returns the members of a process.
func (g *group) of(p *process) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	names := []string{g.pulls(p)}
	for name := range g.names[p] {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// suspect records that what a process does from now on may be late, and what it did may not be stored.
func (g *group) suspect(p *process) { g.history.Suspect(g.of(p)...) }

// joined records the id that the server gave a member.
func (g *group) joined(id, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.streams[id] = name
}

// handed records deliveries when they begin. A member that has no stream is that of the process's pulls.
func (g *group) handed(p *process, member string, all []groups.Delivery) {
	g.mu.Lock()
	name, ok := g.streams[member]
	if !ok {
		name = g.pulls(p)
	}
	for i := range all {
		g.begun[all[i].ID] = name
	}
	g.mu.Unlock()
	for i := range all {
		g.history.Delivered(name, groupstest.Delivery{
			ID: all[i].ID, Position: all[i].Record.Position, Attempt: all[i].Attempt, Replayed: all[i].Replayed,
		})
	}
}

// sent checks a delivery that is sent to a member: it has begun for this member, is sent once, and has the event.
func (g *group) sent(name string, d *streamv1.Delivery) {
	g.mu.Lock()
	begun := g.begun[d.GetId()]
	delete(g.begun, d.GetId())
	g.mu.Unlock()
	if begun != name {
		g.history.Breach("%s was sent a delivery that began for %q", name, begun)
	}
	p := g.driver.world.position(d.GetEvent().GetId())
	f, ok := g.driver.world.fact(p)
	switch {
	case !ok:
		g.history.Breach("%s: the event %s was delivered, and never appended", g.name, d.GetEvent().GetId())
	case d.GetEvent().GetType() != f.kind || d.GetEvent().GetSubject() != f.subject:
		g.history.Breach("%s: the event at %d was delivered as %v", g.name, p, d.GetEvent())
	case !g.history.Is(groupstest.Delivery{ID: d.GetId(), Position: p, Attempt: d.GetAttempt(), Replayed: d.GetReplayed()}):
		g.history.Breach("%s: the event at %d was delivered as %v, and began otherwise", g.name, p, d)
	}
	if d.GetToken() != "" {
		g.history.Breach("%s: the delivery of %d has a token", g.name, p)
	}
}
