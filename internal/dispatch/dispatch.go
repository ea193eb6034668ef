package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Dispatcher delivers events to one sink. Its methods are safe for concurrent use.
type Dispatcher struct {
	cfg      Config
	lanes    []*lane
	progress *progress
	replays  replays
	blocked  blockedEvents

	// saved is the cursor's position, and unsaved counts deliveries since. enough has a buffer for one value; it gets one
	// when unsaved reaches its limit.
	saved   sinks.Position
	unsaved atomic.Uint64
	enough  chan struct{}
	// retrying counts the retries that lanes have not carried out yet.
	retrying atomic.Int64
}

// New returns a dispatcher that starts at the claim's position. It opens nothing and starts nothing.
func New(cfg Config) (*Dispatcher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	from := max(cfg.Claim.Position(), 1)
	d := &Dispatcher{
		cfg:      cfg,
		progress: newProgress(len(cfg.Sinks), from),
		saved:    from,
		enough:   make(chan struct{}, 1),
		blocked:  blockedEvents{all: map[sinks.Position]*blockedEvent{}},
		replays:  replays{ended: map[string]bool{}, changed: make(chan struct{})},
	}
	d.cfg.Logger = cfg.Logger.With("sink", cfg.Name)
	for i, s := range cfg.Sinks {
		d.lanes = append(d.lanes, newLane(d, i, s, from))
	}
	return d, nil
}

// Run delivers until ctx is done, and returns nil then: a Deliver under way has ended, cut off if it took longer than
// [Config.Grace], and the cursor is saved. It is called once.
//
// Errors: [journal.ErrLost] when the claim is lost, after the Deliver under way has ended as above; nothing is saved then.
// [sinks.ErrFenced] likewise: another opening has taken the destination over. Close the sinks, claim again, and open others.
// Otherwise that of a log or a sink that was closed meanwhile, and that of the last save of the cursor, which then stands
// where it was.
func (d *Dispatcher) Run(ctx context.Context) error {
	lanes, ctx := errgroup.WithContext(ctx)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for _, l := range d.lanes {
		lanes.Go(func() error { return l.run(ctx, work) })
	}
	lanes.Go(func() error { return d.awaitLoss(ctx) })
	ended := make(chan struct{})
	var aides sync.WaitGroup
	aides.Go(func() { d.saveOften(ctx, ended) })
	aides.Go(func() { cutOff(ctx, ended, d.cfg.Grace, cancel) })
	aides.Go(func() { d.hearRequests(ctx) })
	aides.Go(func() { d.runReplays(ctx, work) })
	err := lanes.Wait()
	close(ended)
	aides.Wait()
	if errors.Is(err, journal.ErrLost) || errors.Is(err, sinks.ErrFenced) {
		return err
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Grace)
	defer done()
	return errors.Join(err, d.save(last))
}

// awaitLoss waits until ctx is done, or the claim is lost.
func (d *Dispatcher) awaitLoss(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.cfg.Claim.Lost():
		return fmt.Errorf("dispatch: %s: %w", d.cfg.Name, journal.ErrLost)
	}
}

// cutOff cancels the work when it has not ended some time after ctx was done.
func cutOff(ctx context.Context, ended <-chan struct{}, grace time.Duration, cancel func()) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-t.C:
		cancel()
	case <-ended:
	}
}

// saveOften saves the cursor regularly, until ctx is done.
func (d *Dispatcher) saveOften(ctx context.Context, ended <-chan struct{}) {
	for failed := false; ; {
		select {
		case <-d.progress.moved:
		case <-ended:
			return
		}
		t := time.NewTimer(d.cfg.SaveInterval)
		select {
		case <-t.C:
		case <-d.enough:
		case <-ended:
			t.Stop()
			return // Run saves
		}
		t.Stop()
		err := d.save(ctx)
		if ctx.Err() != nil {
			return // Run saves
		}
		if err != nil {
			d.progress.again()
		}
		if err != nil && !failed {
			d.cfg.Logger.Warn("dispatch: the cursor cannot be saved; what is delivered meanwhile may be repeated", "error", err)
		}
		failed = err != nil
	}
}

// save makes the lowest position durable. It is called by one goroutine at a time.
func (d *Dispatcher) save(ctx context.Context) error {
	lowest, _ := d.progress.get()
	if lowest == d.saved {
		return nil
	}
	d.unsaved.Store(0)
	if err := d.cfg.Claim.Save(ctx, lowest); err != nil {
		return fmt.Errorf("dispatch: save cursor of %s: %w", d.cfg.Name, err)
	}
	d.saved = lowest
	return nil
}

// countDelivered counts deliveries, and signals that the cursor must be saved after many.
func (d *Dispatcher) countDelivered(n int) {
	d.cfg.Counters.delivered.Add(uint64(n))
	if d.unsaved.Add(uint64(n)) < d.cfg.SaveEvents {
		return
	}
	select {
	case d.enough <- struct{}{}:
	default:
	}
}

// persist calls write until it succeeds. Errors: ErrLost, sinks.ErrClosed, ctx's.
func (d *Dispatcher) persist(ctx, work context.Context, what string, p sinks.Position, write func(context.Context) error) error {
	for failures := 1; ; failures++ {
		err := write(work)
		if err == nil || errors.Is(err, sinks.ErrClosed) || errors.Is(err, journal.ErrLost) {
			return err
		}
		d.cfg.Logger.Error("dispatch: the journal cannot be written", "record", what, "position", p, "error", err)
		if !pause(ctx, d.wait(failures)) {
			return ctx.Err()
		}
	}
}
