package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/admin"
	"github.com/webhook-bridge/bridge/internal/config"
	"github.com/webhook-bridge/bridge/internal/dispatch"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/tracing"
	"github.com/webhook-bridge/bridge/sinks"
)

// noteInterval is how often the state of the deliveries is looked at for other replicas.
const noteInterval = time.Second

// push delivers to one configured sink: whenever it has the claim, it opens the sink's lanes and runs a dispatcher.
type push struct {
	plugins  Plugins
	journal  journalReader
	log      *slog.Logger
	counters *dispatch.Counters
	tracer   tracing.Tracer
	// elsewhere says that only another replica may deliver to the sink.
	elsewhere bool

	mu sync.Mutex
	// cfg and grace are the settings, which [push.change] replaces. The name stays.
	cfg   config.Sink
	grace time.Duration
	// reopen ends the dispatcher's run, so that the sink is opened again, under the same claim. It is nil while there is none.
	reopen context.CancelFunc
	// lanes are the opened sinks, one for each of the dispatcher's lanes.
	lanes []sinks.Sink
	// dispatcher is nil while there is no claim.
	dispatcher *dispatch.Dispatcher
}

// journalReader is the part of the journal that deliveries need.
type journalReader interface {
	sinks.Log
	dispatch.Log
	journal.Claims
	// Readers returns the sinks that have a position.
	Readers(ctx context.Context) ([]journal.ReaderState, error)
	// Parked returns a sink's parked events.
	Parked(ctx context.Context, name string, from sinks.Position, limit int) ([]*journalv1.Parked, error)
}

func (p *push) settings() config.Sink {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg
}

func (p *push) name() string { return p.settings().Name }

// origin tells the sink where its events come from.
func (p *push) origin() sinks.Origin { return sinks.Origin{Log: p.journal, Sink: p.name()} }

// register makes the sink's cursor known to the journal, which holds retention back from then on.
func (p *push) register(ctx context.Context) error {
	return p.registerAs(ctx, p.settings())
}

// registerAs is register with settings that may not be in effect yet.
func (p *push) registerAs(ctx context.Context, cfg config.Sink) error {
	full := journal.Hold
	if cfg.Skip {
		full = journal.Skip
	}
	from, err := p.start(ctx, cfg)
	if err != nil {
		return fmt.Errorf("sink %s: %w", cfg.Name, err)
	}
	if err := p.journal.Register(ctx, p.name(), from, full); err != nil {
		return fmt.Errorf("sink %s: %w", p.name(), err)
	}
	return nil
}

// openRequired opens the lanes of a required sink. Otherwise the lanes are opened when events come for them: opening may take
// long, and vendors do not wait for it.
func (p *push) openRequired(ctx context.Context) error {
	cfg := p.settings()
	for range cfg.Concurrency {
		if !cfg.Required || p.elsewhere {
			break
		}
		lane, err := p.plugins.openSink(ctx, cfg, p.origin())
		if err != nil {
			p.close()
			return fmt.Errorf("sink %s: %w", p.name(), err)
		}
		p.lanes = append(p.lanes, lane)
	}
	return nil
}

// run claims the sink and delivers until ctx is done. When the claim is lost, because an operator paused or moved the sink, or the
// journal was away, it claims the sink again.
func (p *push) run(ctx context.Context) error {
	if p.elsewhere {
		p.log.Info("sink is for another replica", "sink", p.name(), "replica", p.settings().Replica)
		<-ctx.Done() // Until then it counts as one of this server's sinks, also for retention.
		return nil
	}
	backoff := claimBackoff{log: p.log, what: []any{"sink", p.name()}}
	for {
		backoff.begin()
		err := p.runOnce(ctx, &backoff)
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err()) || errors.Is(err, journal.ErrLost) || errors.Is(err, journal.ErrUnavailable) || errors.Is(err, sinks.ErrFenced)):
			return nil
		case errors.Is(err, sinks.ErrClosed), err != nil && ctx.Err() != nil:
			return fmt.Errorf("sink %s: %w", p.name(), err)
		case errors.Is(err, journal.ErrLost):
			p.log.Info("the claim of the sink is lost", "sink", p.name())
			backoff.lost()
		case errors.Is(err, sinks.ErrFenced):
			p.log.Warn("another opening of the sink has taken its destination over; opening the sink again", "sink", p.name())
			backoff.lost()
		case err != nil:
			backoff.failed(err)
		}
		if !backoff.pause(ctx) {
			return nil
		}
	}
}

// runOnce delivers for as long as one claim lasts. The claim is released after the lanes are closed: no two holders deliver
// at once.
func (p *push) runOnce(ctx context.Context, backoff *claimBackoff) (err error) {
	if err := p.register(ctx); err != nil {
		return err
	}
	claim, err := p.journal.Claim(ctx, p.name())
	if err != nil {
		return err
	}
	backoff.begin()
	backoff.recovered()
	defer func() { _ = claim.Release(context.WithoutCancel(ctx)) }()
	for {
		err := p.deliver(ctx, claim)
		if err != nil || ctx.Err() != nil {
			return err
		}
		p.log.Info("the sink has new settings, and is opened again", "sink", p.name())
	}
}

