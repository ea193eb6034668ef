package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Config has the parts and the limits of a [Manager]. Groups, Letters, Log and Compile have no default.
type Config struct {
	Groups  journal.Groups
	Letters journal.DeadLetters
	Log     sinks.Log
	// Compile makes the predicate of a filter in its canonical form; the empty one passes all events. It is called for each member.
	Compile func(filter []byte) (Predicate, error)
	// MaxGroups is how many groups there may be, MaxMembers how many members a group may have. Default 10,000 and 1,000.
	MaxGroups, MaxMembers int
	// IdleSave is how often positions are written that moved because nothing passed the filter. Default 5 s.
	IdleSave time.Duration
	// Handed is called with the deliveries of each batch before a member gets it: they are outstanding. For tests, which learn so in which order
	// deliveries begin. Nil: nobody asks.
	Handed func(group, member string, deliveries []Delivery)
	// Logger gets gaps and failures, never an event's content. Default is none.
	Logger *slog.Logger
	// Now is the clock. Default is the computer's.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	orDefault(&c.MaxGroups, 10_000)
	orDefault(&c.MaxMembers, 1000)
	orDefault(&c.IdleSave, 5*time.Second)
	orDefault(&c.Logger, slog.New(slog.DiscardHandler))
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) check() error {
	if c.Groups == nil || c.Letters == nil || c.Log == nil || c.Compile == nil {
		return errors.New("groups: new: groups, letters, log and compile must be given")
	}
	return nil
}

// Manager runs the groups' members at this instance. It is safe for concurrent use.
type Manager struct {
	cfg Config

	mu       sync.Mutex
	run      *run
	changed  chan struct{} // Closed and replaced when run, draining or closed changes.
	draining bool
	closed   bool
	counted  map[string]*counters
	others   counters
	ended    sync.WaitGroup // The goroutines of sessions that were lost.
}

// New returns a manager. It does nothing before Run.
func New(cfg Config) (*Manager, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Manager{cfg: cfg.withDefaults(), changed: make(chan struct{}), counted: map[string]*counters{}}, nil
}

const (
	minEnlistPause = 100 * time.Millisecond
	maxEnlistPause = 5 * time.Second
	// closeTime is how long the end may take: to write what is not written, and to give back the shares.
	closeTime = 5 * time.Second
)

// Run runs the manager until ctx is done, then ends its members, writes what became of their deliveries, and gives back their shares. It may be
// called once. Its error is that of the last step.
func (m *Manager) Run(ctx context.Context) error {
	defer m.ended.Wait()
	defer m.setRun(nil, true)
	pause := minEnlistPause
	for ctx.Err() == nil {
		session, err := m.cfg.Groups.Enlist(ctx)
		if err != nil {
			if ctx.Err() == nil {
				m.cfg.Logger.Warn("groups wait for the journal", "error", err)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, maxEnlistPause)
			continue
		}
		pause = minEnlistPause
		r := newRun(ctx, m, session)
		m.setRun(r, false)
		if lost := r.watch(ctx); lost {
			m.cfg.Logger.Warn("the right to the groups' shares was lost, and is asked for again")
			m.setRun(nil, false)
			m.ended.Go(r.abandon)
			continue
		}
		m.setRun(nil, true)
		return r.close(ctx)
	}
	return nil
}

func (m *Manager) setRun(r *run, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.run, m.closed = r, closed
	m.notify()
}

