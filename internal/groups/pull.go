package groups

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// pullIdle is how long after the last pull this instance stops being a member, if nothing is outstanding, and pullCheck how often that is looked at.
	pullIdle  = time.Minute
	pullCheck = 10 * time.Second
	// pullLook is how long a pull that does not wait may look for events in the log.
	pullLook = time.Second
	// pullLabel is the label of the member of all pulls.
	pullLabel = "pull"
)

// puller is the member of all pulls of a group at this instance.
type puller struct {
	// turn is held by the pull that is being served. It guards the member.
	turn   chan struct{}
	member *Member
	last   time.Time
}

// Pull returns deliveries to the pulls of this instance, which are one member together, within a budget. It waits for the first one as long as wait says. lag is how
// many positions lie between the group's position and the log's end. Request.Label is not used. Errors: those of Join and Next.
func (m *Manager) Pull(ctx context.Context, req Request, b Budget, wait time.Duration) (deliveries []Delivery, lag uint64, err error) {
	r, err := m.running(ctx)
	if err != nil {
		return nil, 0, err
	}
	end := time.Now().Add(wait)
	p, err := r.takePuller(ctx, req.Group, wait)
	if err != nil {
		return nil, r.lag(req.Group), ctx.Err() // Another pull waits, so there is nothing.
	}
	defer func() { <-p.turn }()
	if err := r.pullMember(ctx, p, req); err != nil {
		return nil, 0, joinError(err)
	}
	defer func() { p.last = m.cfg.Now() }()
	waiting, cancel := context.WithTimeout(ctx, max(time.Until(end), pullLook))
	defer cancel()
	for {
		batch, err := p.member.next(waiting, b, wait > 0)
		switch {
		case len(batch.Deliveries) > 0:
			return batch.Deliveries, p.member.Status().Lag, nil
		case err != nil && waiting.Err() != nil && ctx.Err() == nil, err == nil && wait <= 0 && !batch.CaughtUp && !batch.FellBehind:
			return nil, p.member.Status().Lag, nil
		case err != nil:
			return nil, 0, err
		}
	}
}

// lag returns how many positions lie between a group's position, as far as it is known here, and the log's end.
func (r *run) lag(group string) uint64 {
	g, next := r.group(group), r.manager.cfg.Log.Bounds().Next
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.position(); p != 0 && p < next {
		return uint64(next - p)
	}
	return 0
}

// takePuller waits for the turn of a pull.
func (r *run) takePuller(ctx context.Context, group string, wait time.Duration) (*puller, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		p := r.puller(group)
		if err := p.take(ctx, wait > 0); err != nil {
			return nil, err
		}
		if r.puller(group) == p {
			return p, nil
		}
		<-p.turn // It has left the group meanwhile.
	}
}

func (r *run) puller(group string) *puller {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pullers[group]
	if p == nil {
		p = &puller{turn: make(chan struct{}, 1), last: r.manager.cfg.Now()}
		r.pullers[group] = p
	}
	return p
}

// take waits for the pull's turn. Without wait it fails when another pull has it.
func (p *puller) take(ctx context.Context, wait bool) error {
	select {
	case p.turn <- struct{}{}:
		return nil
	default:
	}
	if !wait {
		return errBusy
	}
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errBusy = errors.New("another pull waits")

// pullMember joins the group unless this instance is a member already, and checks that the request is for it.
func (r *run) pullMember(ctx context.Context, p *puller, req Request) error {
	if p.member != nil && p.member.ended() {
		_ = p.member.Leave(ctx) // What is outstanding has ended with it.
		p.member = nil
	}
	if p.member == nil {
		req.Label = pullLabel
		m, err := r.join(ctx, req, true)
		if err != nil {
			return err
		}
		p.member = m
		return nil
	}
	if p.member.group.agrees(req) {
		return nil
	}
	state, def, err := r.manager.ensure(ctx, req)
	if err != nil {
		return err
	}
	g := p.member.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.redefine(def, state.Version)
	return nil
}

// agrees reports whether a request asks for the group as it is.
func (g *group) agrees(req Request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return (req.Filter == nil || string(req.Filter) == string(g.def.filter)) && (req.Policy == nil || req.Policy.WithDefaults() == g.def.policy)
}

// ended reports whether the member has ended.
func (m *Member) ended() bool {
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	return m.err != nil
}

// leaveIdlePulls ends the membership of pulls that are long ago.
func (r *run) leaveIdlePulls() {
	r.mu.Lock()
	idle := map[string]*puller{}
	for name, p := range r.pullers {
		if p.take(r.ctx, false) != nil {
			continue
		}
		if r.manager.cfg.Now().Sub(p.last) < pullIdle || p.member != nil && p.member.Status().Outstanding > 0 {
			<-p.turn
			continue
		}
		delete(r.pullers, name)
		idle[name] = p
	}
	r.mu.Unlock()
	for name, p := range idle {
		if p.member != nil {
			leaving, cancel := context.WithTimeout(r.ctx, closeTime)
			if err := p.member.Leave(leaving); err != nil && !errors.Is(err, sinks.ErrClosed) {
				r.manager.cfg.Logger.Warn("the member of pulls did not leave", "group", name, "error", err)
			}
			cancel()
			p.member = nil
		}
		<-p.turn
	}
}
