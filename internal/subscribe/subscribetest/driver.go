package subscribetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/internal/groups"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// driver carries a plan out.
type driver struct {
	Plan
	harness   Harness
	broke     func(Parts) Parts
	world     *world
	groups    []*group
	followers []*follower
	calm      chan struct{} // Closed when everybody begins to behave well.
	done      chan struct{}
	// calls are the streams' handlers, clients the clients.
	calls, clients sync.WaitGroup
	// retaining is held by retention, and by whoever needs to know what is kept.
	retaining chan struct{}
	committed atomic.Uint64 // The position behind what is surely durable.

	mu        sync.Mutex
	rand      *rand.Rand
	processes []*process // Nil: it is down.
	started   int
	breaches  []error
}

// Run carries a plan out, and returns the breaches of what the service promises. broke breaks a part of each process, for tests of the checker.
func Run(ctx context.Context, plan Plan, harness Harness, broke func(Parts) Parts) []error {
	d := &driver{
		Plan: plan, harness: harness, broke: broke, world: newWorld(), calm: make(chan struct{}), done: make(chan struct{}),
		retaining: make(chan struct{}, 1), rand: newRand(plan.Seed, 11), processes: make([]*process, harness.Replicas),
	}
	d.committed.Store(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.run(ctx); err != nil {
		d.breach("%v", err)
	}
	close(d.done)
	cancel()
	d.clients.Wait()
	for i := range d.processes {
		if p := d.take(i); p != nil {
			p.die()
			p.end()
			p.running.Wait()
		}
	}
	d.calls.Wait()
	return d.judge()
}

func (d *driver) run(ctx context.Context) error {
	for i := range d.processes {
		if err := d.start(i); err != nil {
			return err
		}
	}
	for range d.Before {
		if err := d.append(ctx); err != nil {
			return err
		}
	}
	appending := make(chan error, 1)
	d.clients.Go(func() { appending <- d.webhooks(ctx) })
	for i, plan := range d.Groups {
		g := newGroup(d, i, plan)
		if err := d.create(ctx, g); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		d.mu.Lock()
		d.groups = append(d.groups, g)
		d.mu.Unlock()
		for range g.Members {
			d.clients.Go(func() { g.members(ctx) })
		}
		for range g.Pullers {
			d.clients.Go(func() { g.pullers(ctx) })
		}
	}
	for i := range d.Followers {
		f := newFollower(d, i)
		d.followers = append(d.followers, f)
		d.clients.Go(func() { f.follow(ctx) })
	}
	d.clients.Go(func() { d.observe(ctx) })
	err := d.steps(ctx)
	close(d.calm)
	if err = errors.Join(err, <-appending); err != nil {
		return err
	}
	return d.settle(ctx)
}

// start starts a replica's process.
func (d *driver) start(i int) error {
	j, err := d.harness.Open(i)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	d.mu.Lock()
	d.started++
	name := fmt.Sprintf("%d.%d", i, d.started)
	d.mu.Unlock()
	p, err := startProcess(name, j, d.broke, d.handed)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.processes[i] = p
	return nil
}

// handed records deliveries when they begin.
func (d *driver) handed(p *process, name, member string, all []groups.Delivery) {
	d.mu.Lock()
	var g *group
	for _, other := range d.groups {
		if other.name == name {
			g = other
		}
	}
	d.mu.Unlock()
	if g != nil {
		g.handed(p, member, all)
	} else if len(all) > 0 {
		d.breach("a group without members was given %d events", len(all))
	}
}

// take takes a replica's process from the clients. It returns nil when there is none.
func (d *driver) take(i int) *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.processes[i]
	d.processes[i] = nil
	return p
}

// anyProcess waits for a process. It returns nil when the history is over.
func (d *driver) anyProcess(ctx context.Context) *process {
	for ctx.Err() == nil && !d.isDone() {
		if p := d.process(d.intN(d.harness.Replicas)); p != nil {
			return p
		}
		d.sleep(300 * time.Millisecond)
	}
	return nil
}

func (d *driver) process(i int) *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.processes[i]
}

