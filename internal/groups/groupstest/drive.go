package groupstest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/sinks"
)

// Group is the name of the group that [Drive] uses, Filter its filter, and Passing and Blocked are types of events that pass it, or do not.
const (
	Group   = "workers"
	Filter  = "order."
	Passing = "order.created"
	Blocked = "customer.created"
)

// Node is an instance of the program, or of its parts, over a log and a store that it shares with others.
type Node interface {
	// Manager returns the node's manager. A killed node has the one from before.
	Manager() *groups.Manager
	// Kill ends the node without a farewell, and Start starts a killed one again.
	Kill()
	Start()
	// Freeze stops the node's access to the store until thaw is called. With lose, the store gives its shares to others meanwhile.
	Freeze(lose bool) (thaw func())
}

// Cluster is the system under test of [Drive]. Expire may be nil.
type Cluster struct {
	Append func(*eventv1.Event) (sinks.Position, error)
	Bounds func() sinks.Bounds
	Expire func(before sinks.Position)
	Nodes  []Node
}

// Plan says how a history goes. [RandomPlan] makes one.
type Plan struct {
	Seed     uint64
	Policy   groups.Policy
	Latest   bool // Start at the log's end.
	Before   int  // Events before the group begins.
	Workers  int
	Pullers  int
	Subjects int
	// Steps is how many things happen, and Pause how long it is from one to the next, at most.
	Steps int
	Pause time.Duration
	// Kills, Freezes, Seeks, Expiries: which faults there are.
	Kills, Freezes, Seeks, Expiries bool
	// Calm is how long to wait for the end at most.
	Calm time.Duration
}

// RandomPlan makes a plan of a seed. No two subjects, seeds and policies are alike for long.
func RandomPlan(seed uint64) Plan {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // A test can be repeated only with the same numbers.
	p := Plan{
		Seed: seed,
		Policy: groups.Policy{
			AckDeadline: time.Duration(1+r.IntN(8)) * time.Second, MaxAttempts: uint32(1 + r.IntN(4)),
			MinBackoff: time.Duration(r.IntN(2000)+1) * time.Millisecond, MaxBackoff: 3 * time.Second,
			StrictOrder: r.IntN(3) == 0, OnExpired: groups.Earliest, MaxOutstanding: 1 + r.IntN(40),
		}.WithDefaults(),
		Latest: r.IntN(4) == 0, Before: r.IntN(30), Workers: 1 + r.IntN(6), Pullers: r.IntN(3), Subjects: 1 + r.IntN(12),
		Steps: 40 + r.IntN(120), Pause: time.Duration(1+r.IntN(800)) * time.Millisecond,
		Kills: r.IntN(2) == 0, Freezes: r.IntN(2) == 0, Seeks: r.IntN(4) == 0, Expiries: r.IntN(5) == 0,
		Calm: 20 * time.Minute,
	}
	if r.IntN(4) == 0 {
		p.Policy.OnExpired = groups.Latest
	}
	return p
}

// driver carries a plan out.
type driver struct {
	Plan
	*History
	cluster Cluster
	calm    chan struct{} // Closed when members begin to behave well.
	done    chan struct{}

	mu     sync.Mutex
	rand   *rand.Rand
	names  []map[string]bool // Of the members of each node that live.
	faulty map[int]bool      // Nodes that are killed or frozen: who joins there is suspect from the beginning.
	count  int
	work   sync.WaitGroup
}

