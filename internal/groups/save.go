package groups

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// The pauses of the saver while the journal does not answer.
const (
	minSavePause = 50 * time.Millisecond
	maxSavePause = 5 * time.Second
)

// job is the write of one share.
type job struct {
	share   *share
	changes []*change
	// ok says of each change whether its operation holds on the state that is written.
	ok     []bool
	next   *state
	change journal.ShareChange
	// scan and gaps are the share's at the time of building.
	scan sinks.Position
	gaps ranges
}

// saver writes the group's shares: one write is under way at a time, and the next one has what came meanwhile.
func (g *group) saver(ctx context.Context) {
	pause := minSavePause
	for {
		err := g.save(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, journal.ErrNotFound):
			g.end(ErrNotFound)
			return
		case err != nil:
			g.logger.Warn("the journal does not take what became of deliveries", "group", g.name, "error", err)
			g.sleep(ctx, pause)
			pause = min(2*pause, maxSavePause)
			continue
		}
		pause = minSavePause
		if g.hasDirty() {
			continue
		}
		select {
		case <-g.saveSignal:
		case <-ctx.Done():
			return
		}
	}
}

func (g *group) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (g *group) hasDirty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.dirty) > 0
}

// save writes what there is to write. It returns nil when there is nothing.
func (g *group) save(ctx context.Context) error {
	shares := g.collect()
	if len(shares) == 0 {
		return nil
	}
	if err := g.refresh(ctx, shares); err != nil {
		return err
	}
	if err := g.prepare(ctx, shares); err != nil {
		return err
	}
	jobs, err := g.build(shares)
	if err != nil || len(jobs) == 0 {
		return err
	}
	changes := make([]journal.ShareChange, len(jobs))
	for i, j := range jobs {
		changes[i] = j.change
	}
	saved, err := g.store.SaveShares(ctx, g.name, changes)
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, j := range jobs {
		switch {
		case j.share.gone:
		case err != nil:
			j.share.refresh, j.share.tried = true, j
			g.dirty[j.share] = struct{}{}
			for _, c := range j.changes {
				c.written, c.doubt = false, true
			}
		case saved[i]:
			g.complete(j, j.change.Version+1)
		default:
			j.share.refresh = true
			for _, c := range j.changes {
				c.written = false
			}
			g.dirty[j.share] = struct{}{}
		}
	}
	return err
}

// collect returns the shares that have something to write, with their new changes under way.
func (g *group) collect() []*share {
	g.mu.Lock()
	defer g.mu.Unlock()
	shares := make([]*share, 0, len(g.dirty))
	for s := range g.dirty {
		s.flight = append(s.flight, s.pending...)
		s.pending = nil
		shares = append(shares, s)
	}
	slices.SortFunc(shares, func(a, b *share) int { return a.index - b.index })
	return shares
}

// refresh reads the stored states of the shares that another instance may have written.
func (g *group) refresh(ctx context.Context, shares []*share) error {
	g.mu.Lock()
	var indexes []int
	for _, s := range shares {
		if s.refresh && !s.gone {
			indexes = append(indexes, s.index)
		}
	}
	g.mu.Unlock()
	if len(indexes) == 0 {
		return nil
	}
	stored, err := g.store.Shares(ctx, g.name, indexes)
	if err != nil {
		return err
	}
	parked, err := g.parkedElsewhere(ctx, stored)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, st := range stored {
		if s := g.shares[st.Index]; s != nil && slices.Contains(shares, s) {
			if err := g.adopt(s, st, parked); err != nil {
				return err
			}
		}
	}
	return nil
}

// parkedElsewhere finds out which events are parked of those that ended without this instance, under strict order: one that another instance parked holds
// back the later ones of its subject.
func (g *group) parkedElsewhere(ctx context.Context, stored []journal.Share) (map[sinks.Position]bool, error) {
	parked := map[sinks.Position]bool{}
	g.mu.Lock()
	if g.def.policy.StrictOrder {
		for _, st := range stored {
			s := g.shares[st.Index]
			base, err := decodeState(st.State)
			if s == nil || st.Epoch != s.epoch || st.Version == s.version || err != nil {
				continue
			}
			for _, it := range s.items {
				if it.ordered && base.stale(it) {
					parked[it.position] = false
				}
			}
		}
	}
	g.mu.Unlock()
	for p := range parked {
		letter, err := readParked(ctx, g.letters, g.name, p)
		if err != nil {
			return nil, err
		}
		parked[p] = letter != nil
	}
	return parked, nil
}

// adopt makes a stored state the share's base.
func (g *group) adopt(s *share, stored journal.Share, parked map[sinks.Position]bool) error {
	if stored.Epoch != s.epoch {
		g.lose(s)
		return nil
	}
	s.refresh = false
	if stored.Version == s.version {
		return nil // A write whose result is unknown may still be carried out.
	}
	tried := s.tried
	s.tried = nil
	base, err := decodeState(stored.State)
	if err != nil {
		return err
	}
	if tried != nil && stored.Version == s.version+1 && bytes.Equal(stored.State, tried.change.State) {
		g.complete(tried, stored.Version) // The write whose result was unknown was carried out.
		return nil
	}
	s.base, s.version = base, stored.Version
	var ended []*item
	for _, it := range s.items {
		if !base.stale(it) {
			continue
		}
		if isParked, known := parked[it.position]; known && isParked {
			s.addParked(it.subject, it.position)
		} else if known {
			s.removeParked(it.subject, it.position)
		}
		if it.phase != settling {
			ended = append(ended, it)
		}
	}
	g.letterScan.changes++
	slices.SortFunc(ended, func(a, b *item) int { return cmp.Compare(a.position, b.position) })
	for _, it := range ended {
		g.resolve(it)
	}
	return nil
}