// create makes a group, by members that take nothing, and begins its history where the server says that it starts.
func (d *driver) create(ctx context.Context, g *group) error {
	low := sinks.Position(1)
	start := &streamv1.SubscribeStart{Group: g.name, Policy: message(g.Policy), Filter: g.filter()}
	if g.Latest {
		low = d.durable()
		start.From = &streamv1.Start{At: &streamv1.Start_Latest{Latest: &streamv1.Latest{}}}
	}
	for {
		p := d.anyProcess(ctx)
		if p == nil {
			return ctx.Err()
		}
		at, err := d.createAt(p, g, start)
		if status.Code(err) == codes.Unavailable {
			d.sleep(time.Second)
			continue
		}
		high := sinks.Position(1)
		if g.Latest {
			high = d.world.next()
		}
		if err == nil && (at < low || at > high) {
			err = fmt.Errorf("the group begins at %d, and not from %d to %d", at, low, high)
		}
		return err
	}
}

func (d *driver) createAt(p *process, g *group, start *streamv1.SubscribeStart) (sinks.Position, error) {
	began := make(chan sinks.Position, 1)
	seen := func(r *streamv1.SubscribeResponse) {
		if s := r.GetSubscribed(); s != nil {
			g.begin(sinks.Position(s.GetPosition()))
			began <- sinks.Position(s.GetPosition())
		}
	}
	s := dial(p.alive, 10, seen, &d.calls, func(s *subscribing) error { return p.Subscribe(s) })
	s.ask(&streamv1.SubscribeRequest{Message: &streamv1.SubscribeRequest_Start{Start: start}})
	defer func() {
		s.cut()
		<-s.ended
	}()
	select {
	case at := <-began:
		return at, nil
	case <-s.ended:
		return 0, s.status
	}
}

// webhooks appends webhooks until everybody behaves well.
func (d *driver) webhooks(ctx context.Context) error {
	for !d.isCalm() && ctx.Err() == nil {
		if err := d.append(ctx); err != nil {
			return err
		}
		d.sleep(d.Pace.Pause)
	}
	return nil
}

// append appends a webhook, at any replica, until it is durable.
func (d *driver) append(ctx context.Context) error {
	var events []fact
	for range d.intN(4) {
		f := fact{kind: [...]string{created, changed, created, changed, other}[d.intN(5)]}
		if n := d.intN(d.Subjects + 1); n > 0 {
			f.subject = fmt.Sprintf("order/%d", n)
		}
		events = append(events, f)
	}
	if len(events) == 0 {
		return nil
	}
	first := d.world.next()
	entry := d.world.add(events)
	for {
		p := d.anyProcess(ctx)
		if p == nil {
			return ctx.Err()
		}
		appending, cancel := context.WithTimeout(ctx, 10*time.Second)
		r, err := p.journal.Append(appending, entry)
		cancel()
		if err == nil {
			if !r.Duplicate && r.First != first {
				return fmt.Errorf("the events came to position %d, not %d", r.First, first)
			}
			d.committed.Store(uint64(d.world.next()))
			return nil
		}
		if !errors.Is(err, journal.ErrUnavailable) && !errors.Is(err, sinks.ErrClosed) && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("append: %w", err)
		}
		d.sleep(200 * time.Millisecond)
	}
}

// durable returns the position behind what every replica surely knows to be durable. One learns a little later what another one appended.
func (d *driver) durable() sinks.Position {
	if d.harness.Replicas > 1 {
		return 1
	}
	return sinks.Position(d.committed.Load())
}

func (d *driver) intN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(n)
}

// sleep waits for a random time, at most until the history is over.
func (d *driver) sleep(most time.Duration) {
	timer := time.NewTimer(time.Duration(d.intN(int(most)) + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.done:
	}
}

func (d *driver) isCalm() bool { return isClosed(d.calm) }
func (d *driver) isDone() bool { return isClosed(d.done) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (d *driver) breach(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.breaches) < 20 {
		d.breaches = append(d.breaches, fmt.Errorf("subscribetest: "+format, args...))
	}
}

func lines(all []string) string { return strings.Join(all, "\n\t") }