func (m *Manager) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// running returns the session's run, and waits for one. Errors: [ErrDrained], sinks.ErrClosed, ctx's.
func (m *Manager) running(ctx context.Context) (*run, error) {
	for {
		m.mu.Lock()
		r, changed, draining, closed := m.run, m.changed, m.draining, m.closed
		m.mu.Unlock()
		switch {
		case closed:
			return nil, sinks.ErrClosed
		case draining:
			return nil, ErrDrained
		case r != nil:
			return r, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// local returns the run, or nil.
func (m *Manager) local() *run {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.run
}

// Drain ends each member's Next with [ErrDrained], and lets nobody join. Answers are taken until the members leave.
func (m *Manager) Drain() {
	m.mu.Lock()
	m.draining = true
	r := m.run
	m.notify()
	m.mu.Unlock()
	if r != nil {
		r.drain()
	}
}

// run is the manager's work in one session.
type run struct {
	manager *Manager
	session journal.Session
	ctx     context.Context // Of the groups' goroutines.
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu      sync.Mutex
	groups  map[string]*group
	pullers map[string]*puller
	// draining lets no member come, closed lets no group begin.
	draining, closed bool
	// count is about how many groups there are. A group's lock may be held to read it, mu may not.
	count atomic.Int64
}

func newRun(ctx context.Context, m *Manager, session journal.Session) *run {
	r := &run{manager: m, session: session, groups: map[string]*group{}, pullers: map[string]*puller{}}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return r
}

// watch passes on that something changed. It returns true when the session is lost, and false when ctx is done.
func (r *run) watch(ctx context.Context) (lost bool) {
	idle := time.NewTicker(pullCheck)
	defer idle.Stop()
	for {
		select {
		case <-r.session.Lost():
			return true
		case <-r.session.Changed():
			if all := r.all(); len(all) <= maxHinted {
				for _, g := range all {
					signal(g.poke)
				}
			}
		case <-idle.C:
			r.leaveIdlePulls()
		case <-ctx.Done():
			return false
		}
	}
}

func (r *run) all() []*group {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*group, 0, len(r.groups))
	for _, g := range r.groups {
		all = append(all, g)
	}
	return all
}

func (r *run) group(name string) *group {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.groups[name]
}

// spread makes an interval longer while there are many groups, so that their writes stay few.
func (r *run) spread(d time.Duration) time.Duration {
	return d * time.Duration(1+r.count.Load()/20)
}

// closeIfIdle forgets a group that has no members, no shares, and nothing to write.
func (r *run) closeIfIdle(g *group) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) > 0 || len(g.dirty) > 0 {
		return false
	}
	for _, s := range g.shares {
		if s != nil {
			return false
		}
	}
	if r.groups[g.name] == g {
		delete(r.groups, g.name)
	}
	r.count.Store(int64(len(r.groups)))
	g.err = ErrLeft
	g.stop()
	return true
}

// forget ends the goroutines of a group that was deleted.
func (r *run) forget(g *group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups[g.name] == g {
		delete(r.groups, g.name)
	}
	r.count.Store(int64(len(r.groups)))
	g.stop()
}

func (r *run) drain() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	for _, g := range r.all() {
		g.mu.Lock()
		for _, m := range g.members {
			m.end(ErrDrained)
		}
		g.assign(g.all)
		g.mu.Unlock()
	}
}

// abandon ends everything of a session that was lost.
func (r *run) abandon() {
	groups := r.shut()
	for _, g := range groups {
		g.end(ErrLost)
	}
	r.cancel()
	r.done.Wait()
	closing, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeTime)
	defer cancel()
	_ = r.session.Close(closing) // It is lost anyhow.
}

// shut lets no group begin, and returns those that have begun.
func (r *run) shut() []*group {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	return r.all()
}

// close ends the members, writes what is not written, and ends the session.
func (r *run) close(ctx context.Context) error {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	groups := r.shut()
	for _, g := range groups {
		g.mu.Lock()
		for _, m := range g.members {
			m.end(sinks.ErrClosed)
			g.giveBack(m)
		}
		g.assign(nil)
		g.mu.Unlock()
	}
	r.cancel()
	r.done.Wait()
	var errs []error
	for _, g := range groups {
		for g.hasDirty() {
			if err := g.save(closing); err != nil {
				errs = append(errs, fmt.Errorf("groups: close group %s: %w", g.name, err))
				break
			}
		}
		g.end(sinks.ErrClosed)
	}
	if err := r.session.Close(closing); err != nil {
		errs = append(errs, fmt.Errorf("groups: close: %w", err))
	}
	return errors.Join(errs...)
}