// stale reports whether a state knows more of an event than its item does: another instance was told.
func (s *state) stale(it *item) bool {
	if it.round == 0 {
		return s.isDone(it.position) || s.failed[it.position].attempts >= it.attempt
	}
	f, ok := s.replays[it.position]
	return !ok || f.round != it.round || f.attempts >= it.attempt
}

// build makes the writes of shares, from all that is known now.
func (g *group) build(shares []*share) ([]*job, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	jobs := make([]*job, 0, len(shares))
	for _, s := range shares {
		if s.gone || s.refresh {
			continue
		}
		j, err := s.build()
		if err != nil {
			return nil, err
		}
		if s.releasing && (s.busy > 0 || len(s.pending)+len(s.flight) > len(j.changes)) {
			j.change.Release = false
		}
		delete(g.dirty, s)
		if len(s.pending) > 0 || len(s.flight) > len(j.changes) || s.releasing && !j.change.Release {
			g.dirty[s] = struct{}{}
		}
		if len(j.changes) == 0 && !s.idle && !j.change.Release {
			continue
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// build makes the write of a share: the stored state, changed by what is prepared.
func (s *share) build() (*job, error) {
	j := &job{share: s, next: s.base.clone(), scan: s.scan, gaps: slices.Clone(s.gaps)}
	j.change = journal.ShareChange{Index: s.index, Epoch: s.epoch, Version: s.version, Release: s.releasing}
	for _, gap := range s.gaps {
		j.next.pass(gap.from, gap.to)
	}
	letters := map[sinks.Position]bool{}
	for _, c := range s.flight {
		touches := c.park != nil || c.unpark != 0
		if !c.prepared || touches && letters[c.position] {
			continue // Of one write the journal carries out what parks before what unparks.
		}
		if touches {
			letters[c.position] = true
		}
		c.written = true
		o := c.op
		if o.kind == opBegin {
			o.round = j.next.round + 1
		}
		ok := j.next.apply(o)
		j.changes, j.ok = append(j.changes, c), append(j.ok, ok)
		if !ok {
			continue
		}
		if c.park != nil && c.round == 0 {
			j.change.Park = append(j.change.Park, c.park)
		} else if c.park != nil {
			j.change.Attempted = append(j.change.Attempted, c.park)
		}
		if c.unpark != 0 {
			j.change.Unpark = append(j.change.Unpark, c.unpark)
		}
	}
	j.next.advance(s.scan, s.undone)
	var err error
	j.change.State, err = j.next.encode()
	return j, err
}

// complete makes a written state the share's base, and carries on with the items of its changes.
func (g *group) complete(j *job, version uint64) {
	s := j.share
	s.base, s.version = j.next, version
	s.idle, s.saved, s.tried = false, j.scan, nil
	if slices.Equal(s.gaps, j.gaps) {
		s.gaps = nil
	}
	if j.change.Release {
		s.flight = nil
		g.lose(s)
		return
	}
	for _, c := range j.changes {
		c.saved = true
	}
	s.flight = slices.DeleteFunc(s.flight, func(c *change) bool { return c.saved })
	for i, c := range j.changes {
		ok := j.ok[i]
		g.count(c, ok)
		if !ok && c.doubt {
			c.lose()
		} else {
			c.finish(ok)
		}
		if c.kind == opBegin {
			if ok {
				g.insertReplay(c.item)
			}
			continue
		}
		if ok && c.item.ordered && c.kind == opPark && c.round == 0 && g.def.policy.StrictOrder {
			s.addParked(c.item.subject, c.position)
			g.letterScan.changes++
		}
		if ok && c.unpark != 0 {
			s.removeParked(c.item.subject, c.unpark)
			g.letterScan.changes++
		}
		g.resolve(c.item)
	}
}

// resolve lets an item go on as the base says.
func (g *group) resolve(it *item) {
	if it.gone || it.share.gone {
		return
	}
	s := it.share
	f := s.base.failed[it.position]
	if it.round == 0 {
		if s.base.isDone(it.position) {
			g.remove(it)
			return
		}
	} else {
		var ok bool
		if f, ok = s.base.replays[it.position]; !ok || f.round != it.round {
			g.replayed++
			g.remove(it)
			return
		}
	}
	it.attempt, it.notBefore = f.attempts+1, f.notBefore
	if !f.first.IsZero() {
		it.first = f.first
	}
	if it.ordered && s.first(it.subject) != it {
		g.enter(it, held, time.Time{})
	} else {
		g.activate(it)
	}
	g.moveIfIdle(s)
}

// count adds what a change did to the group's counts.
func (g *group) count(c *change, ok bool) {
	if !ok {
		g.counts.stale.Add(1)
		return
	}
	switch c.kind {
	case opAck:
		g.counts.acknowledged.Add(1)
	case opFail:
		g.counts.failed.Add(1)
	case opPark:
		g.counts.parked.Add(1)
	case opSkip:
		g.counts.skipped.Add(1)
	case opMiss:
		g.counts.missed.Add(1)
	case opBegin, opDrop:
	}
}