// deliver opens the sink, and delivers until the claim is lost, ctx is done, or the settings change.
func (p *push) deliver(ctx context.Context, claim journal.Claim) error {
	ctx, reopen := context.WithCancel(ctx)
	defer reopen()
	defer p.close()
	d, err := p.newDispatcher(claim, reopen)
	if err != nil {
		return err
	}
	telling, stop := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() { p.tell(telling, claim, d) })
	defer teller.Wait()
	defer stop()
	return d.Run(ctx)
}

// change gives the sink other settings. A dispatcher that runs ends as at a shutdown: the delivery under way ends, and the cursor is saved. Then
// the sink is closed, and opened with the new settings. The claim stays.
func (p *push) change(cfg config.Sink, grace time.Duration) {
	p.mu.Lock()
	p.cfg, p.grace = cfg, grace
	var stale []sinks.Sink
	if p.reopen != nil {
		p.reopen()
	} else {
		stale, p.lanes = p.lanes, nil // opened for a claim that is still to come
	}
	p.mu.Unlock()
	closeAll(stale)
}

// tell keeps the claim's note up to date, so that operators see the state of the deliveries at each replica, until ctx is done.
func (p *push) tell(ctx context.Context, claim journal.Claim, d *dispatch.Dispatcher) {
	tick := time.NewTicker(noteInterval)
	defer tick.Stop()
	last := claim.Note()
	for {
		note, err := proto.MarshalOptions{Deterministic: true}.Marshal(noteOf(d))
		if err == nil && !bytes.Equal(note, last) {
			err = claim.SaveNote(ctx, note)
		}
		switch {
		case err == nil:
			last = note
		case errors.Is(err, journal.ErrLost), errors.Is(err, sinks.ErrClosed), ctx.Err() != nil:
			return
		default:
			p.log.Debug("the state of a sink cannot be told to other replicas", "sink", p.name(), "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func noteOf(d *dispatch.Dispatcher) *journalv1.SinkNote {
	breaker, blocked := d.State()
	note := &journalv1.SinkNote{Breaker: breaker.String(), Problem: d.Problem()}
	for _, b := range blocked {
		note.Blocked = append(note.Blocked, &journalv1.BlockedEvent{
			Position: uint64(b.Position), Reason: b.Reason, Since: timestamppb.New(b.Since), PastEnd: b.PastEnd,
		})
	}
	return note
}

// newDispatcher makes a dispatcher with the settings that are in effect. The function reopen ends its run.
func (p *push) newDispatcher(claim journal.Claim, reopen context.CancelFunc) (*dispatch.Dispatcher, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cfg := p.cfg
	origin := sinks.Origin{Log: p.journal, Sink: cfg.Name}
	for len(p.lanes) < cfg.Concurrency {
		p.lanes = append(p.lanes, newLane(p.plugins.resumes(cfg), func(ctx context.Context) (sinks.Sink, error) {
			return p.plugins.openSink(ctx, cfg, origin)
		}))
	}
	choose, err := choiceOf(cfg)
	if err != nil {
		return nil, err
	}
	d, err := dispatch.New(dispatch.Config{
		Name:        cfg.Name,
		Choose:      choose,
		Log:         p.journal,
		Parked:      p.journal.Parked,
		Claim:       claim,
		Sinks:       p.lanes,
		Counters:    p.counters,
		Batch:       dispatch.Batch{Count: cfg.Batch.Count, Bytes: cfg.Batch.Bytes, Delay: cfg.Batch.Delay},
		Backoff:     dispatch.Backoff{Min: cfg.BackoffMin, Max: cfg.BackoffMax},
		StrictOrder: cfg.StrictOrder,
		Grace:       p.grace,
		Logger:      p.log,
		Tracer:      p.tracer,
		System:      cfg.Kind(),
	})
	p.dispatcher, p.reopen = d, reopen
	return d, err
}

// close closes the lanes. The next claim opens others.
func (p *push) close() {
	p.mu.Lock()
	lanes := p.lanes
	p.lanes, p.dispatcher, p.reopen = nil, nil, nil
	p.mu.Unlock()
	closeAll(lanes)
}

func closeAll(lanes []sinks.Sink) {
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
	cfg := p.settings()
	choose, _ := choiceOf(cfg) // The configuration's check has compiled the route.
	return admin.Sink{
		Choose:      choose,
		Name:        cfg.Name,
		Kind:        cfg.Kind(),
		StrictOrder: cfg.StrictOrder,
		State: func() *journalv1.SinkNote {
			if d := p.running(); d != nil {
				return noteOf(d)
			}
			return nil
		},
	}
}
