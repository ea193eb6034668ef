package groups

import (
	"context"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

const (
	// maxReplays bounds the replays that a share has under way.
	maxReplays = 64
	// maxRequests bounds how many requested replays one look reads.
	maxRequests = 5000
	// letterInterval is the least time between two readings of all parked events, and letterRest how many times longer than a reading the pause after it is.
	letterInterval = time.Second
	letterRest     = 10
)

// letterScan is what is known of the parked events of a group with strict order, as a whole.
type letterScan struct {
	// complete: the shares know all of them. parked is how many there were at the last reading, which ended at at and took so long.
	complete bool
	parked   uint64
	at       time.Time
	took     time.Duration
	// changes counts the ones that this instance parked, or parked no more.
	changes uint64
}

// letter is a parked event of a subject.
type letter struct {
	subject  subjectHash
	position sinks.Position
}

// parkedOf returns the parked events of shares that are being taken, under strict order. Nobody else parks or unparks them meanwhile, except for
// acknowledgements and operators, and what these do is found later.
func (g *group) parkedOf(ctx context.Context, shares []journal.Share) (map[int][]letter, error) {
	g.mu.Lock()
	strict := g.def.policy.StrictOrder
	g.mu.Unlock()
	if !strict {
		return nil, nil
	}
	taken := make(map[int]bool, len(shares))
	for _, s := range shares {
		taken[s.Index] = true
	}
	all, err := g.readLetters(ctx)
	if err != nil {
		return nil, err
	}
	for index := range all {
		if !taken[index] {
			delete(all, index)
		}
	}
	return all, nil
}

// readLetters reads the parked events that have a subject, by share.
func (g *group) readLetters(ctx context.Context) (map[int][]letter, error) {
	all := map[int][]letter{}
	err := eachParked(ctx, g.letters, g.name, 0, func(p *journalv1.Parked) (bool, error) {
		if subject, ordered, err := subjectOfParked(p); err == nil && ordered {
			all[subject.share()] = append(all[subject.share()], letter{subject, sinks.Position(p.GetPosition())})
		}
		return true, nil
	})
	return all, err
}

// tendLetters finds out what operators did to parked events, and begins replays.
func (g *group) tendLetters(ctx context.Context, stored *journal.GroupState) error {
	if err := g.tendStrict(ctx, stored.Parked); err != nil {
		return err
	}
	return g.tendReplays(ctx, stored.Parked)
}

// tendStrict reads the parked events again when their number has changed: an operator may have discarded one that held others back.
func (g *group) tendStrict(ctx context.Context, parked uint64) error {
	g.mu.Lock()
	scan := g.letterScan
	pause := max(letterInterval, letterRest*scan.took)
	begin := g.now()
	if !g.def.policy.StrictOrder || scan.complete && (scan.parked == parked || begin.Sub(scan.at) < pause) {
		g.mu.Unlock()
		return nil
	}
	before := map[*share]map[subjectHash][]sinks.Position{}
	for _, s := range g.shares {
		if s != nil {
			before[s] = copyLetters(s.parked)
		}
	}
	g.mu.Unlock()
	all, err := g.readLetters(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for s, known := range before {
		if !s.gone {
			s.correctLetters(known, all[s.index], scan.changes == g.letterScan.changes)
		}
	}
	now := g.now()
	g.letterScan.complete = scan.changes == g.letterScan.changes || scan.complete
	g.letterScan.parked, g.letterScan.at, g.letterScan.took = parked, now, now.Sub(begin)
	return nil
}

func copyLetters(letters map[subjectHash][]sinks.Position) map[subjectHash][]sinks.Position {
	c := make(map[subjectHash][]sinks.Position, len(letters))
	for subject, positions := range letters {
		c[subject] = append([]sinks.Position(nil), positions...)
	}
	return c
}

// correctLetters removes the parked events that were known before a reading and are not in it, and adds the others of it if nothing changed meanwhile.
func (s *share) correctLetters(known map[subjectHash][]sinks.Position, read []letter, unchanged bool) {
	s.lettersKnown = s.lettersKnown || unchanged
	there := make(map[letter]bool, len(read))
	for _, l := range read {
		there[l] = true
		if unchanged {
			s.addParked(l.subject, l.position)
		}
	}
	for subject, positions := range known {
		for _, p := range positions {
			if !there[letter{subject, p}] {
				s.removeParked(subject, p)
			}
		}
	}
}

// tendReplays begins the replays that were asked for, and ends those of events that are parked no more.
func (g *group) tendReplays(ctx context.Context, parked uint64) error {
	g.mu.Lock()
	replayed, some := g.replayed, parked > 0
	for _, s := range g.shares {
		some = some || s != nil && len(s.base.replays) > 0
	}
	g.mu.Unlock()
	if !some {
		return nil
	}
	requested, complete, err := g.requested(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if replayed != g.replayed {
		signal(g.poke) // Some may have been dealt with since they were read.
		return nil
	}
	there := make(map[sinks.Position]bool, len(requested))
	for _, r := range requested {
		there[r.position] = true
		g.replay(r)
	}
	if !complete {
		return nil
	}
	for _, s := range g.shares {
		if s != nil {
			g.dropReplays(s, there)
		}
	}
	return nil
}

// request is a parked event that is to be delivered again.
type request struct {
	letter
	ordered bool
}

// requested returns the requested replays, and whether these are all.
func (g *group) requested(ctx context.Context) (all []request, complete bool, err error) {
	from := sinks.Position(0)
	for len(all) < maxRequests {
		page, err := g.store.Replays(ctx, g.name, from, parkedPage)
		if err != nil {
			return nil, false, err
		}
		if len(page) == 0 {
			return all, true, nil
		}
		for _, p := range page {
			from = sinks.Position(p.GetPosition()) + 1
			subject, ordered, err := subjectOfParked(p)
			if err != nil {
				g.logger.Warn("a parked event cannot be read", "group", g.name, "position", p.GetPosition(), "error", err)
				continue
			}
			all = append(all, request{letter{subject, sinks.Position(p.GetPosition())}, ordered})
		}
	}
	return all, false, nil
}

// replay begins a replay, or goes on with one that an earlier owner of the share began.
func (g *group) replay(r request) {
	s := g.shares[r.subject.share()]
	if s == nil || s.wanted == nil || s.items[itemKey{r.position, true}] != nil {
		return
	}
	if heads := s.parked[r.subject]; g.def.policy.StrictOrder && r.ordered && (len(heads) == 0 || heads[0] != r.position) {
		return // It waits for an earlier one.
	}
	it := &item{share: s, position: r.position, subject: r.subject, ordered: r.ordered, timer: -1}
	if _, ok := s.base.replays[r.position]; ok {
		g.insertReplay(it)
		return
	}
	begun := len(s.base.replays)
	for _, list := range [][]*change{s.pending, s.flight} {
		for _, c := range list {
			if c.kind != opBegin {
				continue
			}
			if c.position == r.position {
				return
			}
			begun++
		}
	}
	if begun < maxReplays {
		s.pending = append(s.pending, &change{op: op{kind: opBegin, position: r.position}, item: it, at: g.now()})
		g.markDirty(s)
	}
}

// insertReplay adds the item of a replay whose beginning is stored.
func (g *group) insertReplay(it *item) {
	f := it.share.base.replays[it.position]
	it.round, it.attempt, it.first, it.notBefore = f.round, f.attempts+1, f.first, f.notBefore
	g.insert(it)
}

// dropReplays ends the replays of events for which there is no request any more.
func (g *group) dropReplays(s *share, requested map[sinks.Position]bool) {
	for p, f := range s.base.replays {
		if requested[p] {
			continue
		}
		it := s.items[itemKey{p, true}]
		switch {
		case it == nil:
			it = &item{share: s, position: p, timer: -1, gone: true}
			s.pending = append(s.pending, &change{op: op{kind: opDrop, position: p, round: f.round}, item: it, at: g.now()})
			g.markDirty(s)
		case !it.phase.busy():
			g.settle(it, op{kind: opDrop}, nil, "")
		}
	}
}
