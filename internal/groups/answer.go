package groups

import (
	"context"
	"strings"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// maxReason bounds the text of a negative acknowledgement, in bytes.
const maxReason = 1 << 10

// change is an operation that a share's next write carries out.
type change struct {
	op
	item    *item
	at      time.Time
	receipt *Receipt
	id      string
	// park is the dead letter of an opPark, and unpark a position that is parked no more, for the journal.
	park   *journalv1.Parked
	unpark sinks.Position
	// prepared says that everything that the write needs is there. written says that a write with it is under way, doubt that the result of one is
	// unknown, saved that one was carried out.
	prepared, written, doubt, saved bool
}

// finish tells the one who asked. The group's lock is held.
func (c *change) finish(accepted bool) {
	if c.receipt != nil {
		c.receipt.settle(c.id, accepted)
	}
}

// lose tells the one who asked that the share was lost before the change was known to be durable. The group's lock is held.
func (c *change) lose() {
	if c.receipt != nil && (c.written || c.doubt) {
		c.receipt.lost = true
	}
	c.finish(false)
}

// Receipt is the result of an answer, which comes when the answer is durable.
type Receipt struct {
	done   chan struct{}
	left   int
	result Result
	lost   bool
}

// Done is closed when the result is there.
func (r *Receipt) Done() <-chan struct{} { return r.done }

// Wait waits for the result. Errors: [ErrLost] when this instance lost its right to a share while a write was under way, so that nobody
// knows whether the answer is durable; ctx's, then the answer may be carried out all the same.
func (r *Receipt) Wait(ctx context.Context) (Result, error) {
	select {
	case <-r.done:
		return r.get()
	default:
	}
	select {
	case <-r.done:
		return r.get()
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

func (r *Receipt) get() (Result, error) {
	if r.lost {
		return Result{}, ErrLost
	}
	return r.result, nil
}

// settle notes what became of one delivery. The group's lock is held.
func (r *Receipt) settle(id string, accepted bool) {
	if accepted {
		r.result.Accepted++
	} else if id != "" {
		r.result.Stale = append(r.result.Stale, id)
	}
	r.end(1)
}

func (r *Receipt) end(n int) {
	if r.left -= n; r.left == 0 {
		close(r.done)
	}
}

// Answer tells what became of deliveries to the group. It returns at once; the receipt says when the answer is durable. Errors: [ErrID] for
// an id that is malformed, or belongs to another group; then nothing was answered.
func (m *Member) Answer(a Answer) (*Receipt, error) {
	g := m.group
	ids, err := g.parse(a)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	r := &Receipt{done: make(chan struct{}), left: 1}
	if a.UpTo != "" {
		g.answerUpTo(m, r, a, ids[0])
	} else {
		for i, id := range ids {
			g.answer(r, a, a.IDs[i], g.outstanding(id))
		}
	}
	r.end(1)
	return r, nil
}

func (g *group) parse(a Answer) ([]deliveryID, error) {
	texts := a.IDs
	if a.UpTo != "" {
		texts = []string{a.UpTo}
	}
	ids := make([]deliveryID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = parseID(g.name, text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// outstanding returns the item of a delivery that is outstanding here, or nil.
func (g *group) outstanding(id deliveryID) *item {
	s := g.shares[id.share]
	if s == nil || s.epoch != id.epoch {
		return nil
	}
	it := s.items[itemKey{id.position, id.round != 0}]
	if it == nil || it.phase != outstanding || it.attempt != id.attempt || it.round != id.round || it.seq != id.seq || it.salt != id.salt {
		return nil
	}
	return it
}

func (g *group) answerUpTo(m *Member, r *Receipt, a Answer, id deliveryID) {
	if id.member != m.tag {
		g.answer(r, a, a.UpTo, g.outstanding(id))
		return
	}
	last := g.outstanding(id)
	if last == nil {
		g.answer(r, a, a.UpTo, nil)
	}
	for e := m.sent.Front(); e != nil; {
		it, _ := e.Value.(*item)
		e = e.Next()
		if it.seq > id.seq {
			break
		}
		name := ""
		if it == last {
			name = a.UpTo
		}
		g.answer(r, a, name, it)
	}
}

// answer carries an answer out for one delivery, which is nil if it is not outstanding.
func (g *group) answer(r *Receipt, a Answer, id string, it *item) {
	r.left++
	if it == nil {
		g.counts.stale.Add(1)
		r.settle(id, false)
		return
	}
	switch a.Action {
	case Ack:
		g.settle(it, op{kind: opAck, attempt: it.attempt}, r, id)
	case Skip:
		g.settle(it, op{kind: opSkip, attempt: it.attempt}, r, id)
	case Park:
		g.settle(it, op{kind: opPark, attempt: it.attempt, reason: cutReason(a.Reason)}, r, id)
	case Retry:
		g.fail(it, cutReason(a.Reason), a.Delay, r, id)
	}
}

// fail ends a delivery that was not dealt with.
func (g *group) fail(it *item, reason string, delay *time.Duration, r *Receipt, id string) {
	g.settle(it, failOp(g.def.policy, g.now(), it.attempt, reason, delay), r, id)
}

// failOp returns what becomes of an event after a failed attempt.
func failOp(p Policy, now time.Time, attempt uint32, reason string, delay *time.Duration) op {
	if attempt >= p.MaxAttempts {
		return op{kind: opPark, attempt: attempt, reason: reason}
	}
	pause := p.pause(attempt)
	if delay != nil {
		pause = max(*delay, 0)
	}
	return op{kind: opFail, attempt: attempt, notBefore: now.Add(pause), reason: reason}
}

// settle begins to save what became of an item.
func (g *group) settle(it *item, o op, r *Receipt, id string) {
	o.position, o.round, o.first = it.position, it.round, it.first
	if o.first.IsZero() {
		o.first = it.delivered
	}
	g.enter(it, settling, time.Time{})
	it.share.pending = append(it.share.pending, &change{op: o, item: it, at: g.now(), receipt: r, id: id})
	g.markDirty(it.share)
}

func (g *group) markDirty(s *share) {
	g.dirty[s] = struct{}{}
	signal(g.saveSignal)
}

func cutReason(reason string) string {
	if reason == "" {
		return "the member did not deal with it"
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason] + "…"
	}
	return strings.ToValidUTF8(reason, "\uFFFD")
}
