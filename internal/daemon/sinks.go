package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/dispatch"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// claimRetry is how long to wait when a claim cannot be had now.
const claimRetry = time.Second

// push delivers to one configured sink: whenever it has the claim, it opens the sink's lanes and runs a dispatcher.
type push struct {
	cfg      config.Sink
	plugins  Plugins
	journal  journalReader
	grace    time.Duration
	log      *slog.Logger
	counters dispatch.Counters

	mu sync.Mutex
	// lanes are the opened sinks, one for each of the dispatcher's lanes.
	lanes []sinks.Sink
	// dispatcher is nil while there is no claim.
	dispatcher *dispatch.Dispatcher
}

// journalReader is the part of the journal that deliveries need.
type journalReader interface {
	dispatch.Log
	journal.Claims
}

func (p *push) name() string { return p.cfg.Name }

// register makes the sink's cursor known to the journal, which holds retention back from then on.
func (p *push) register(ctx context.Context) error {
	from, full := p.journal.Bounds().Earliest, journal.Hold
	if p.cfg.Latest {
		from = p.journal.Bounds().Next
	}
	if p.cfg.Skip {
		full = journal.Skip
	}
	if err := p.journal.Register(ctx, p.name(), from, full); err != nil {
		return fmt.Errorf("sink %s: %w", p.name(), err)
	}
	return nil
}

// openRequired opens the lanes of a required sink. Otherwise the lanes are opened when events come for them: opening may take
// long, and vendors do not wait for it.
func (p *push) openRequired(ctx context.Context) error {
	for range p.cfg.Concurrency {
		if !p.cfg.Required {
			break
		}
		lane, err := p.plugins.openSink(ctx, p.cfg)
		if err != nil {
			p.close()
			return fmt.Errorf("sink %s: %w", p.name(), err)
		}
		p.lanes = append(p.lanes, lane)
	}
	return nil
}

// run claims the sink and delivers until ctx is done. When the claim is lost, because an operator paused or moved the sink
// for example, it claims the sink again.
func (p *push) run(ctx context.Context) error {
	for {
		err := p.runOnce(ctx)
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.Is(err, journal.ErrLost)):
			return nil
		case errors.Is(err, sinks.ErrClosed), err != nil && ctx.Err() != nil:
			return fmt.Errorf("sink %s: %w", p.name(), err)
		case errors.Is(err, journal.ErrLost):
			p.log.Info("sink is claimed again", "sink", p.name())
			continue
		case err != nil:
			p.log.Warn("sink cannot be claimed now", "sink", p.name(), "error", err)
		}
		select {
		case <-time.After(claimRetry):
		case <-ctx.Done():
			return nil
		}
	}
}

// runOnce delivers for as long as one claim lasts. The claim is released after the lanes are closed: no two holders deliver
// at once.
func (p *push) runOnce(ctx context.Context) (err error) {
	if err := p.register(ctx); err != nil {
		return err
	}
	claim, err := p.journal.Claim(ctx, p.name())
	if err != nil {
		return err
	}
	defer func() { _ = claim.Release(context.WithoutCancel(ctx)) }()
	defer p.close()
	d, err := p.newDispatcher(claim)
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

func (p *push) newDispatcher(claim journal.Claim) (*dispatch.Dispatcher, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.lanes) < p.cfg.Concurrency {
		p.lanes = append(p.lanes, newLazySink(func(ctx context.Context) (sinks.Sink, error) { return p.plugins.openSink(ctx, p.cfg) }))
	}
	d, err := dispatch.New(dispatch.Config{
		Name:        p.name(),
		Log:         p.journal,
		Claim:       claim,
		Sinks:       p.lanes,
		Counters:    &p.counters,
		Batch:       dispatch.Batch{Count: p.cfg.Batch.Count, Bytes: p.cfg.Batch.Bytes, Delay: p.cfg.Batch.Delay},
		Backoff:     dispatch.Backoff{Min: p.cfg.BackoffMin, Max: p.cfg.BackoffMax},
		StrictOrder: p.cfg.StrictOrder,
		Grace:       p.grace,
		Logger:      p.log,
	})
	p.dispatcher = d
	return d, err
}

// close closes the lanes. The next claim opens others.
func (p *push) close() {
	p.mu.Lock()
	lanes := p.lanes
	p.lanes, p.dispatcher = nil, nil
	p.mu.Unlock()
	for _, s := range lanes {
		_ = s.Close()
	}
}

func (p *push) running() *dispatch.Dispatcher {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dispatcher
}

// stats returns the state of the deliveries. While there are none, the sink stands at the given position.
func (p *push) stats(ctx context.Context, at sinks.Position) (s dispatch.Stats, running bool) {
	if d := p.running(); d != nil {
		return d.Stats(), true
	}
	s = p.counters.Stats()
	s.Position = at
	s.LagEvents, s.Lag = dispatch.Lag(ctx, p.journal, at)
	return s, false
}

// forOperators describes the sink to the operator's service.
func (p *push) forOperators() admin.Sink {
	return admin.Sink{
		Name:        p.name(),
		Kind:        p.cfg.Kind(),
		StrictOrder: p.cfg.StrictOrder,
		State: func() (state admin.SinkState, running bool) {
			d := p.running()
			if d == nil {
				return state, false
			}
			s := d.Stats()
			state.Breaker = s.Breaker.String()
			for _, b := range s.Blocked {
				state.Blocked = append(state.Blocked, admin.BlockedEvent(b))
			}
			return state, true
		},
	}
}
