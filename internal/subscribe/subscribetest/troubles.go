package subscribetest

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// steps lets things go wrong.
func (d *driver) steps(ctx context.Context) error {
	for range d.Pace.Steps {
		d.sleep(d.Pace.Pause)
		i := d.intN(d.harness.Replicas)
		var err error
		switch n := d.intN(100); {
		case n < 10 && d.Kills:
			err = d.kill(i)
		case n < 16 && d.Restarts:
			err = d.restart(ctx, i)
		case n < 24 && d.Freezes:
			d.freeze(i)
		case n < 30 && d.Seeks:
			d.seek(ctx)
		case n < 40 && d.Expiries:
			d.retain()
		case n < 60 && d.Letters:
			d.letters(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// suspect records that what a process does from now on may be late.
func (d *driver) suspect(p *process) {
	p.suspect.Store(true)
	for _, g := range d.groups {
		g.suspect(p)
	}
}

// kill ends a process as kill -9 and a power cut do, at times in the middle of a write, and starts another one.
func (d *driver) kill(i int) error {
	p := d.process(i)
	d.suspect(p)
	if d.harness.Arm != nil && d.intN(2) == 0 {
		d.harness.Arm(i, d.intN(20))
		d.sleep(2 * time.Second)
	}
	d.take(i)
	d.suspect(p)
	d.harness.Kill(i)
	p.die()
	d.suspect(p)
	p.kill()
	if d.harness.Replicas > 1 || d.intN(2) == 0 {
		d.sleep(d.Pace.Longest / 2)
	}
	return d.start(i)
}

// restart ends a process in order, as a deploy does, and starts another one.
func (d *driver) restart(ctx context.Context, i int) error {
	p := d.take(i)
	for _, g := range d.groups {
		g.history.Leaving(g.pulls(p)) // Its deliveries fail when the process ends.
	}
	p.drain(ctx)
	_ = p.journal.Close() // What it says does not matter: the next one finds everything.
	return d.start(i)
}

// freeze keeps a process from its storage for a while, or breaks its connections.
func (d *driver) freeze(i int) {
	if d.harness.Freeze == nil {
		return
	}
	p := d.process(i)
	d.suspect(p)
	if d.intN(3) == 0 {
		d.harness.Cut(i)
	} else {
		thaw := d.harness.Freeze(i)
		d.sleep(d.Pace.Longest)
		thaw()
	}
	d.suspect(p)
}

// retain lets retention pass positions.
func (d *driver) retain() {
	d.retaining <- struct{}{}
	defer func() { <-d.retaining }()
	d.world.expire(time.Now().Add(d.Pace.Tolerance - d.harness.Age))
	d.harness.Retain()
}

// seek moves a group: to the log's begin or end, or to a token of a follower with the same filter.
func (d *driver) seek(ctx context.Context) {
	g := d.groups[d.intN(len(d.groups))]
	if d.intN(2) == 0 {
		g.seekTo(&streamv1.Start{At: &streamv1.Start_Earliest{Earliest: &streamv1.Earliest{}}})
		return
	}
	if token, ok := g.token(ctx); ok {
		g.seekTo(&streamv1.Start{At: &streamv1.Start_Token{Token: token}})
	}
}

// token returns a token for the group's filter, at about the middle of what is kept.
func (g *group) token(ctx context.Context) (token string, ok bool) {
	d := g.driver
	p := d.anyProcess(ctx)
	if p == nil {
		return "", false
	}
	events := d.intN(20)
	tailing := dial(p.alive, 1, func(*streamv1.TailResponse) {}, &d.calls, func(s *tailing) error {
		return p.Tail(&streamv1.TailRequest{Filter: g.filter()}, s)
	})
	defer func() {
		tailing.cut()
		<-tailing.ended
	}()
	for {
		r, ok := receive(tailing, d)
		if !ok {
			return token, token != ""
		}
		switch m := r.GetMessage().(type) {
		case *streamv1.TailResponse_Subscribed:
			token = m.Subscribed.GetToken()
		case *streamv1.TailResponse_Events:
			for _, e := range m.Events.GetEvents() {
				if token = e.GetToken(); events == 0 {
					return token, true
				}
				events--
			}
		default:
			return token, token != ""
		}
	}
}

// seekTo moves the group. Nobody else does meanwhile, and nothing expires.
func (g *group) seekTo(to *streamv1.Start) {
	d := g.driver
	d.retaining <- struct{}{}
	defer func() { <-d.retaining }()
	p := d.process(d.intN(d.harness.Replicas))
	if p == nil {
		return
	}
	calling, cancel := context.WithTimeout(p.alive, 20*time.Second)
	defer cancel()
	seek := g.history.Seeking(1, d.world.next())
	response, err := p.SeekGroup(calling, &streamv1.SeekGroupRequest{Group: g.name, To: to})
	switch {
	case p.alive.Err() != nil:
	case err == nil:
		seek.Done(sinks.Position(response.GetPosition()))
	case status.Code(err) == codes.OutOfRange: // The token's place is gone.
		seek.Failed()
	default:
		g.ended("seek", err)
	}
}

// letters replays or discards parked events.
func (d *driver) letters(ctx context.Context) {
	g := d.groups[d.intN(len(d.groups))]
	p := d.anyProcess(ctx)
	if p == nil {
		return
	}
	calling, cancel := context.WithTimeout(p.alive, 20*time.Second)
	defer cancel()
	parked, err := g.parked(calling, p)
	if err == nil && len(parked) > 0 {
		at := parked[d.intN(len(parked))]
		switch d.intN(4) {
		case 0:
			g.history.Discarding(at)
			_, err = p.DiscardParked(calling, &streamv1.DiscardParkedRequest{Group: g.name, Positions: []uint64{uint64(at)}})
		case 1:
			_, err = p.ReplayParked(calling, &streamv1.ReplayParkedRequest{Group: g.name})
		default:
			_, err = p.ReplayParked(calling, &streamv1.ReplayParkedRequest{Group: g.name, Positions: []uint64{uint64(at)}})
		}
	}
	if err != nil && p.alive.Err() == nil && status.Code(err) != codes.NotFound { // It was acknowledged meanwhile.
		g.ended("letters", err)
	}
}

// parked returns the positions of the group's dead letters, page by page.
func (g *group) parked(ctx context.Context, p *process) (all []sinks.Position, err error) {
	r := &streamv1.ListParkedRequest{Group: g.name, PageSize: uint32(1 + g.driver.intN(20))}
	for {
		page, err := p.ListParked(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetEvents() {
			at := sinks.Position(e.GetPosition())
			if len(all) > 0 && at <= all[len(all)-1] {
				g.history.Breach("%s: parked events are listed at %d and %d", g.name, all[len(all)-1], at)
			}
			if g.driver.world.position(e.GetEvent().GetId()) != at {
				g.history.Breach("%s: the event at %d is parked as %v", g.name, at, e.GetEvent())
			}
			all = append(all, at)
		}
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
			return all, nil
		}
	}
}

// observe looks at the groups again and again: their positions only grow.
func (d *driver) observe(ctx context.Context) {
	for !d.isDone() {
		d.sleep(3 * time.Second)
		p := d.anyProcess(ctx)
		if p == nil {
			return
		}
		for _, g := range d.groups {
			calling, cancel := context.WithTimeout(p.alive, 10*time.Second)
			if got, err := p.GetGroup(calling, &streamv1.GetGroupRequest{Group: g.name}); err == nil && p.alive.Err() == nil {
				g.history.Position(g.name, sinks.Position(got.GetGroup().GetPosition()))
			}
			cancel()
		}
	}
}