// Drive carries a plan out on a cluster and returns the history. It takes as long as the plan says, on the clock of the goroutine that calls it.
func Drive(ctx context.Context, plan Plan, cluster Cluster) (*History, error) {
	d := &driver{
		Plan: plan, cluster: cluster, calm: make(chan struct{}), done: make(chan struct{}),
		rand:  rand.New(rand.NewPCG(plan.Seed, 2)), //nolint:gosec // A test can be repeated only with the same numbers.
		names: make([]map[string]bool, len(cluster.Nodes)), faulty: map[int]bool{},
	}
	for i := range d.names {
		d.names[i] = map[string]bool{}
	}
	d.History = New(Config{
		Start: 1, Deadline: plan.Policy.AckDeadline, MaxAttempts: plan.Policy.MaxAttempts, Pause: pause(plan.Policy),
		StrictOrder: plan.Policy.StrictOrder, Latest: plan.Policy.OnExpired == groups.Latest, SeekGrace: 3 * time.Second, Tolerance: time.Millisecond,
	})
	for range plan.Before {
		if err := d.append(); err != nil {
			return nil, err
		}
	}
	if plan.Latest {
		d.cfg.Start = cluster.Bounds().Next
	}
	if err := d.begin(ctx); err != nil {
		return nil, err
	}
	err := d.steps(ctx)
	close(d.calm)
	if err == nil {
		err = d.settle(ctx)
	}
	close(d.done)
	d.work.Wait()
	return d.History, err
}

func pause(p groups.Policy) func(uint32) time.Duration {
	return func(attempts uint32) time.Duration {
		d := p.MinBackoff
		for i := uint32(1); i < attempts && d < p.MaxBackoff; i++ {
			d *= 2
		}
		return min(d, p.MaxBackoff)
	}
}

// begin makes the group, so that its start is known, and starts the members.
func (d *driver) begin(ctx context.Context) error {
	m, err := d.cluster.Nodes[0].Manager().Join(ctx, d.request())
	for errors.Is(err, sinks.ErrUnavailable) {
		m, err = d.cluster.Nodes[0].Manager().Join(ctx, d.request())
	}
	if err != nil {
		return err
	}
	if err := m.Leave(ctx); err != nil {
		return err
	}
	for range d.Workers {
		d.work.Go(func() { d.worker(ctx) })
	}
	for range d.Pullers {
		d.work.Go(func() { d.puller(ctx) })
	}
	return nil
}

func (d *driver) request() groups.Request {
	return groups.Request{
		Group: Group, Filter: []byte(Filter), Policy: &d.Policy,
		From: func(context.Context) (sinks.Position, error) { return d.cfg.Start, nil },
	}
}

func (d *driver) intN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(n)
}

func (d *driver) sleep(most time.Duration) {
	select {
	case <-time.After(time.Duration(d.intN(int(most)) + 1)):
	case <-d.done:
	}
}

func (d *driver) isCalm() bool {
	select {
	case <-d.calm:
		return true
	default:
		return false
	}
}

func (d *driver) isDone() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// name gives a member of a node a name.
func (d *driver) name(node int, kind string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	name := fmt.Sprintf("%s-%d@%d", kind, d.count, node)
	if d.faulty[node] {
		d.Suspect(name)
	} else {
		d.names[node][name] = true
	}
	return name
}

// suspectNode records that nothing which the node's members get from now on is sure.
func (d *driver) suspectNode(node int) {
	d.mu.Lock()
	var names []string
	for name := range d.names[node] {
		names = append(names, name)
	}
	d.names[node] = map[string]bool{}
	d.mu.Unlock()
	d.Suspect(names...)
}

// fault lets a fault of a node happen. What the node's members get from its beginning on is not sure.
func (d *driver) fault(node int, happen func()) {
	d.mu.Lock()
	d.faulty[node] = true
	d.mu.Unlock()
	d.suspectNode(node)
	happen()
	d.mu.Lock()
	d.faulty[node] = false
	d.mu.Unlock()
}

func (d *driver) isSuspect(node int, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.names[node][name]
}

func (d *driver) append() error {
	subject := ""
	if n := d.intN(d.Subjects + 1); n > 0 {
		subject = fmt.Sprintf("order/%d", n)
	}
	kind := Passing
	if d.intN(5) == 0 {
		kind = Blocked
	}
	p := d.cluster.Bounds().Next
	d.Appended(p, subject, kind == Passing)
	at, err := d.cluster.Append(&eventv1.Event{Id: fmt.Sprint("event-", p), Type: kind, Source: "shop", Subject: subject})
	if err == nil && at != p {
		err = fmt.Errorf("the event got position %d, not %d", at, p)
	}
	return err
}

