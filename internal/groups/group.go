package groups

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// The intervals of a group's own work.
const (
	// tendInterval is how often a group is looked at without a cause. It is longer while there are many groups, but not longer than maxTendInterval.
	tendInterval    = time.Second
	maxTendInterval = 5 * time.Second
	// maxHinted is up to how many groups are looked at at once when the journal says that something has changed.
	maxHinted = 50
	// The pause between two looks at a group is tendRest times as long as a look, within these bounds, so that many members that join at once
	// cost few looks.
	minTendPause, maxTendPause = 5 * time.Millisecond, 100 * time.Millisecond
	tendRest                   = 10
	// noteInterval is how often a member's note is written, if it changed. A look writes at most maxNotes.
	noteInterval = 5 * time.Second
	maxNotes     = 50
	// pullPoll is how old a delivery to the pulls of this server must be before the group looks for an acknowledgement at another server.
	pullPoll = time.Second
)

// group is a group that has members at this instance, by one session.
type group struct {
	name    string
	run     *run
	store   journal.Groups
	letters journal.DeadLetters
	events  sinks.Log
	logger  *slog.Logger
	now     func() time.Time
	counts  *counters
	stop    context.CancelFunc

	saveSignal, timerSignal, poke chan struct{}

	mu      sync.Mutex
	err     error // Why the group ended here.
	def     definition
	version uint64
	members map[string]*Member
	// all are the ids of the members of all instances, as last seen, in order.
	all    []string
	owners []int // Their indexes by share.
	shares [journal.GroupShares]*share
	dirty  map[*share]struct{}
	timers timerHeap
	// looked is closed and replaced after each look at the stored group.
	looked chan struct{}
	// losses and replayed count what makes an earlier look at the store useless.
	losses, replayed uint64
	// elsewhere is the lowest position of the shares of other instances.
	elsewhere   sinks.Position
	elsewhereAt time.Time
	idleAt      time.Time
	letterScan  letterScan
	missed      ranges // What was passed over here, for the counts.
	failing     bool   // The last look did not succeed. It belongs to the tender.
}

func newGroup(r *run, name string, def definition, version uint64) *group {
	m := r.manager
	return &group{
		name: name, run: r, store: m.cfg.Groups, letters: m.cfg.Letters, events: m.cfg.Log, logger: m.cfg.Logger, now: m.cfg.Now,
		counts: m.countersOf(name), def: def, version: version,
		saveSignal: make(chan struct{}, 1), timerSignal: make(chan struct{}, 1), poke: make(chan struct{}, 1),
		members: map[string]*Member{}, dirty: map[*share]struct{}{}, looked: make(chan struct{}),
	}
}

// begin starts the group's goroutines.
func (g *group) begin(ctx context.Context) {
	ctx, g.stop = context.WithCancel(ctx)
	g.run.done.Go(func() { g.saver(ctx) })
	g.run.done.Go(func() { g.timekeeper(ctx) })
	g.run.done.Go(func() { g.tender(ctx) })
}

// lost reports whether the session can no longer be relied on.
func (g *group) lost() bool {
	select {
	case <-g.run.session.Lost():
		return true
	default:
		return false
	}
}

// end ends all members with an error, and gives up the shares without writing.
func (g *group) end(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	for _, m := range g.members {
		m.end(err)
	}
	for _, s := range g.shares {
		if s != nil {
			g.lose(s)
		}
	}
	close(g.looked) // Who joins learns that it has ended.
	g.looked = make(chan struct{})
}

// end ends the member's Next. The group's lock is held.
func (m *Member) end(err error) {
	if m.err == nil {
		m.err = err
	}
	m.wake()
}

// timekeeper lets waiting items go on, and fails deliveries whose deadline has passed.
func (g *group) timekeeper(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(g.expire())
		select {
		case <-timer.C:
		case <-g.timerSignal:
		case <-ctx.Done():
			return
		}
	}
}

