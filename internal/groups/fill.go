package groups

import (
	"context"
	"errors"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// plan notes the shares that can look at further events, and returns the lowest position that one of them has to look at.
func (f *fill) plan() (from sinks.Position, ok bool) {
	g, m := f.group, f.member
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(f.mine[:])
	if m.err != nil || !f.room() {
		return 0, false
	}
	undone := 0
	for i, s := range g.shares {
		if s == nil || s.member != m {
			continue
		}
		undone += len(s.undone)
		if !s.readable() {
			continue
		}
		f.mine[i], f.scans[i] = s, s.scan
		if !ok || s.scan < from {
			from, ok = s.scan, true
		}
	}
	if undone >= maxMemberUndone {
		m.full = true
	} else if undone < maxMemberUndone/2 {
		m.full = false
	}
	return from, ok && !m.full
}

// candidate is an event that may be for the member.
type candidate struct {
	record  sinks.Record
	subject subjectHash
	ordered bool
}

// choose returns the events that are of the member's shares and pass the filter, and the position behind the last one. It holds no lock, since a filter may take its time.
func (f *fill) choose(records []sinks.Record) (chosen []candidate, end sinks.Position) {
	for i := range records {
		r := &records[i]
		end = r.Position + 1
		subject, ordered := subjectOf(&r.Header)
		index := subject.share()
		if f.mine[index] == nil || r.Position < f.scans[index] || f.member.predicate != nil && !f.member.predicate(r) {
			continue
		}
		chosen = append(chosen, candidate{*r, subject, ordered})
	}
	return chosen, end
}

// admitAll delivers or remembers the chosen events, as far as the budget goes, and moves the shares' scans behind what was looked at.
func (f *fill) admitAll(chosen []candidate, end sinks.Position) {
	g := f.group
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range f.mine {
		if s != nil && (s.gone || s.scan != f.scans[i] || !s.readable() || s.member != f.member) {
			f.mine[i] = nil
		}
	}
	for _, c := range chosen {
		s := f.mine[c.subject.share()]
		if s == nil || s.base.isDone(c.record.Position) {
			continue
		}
		if len(s.undone) >= maxUndone {
			s.full, s.scan = true, c.record.Position
			f.mine[s.index] = nil
			continue
		}
		if !f.admit(s, c) {
			end = c.record.Position
			break
		}
	}
	for _, s := range f.mine {
		if s != nil && s.scan < end {
			s.scan = end
		}
	}
}

// admit delivers an event, or remembers that it waits. It returns false, and does nothing, when the budget is used up.
func (f *fill) admit(s *share, c candidate) bool {
	g := f.group
	failed := s.base.failed[c.record.Position]
	it := &item{
		position: c.record.Position, subject: c.subject, ordered: c.ordered,
		attempt: failed.attempts + 1, first: failed.first, notBefore: failed.notBefore,
	}
	it.share = s
	turn := !it.ordered || s.first(it.subject) == nil
	deliverable := turn && !it.notBefore.After(g.now()) && it.attempt <= g.def.policy.MaxAttempts &&
		(!g.def.policy.StrictOrder || !s.behindParked(it))
	switch {
	case !deliverable:
		g.insert(it)
	case !f.room():
		return false
	default:
		s.add(it)
		f.deliver(it, c.record)
	}
	return true
}

// deliver makes an item outstanding and adds it to the batch. The lock is held.
func (f *fill) deliver(it *item, record sinks.Record) {
	g, m := f.group, f.member
	now := g.now()
	g.enter(it, outstanding, now.Add(g.def.policy.AckDeadline))
	m.seq++
	it.member, it.seq, it.delivered, it.salt = m, m.seq, now, saltOf(g.events, it.position)
	it.sent = m.sent.PushBack(it)
	id := deliveryID{
		share: uint8(it.share.index), epoch: it.share.epoch, attempt: it.attempt, position: it.position, round: it.round,
		member: m.tag, seq: it.seq, salt: it.salt,
	}
	f.items = append(f.items, it)
	f.bytes += int64(len(record.Encoded))
	f.batch.Deliveries = append(f.batch.Deliveries, Delivery{
		ID: id.text(g.name), Record: record, Attempt: it.attempt, FirstAt: it.first, Replayed: it.round != 0,
	})
	g.counts.delivered.Add(1)
	if it.attempt > 1 {
		g.counts.redelivered.Add(1)
	}
}

// deliverReady delivers what became ready: retries, events whose turn has come, and replays.
func (f *fill) deliverReady(ctx context.Context) error {
	for {
		it, gen := f.takeReady()
		if it == nil {
			return nil
		}
		record, err := f.group.readItem(ctx, it)
		if err = f.deliverRead(it, gen, record, err); err != nil {
			return err
		}
	}
}

// takeReady takes the next item that is ready, to read it.
func (f *fill) takeReady() (*item, uint64) {
	g, m := f.group, f.member
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(m.ready) > 0 && m.err == nil && f.room() {
		it := m.ready[0]
		m.ready[0] = nil
		m.ready = m.ready[1:]
		if it.gone || it.phase != ready || it.share.member != m || it.share.wanted != m {
			continue
		}
		g.enter(it, reading, time.Time{})
		it.member = m
		m.reading++
		return it, it.gen
	}
	return nil, 0
}

// deliverRead delivers an item that was read, or puts it back.
func (f *fill) deliverRead(it *item, gen uint64, record sinks.Record, err error) error {
	g, m := f.group, f.member
	g.mu.Lock()
	defer g.mu.Unlock()
	if it.gone || it.gen != gen {
		return nil
	}
	expired := errors.Is(err, sinks.ErrExpired)
	switch {
	case errors.Is(err, errNotParked):
		g.settle(it, op{kind: opDrop}, nil, "")
	case expired && g.def.policy.OnExpired != Fail:
		g.logger.Warn("an event that a group has not dealt with is no longer kept", "group", g.name, "position", uint64(it.position))
		g.settle(it, op{kind: opMiss}, nil, "")
	case expired:
		g.putBack(it)
		return &ExpiredError{Position: it.position, Earliest: g.events.Bounds().Earliest}
	case err != nil:
		g.putBack(it)
		return err
	case m.err != nil || it.share.wanted != m:
		g.putBack(it)
	default:
		f.deliver(it, record)
	}
	return nil
}

var errNotParked = errors.New("the event is parked no more")

// readItem reads the event of an item.
func (g *group) readItem(ctx context.Context, it *item) (sinks.Record, error) {
	if it.round == 0 {
		return readOne(ctx, g.events, it.position)
	}
	parked, err := readParked(ctx, g.letters, g.name, it.position)
	if err != nil {
		return sinks.Record{}, err
	}
	if parked == nil {
		return sinks.Record{}, errNotParked
	}
	return sinks.NewRecord(it.position, parked.GetEvent())
}

// readFailed handles a failed read of the log at a position.
func (f *fill) readFailed(from sinks.Position, err error) error {
	if !errors.Is(err, sinks.ErrExpired) {
		return err
	}
	g := f.group
	bounds := g.events.Bounds()
	earliest := max(bounds.Earliest, from+1)
	if lost := (*sinks.LostError)(nil); errors.As(err, &lost) {
		earliest = max(lost.To, from+1)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	to := earliest
	switch g.def.policy.OnExpired {
	case Fail:
		return &ExpiredError{Position: from, Earliest: earliest}
	case Latest:
		to = max(bounds.Next, earliest)
	case Earliest:
	}
	for i, s := range f.mine {
		if s == nil || s.gone || s.scan != f.scans[i] || s.scan >= earliest {
			continue
		}
		g.noticeGap(s.scan, to)
		s.gaps = s.gaps.add(s.scan, to)
		s.scan, s.idle = to, true
		g.markDirty(s)
	}
	return nil
}

// noticeGap counts the positions of a gap that no other share of this instance has passed over before.
func (g *group) noticeGap(from, to sinks.Position) {
	before := g.missed.count()
	g.missed = g.missed.add(from, to).atMost(maxMissed)
	if n := g.missed.count() - before; n > 0 {
		g.counts.missed.Add(n)
		g.logger.Warn("a group has not dealt with events that are no longer kept", "group", g.name, "from", uint64(from), "to", uint64(to))
	}
}

// noticeEnd notes that the log's end was reached: all shares of the member have looked at everything.
func (f *fill) noticeEnd(end sinks.Position) {
	g, m := f.group, f.member
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.caughtUp || len(m.ready) > 0 {
		return
	}
	if at, some := m.scanned(); some && at >= end {
		m.caughtUp, f.batch.CaughtUp = true, true
	}
}

// noticeBehind notes that a member that had caught up is far from the log's end.
func (f *fill) noticeBehind(from sinks.Position) {
	g, m := f.group, f.member
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.caughtUp && g.events.Bounds().Next > from+behindLag {
		m.caughtUp, f.batch.FellBehind = false, true
	}
}

// scanned returns the lowest position that the member has to look at, and whether it has shares. The lock is held.
func (m *Member) scanned() (p sinks.Position, some bool) {
	for _, s := range m.group.shares {
		if s != nil && s.member == m && (!some || s.scan < p) {
			p, some = s.scan, true
		}
	}
	if !some {
		return m.start.Position, false
	}
	return p, true
}