// steps lets things happen.
func (d *driver) steps(ctx context.Context) error {
	var faults sync.WaitGroup
	defer faults.Wait()
	for range d.Steps {
		d.sleep(d.Pause)
		node := d.intN(len(d.cluster.Nodes))
		switch n := d.intN(100); {
		case n < 70:
			for range 1 + d.intN(6) {
				if err := d.append(); err != nil {
					return err
				}
			}
		case n < 74 && d.Kills:
			d.fault(node, func() {
				d.cluster.Nodes[node].Kill()
				d.sleep(5 * time.Second)
				d.cluster.Nodes[node].Start()
			})
		case n < 78 && d.Freezes:
			d.fault(node, func() {
				thaw := d.cluster.Nodes[node].Freeze(d.intN(2) == 0)
				d.sleep(6 * time.Second)
				thaw()
				d.sleep(100 * time.Millisecond) // Then it has noticed.
			})
		case n < 80 && d.Seeks:
			d.seek(ctx, node)
		case n < 82 && d.Expiries && d.cluster.Expire != nil:
			b := d.cluster.Bounds()
			to := b.Earliest + sinks.Position(d.intN(int(b.Next-b.Earliest)/2+1))
			d.Expiring(to)
			d.cluster.Expire(to)
		case n < 90:
			d.letters(ctx, node)
		}
	}
	return nil
}

func (d *driver) seek(ctx context.Context, node int) {
	b := d.cluster.Bounds()
	to := b.Earliest + sinks.Position(d.intN(int(b.Next-b.Earliest)+1))
	seek := d.Seeking(to, to)
	if err := d.cluster.Nodes[node].Manager().Seek(ctx, Group, to); err == nil {
		seek.Done(to)
	}
}

// letters asks for parked events, or discards one.
func (d *driver) letters(ctx context.Context, node int) {
	m := d.cluster.Nodes[node].Manager()
	parked, err := m.ListParked(ctx, Group, 0, 50)
	if err != nil || len(parked) == 0 {
		return
	}
	p := sinks.Position(parked[d.intN(len(parked))].GetPosition())
	switch d.intN(4) {
	case 0:
		d.Discarding(p)
		_, _ = m.Discard(ctx, Group, []sinks.Position{p})
	case 1:
		_, _ = m.Replay(ctx, Group, nil)
	default:
		_, _ = m.Replay(ctx, Group, []sinks.Position{p})
	}
}

// settle waits until everything is dealt with, and records the end.
func (d *driver) settle(ctx context.Context) error {
	m := d.cluster.Nodes[0].Manager()
	var parked []sinks.Position
	var info *groups.Info
	rest := 0
	for end := time.Now().Add(d.Calm); time.Now().Before(end) && rest < 3; {
		select {
		case <-time.After(20 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		all, err := m.ListParked(ctx, Group, 0, 10_000)
		if errors.Is(err, sinks.ErrUnavailable) {
			continue
		}
		if err != nil {
			return err
		}
		parked = parked[:0]
		for _, p := range all {
			parked = append(parked, sinks.Position(p.GetPosition()))
		}
		now, err := m.Get(ctx, Group)
		if errors.Is(err, sinks.ErrUnavailable) {
			continue
		}
		if err != nil {
			return err
		}
		info = now
		if rest++; info.Position != d.cluster.Bounds().Next || !d.Settled(parked) {
			rest = 0
		}
	}
	if rest == 0 {
		d.Breach("it does not come to rest: the group is at %d, the log's end at %d", info.Position, d.cluster.Bounds().Next)
	}
	d.End(Final{Parked: parked, Position: info.Position, Missed: info.Missed})
	return nil
}

// expected reports whether an error may end a member.
func expected(err error) bool {
	for _, known := range []error{groups.ErrLost, groups.ErrLeft, sinks.ErrClosed, sinks.ErrUnavailable, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func (d *driver) unexpected(what string, err error) {
	if err != nil && !expected(err) {
		d.Breach("%s: %v", what, err)
	}
}