// expire handles the items whose time has come, and returns how long to wait for the next one.
func (g *group) expire() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for len(g.timers) > 0 {
		it := g.timers[0]
		if left := it.due.Sub(now); left > 0 {
			return left
		}
		if it.phase == outstanding {
			g.fail(it, "it was not acknowledged in time", nil, nil, "")
		} else {
			it.notBefore = time.Time{}
			g.activate(it)
		}
	}
	return time.Hour
}

// tender looks after the group: its shares, its notes, its replays.
func (g *group) tender(ctx context.Context) {
	tick := time.NewTimer(tendInterval)
	defer tick.Stop()
	for {
		began := time.Now()
		if !g.tend(ctx) {
			return
		}
		pause := min(max(g.run.spread(tendRest*time.Since(began)), minTendPause), maxTendPause)
		g.sleep(ctx, pause)
		tick.Reset(min(g.run.spread(tendInterval), maxTendInterval) - pause)
		select {
		case <-tick.C:
		case <-g.poke:
		case <-ctx.Done():
			return
		}
	}
}

// tend reports whether the group goes on.
func (g *group) tend(ctx context.Context) bool {
	if err := g.reconcile(ctx); err != nil {
		if ctx.Err() != nil {
			return false
		}
		if !g.failing {
			g.logger.Warn("a look at a group did not succeed, and is tried again", "group", g.name, "error", err)
		}
		g.failing = true
	} else {
		g.failing = false
	}
	g.mu.Lock()
	close(g.looked)
	g.looked = make(chan struct{})
	ended := g.err != nil
	g.mu.Unlock()
	if ended {
		g.run.forget(g)
	}
	if ended || ctx.Err() != nil {
		return false
	}
	g.saveIdle()
	g.pollPulls()
	g.saveNotes(ctx)
	g.lookElsewhere(ctx)
	return !g.run.closeIfIdle(g)
}

// saveIdle has positions written that moved because nothing passed the filter.
func (g *group) saveIdle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if now.Sub(g.idleAt) < g.run.spread(g.run.manager.cfg.IdleSave) {
		return
	}
	g.idleAt = now
	for _, s := range g.shares {
		if s != nil && s.scan > s.saved {
			s.idle = true
			g.markDirty(s)
		}
	}
}

// pollPulls has the stored state of shares read whose deliveries to pulls may have been acknowledged at another instance.
func (g *group) pollPulls() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for _, m := range g.members {
		if !m.pull {
			continue
		}
		for e := m.sent.Front(); e != nil; e = e.Next() {
			it, _ := e.Value.(*item)
			if now.Sub(it.delivered) < pullPoll {
				break
			}
			it.share.refresh = true
			g.markDirty(it.share)
		}
	}
}

// note is what a member's note said last.
type note struct {
	outstanding int
	oldest      time.Time
}

// saveNotes writes the notes of members that changed.
func (g *group) saveNotes(ctx context.Context) {
	for _, m := range g.changedNotes() {
		encoded, err := encodeNote(m.label, m.noted)
		if err == nil {
			err = g.run.session.Join(ctx, g.name, m.id, encoded)
		}
		if err != nil && ctx.Err() == nil {
			g.logger.Warn("a member's note was not written", "group", g.name, "error", err)
		}
	}
}

func (g *group) changedNotes() []*Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	var changed []*Member
	now := g.now()
	for _, m := range g.members {
		if len(changed) == maxNotes {
			break
		}
		if m.err != nil || !slices.Contains(g.all, m.id) {
			continue // It is not there yet, or leaves.
		}
		if n := m.note(); n != m.noted && now.Sub(m.notedAt) >= g.run.spread(noteInterval) {
			m.noted, m.notedAt = n, now
			changed = append(changed, m)
		}
	}
	return changed
}

func (m *Member) note() note {
	n := note{outstanding: m.sent.Len()}
	if first := m.sent.Front(); first != nil {
		it, _ := first.Value.(*item)
		n.oldest = it.delivered
	}
	return n
}
