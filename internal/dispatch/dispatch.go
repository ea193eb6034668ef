package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/webhook-bridge/bridge/sinks"
)

// ErrNotHeld means that no refused event is waited for at the position.
var ErrNotHeld = errors.New("dispatch: no event is held there")

// Dispatcher carries events to one sink. Its methods are safe for concurrent use.
type Dispatcher struct {
	cfg      Config
	lanes    []*lane
	progress *progress

	delivered, retries, parked, skipped atomic.Uint64

	// gaps is held while one is recorded.
	gaps sync.Mutex
	// saved is the cursor's position, and unsaved counts deliveries since. enough has room for one value, and holds it
	// when unsaved has reached its limit.
	saved   sinks.Position
	unsaved atomic.Uint64
	enough  chan struct{}

	mu sync.Mutex
	// held are the refused events that lanes stand before, by position.
	held map[sinks.Position]*held
}

// held is a refused event that may not be overtaken.
type held struct {
	reason string
	since  time.Time
	// pass is closed when the event is given up.
	pass chan struct{}
}

// New returns a dispatcher that starts at the cursor's position. It opens nothing and starts nothing.
func New(cfg Config) (*Dispatcher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	from := max(cfg.Cursor.Position(), 1)
	d := &Dispatcher{
		cfg:      cfg,
		progress: newProgress(len(cfg.Sinks), from),
		saved:    from,
		enough:   make(chan struct{}, 1),
		held:     map[sinks.Position]*held{},
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
// Errors: that of a log or a sink that was closed meanwhile, and that of the last save of the cursor, which then stands
// where it was.
func (d *Dispatcher) Run(ctx context.Context) error {
	lanes, ctx := errgroup.WithContext(ctx)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	for _, l := range d.lanes {
		lanes.Go(func() error { return l.run(ctx, work) })
	}
	ended := make(chan struct{})
	var aides sync.WaitGroup
	aides.Go(func() { d.keep(ended) })
	aides.Go(func() { cutOff(ctx, ended, d.cfg.Grace, cancel) })
	err := lanes.Wait()
	close(ended)
	aides.Wait()
	return errors.Join(err, d.save())
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

// keep saves the cursor while the lanes move.
func (d *Dispatcher) keep(ended <-chan struct{}) {
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
		err := d.save()
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
func (d *Dispatcher) save() error {
	lowest, _ := d.progress.get()
	if lowest == d.saved {
		return nil
	}
	d.unsaved.Store(0)
	if err := d.cfg.Cursor.Save(lowest); err != nil {
		return fmt.Errorf("dispatch: save cursor of %s: %w", d.cfg.Name, err)
	}
	d.saved = lowest
	return nil
}

// count counts deliveries.
func (d *Dispatcher) count(n int) {
	d.delivered.Add(uint64(n))
	if d.unsaved.Add(uint64(n)) < d.cfg.SaveEvents {
		return
	}
	select {
	case d.enough <- struct{}{}:
	default:
	}
}

// recordGap keeps in mind that events are left out, and returns how many that adds.
func (d *Dispatcher) recordGap(from, to sinks.Position) (uint64, error) {
	d.gaps.Lock()
	defer d.gaps.Unlock()
	fresh, err := d.cfg.Log.RecordGap(d.cfg.Name, from, to)
	if err != nil {
		return 0, err
	}
	d.skipped.Add(fresh)
	return fresh, nil
}

// Pass gives up on a refused event that [Config.StrictOrder] holds at p: it is parked, and its lane goes on, soon after.
// Errors: ErrNotHeld.
func (d *Dispatcher) Pass(p sinks.Position) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[p]
	if h == nil {
		return fmt.Errorf("%w: %d", ErrNotHeld, p)
	}
	select {
	case <-h.pass:
	default:
		close(h.pass)
	}
	return nil
}

// hold notes that an event is refused and not passed. It reports whether that is new.
func (d *Dispatcher) hold(p sinks.Position, reason error) (pass <-chan struct{}, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.held[p]
	if fresh = h == nil; fresh {
		h = &held{since: time.Now(), pass: make(chan struct{})}
		d.held[p] = h
	}
	h.reason = reason.Error()
	return h.pass, fresh
}

// letGo forgets a held event that was taken after all, or parked.
func (d *Dispatcher) letGo(p sinks.Position) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, p)
}
