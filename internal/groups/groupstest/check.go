package groupstest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// maxErrors bounds what Check returns.
const maxErrors = 20

func (h *History) fail(format string, args ...any) {
	if len(h.errs) < maxErrors {
		h.errs = append(h.errs, fmt.Errorf("groupstest: "+format, args...))
	}
}

// Check returns the breaches of the promises, at most 20.
func (h *History) Check() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := newCheck(h)
	for _, step := range h.steps {
		step(c)
	}
	if h.final != nil {
		c.complete()
		c.parkedAtEnd()
	}
	all := append(slices.Clone(h.errs), c.errs...)
	return all[:min(len(all), maxErrors)]
}

// check goes through a history.
type check struct {
	*History
	errs     []error
	final    *Final
	subjects map[string][]*event // In the order of positions.
	told     map[string]sinks.Position
	toldAt   map[string]moment
}

func newCheck(h *History) *check {
	c := &check{History: h, final: h.final, subjects: map[string][]*event{}, told: map[string]sinks.Position{}, toldAt: map[string]moment{}}
	for _, e := range h.events {
		if e.subject != "" {
			c.subjects[e.subject] = append(c.subjects[e.subject], e)
		}
	}
	for _, s := range c.subjects {
		slices.SortFunc(s, func(a, b *event) int { return cmp.Compare(a.position, b.position) })
	}
	return c
}

func (c *check) breach(d *delivery, format string, args ...any) {
	if len(c.errs) < maxErrors {
		what := fmt.Sprintf("position %d of %q, attempt %d to %s (%d, %s): ", d.Position, d.event.subject, d.Attempt, d.member, d.seq, d.at.Format("04:05.000"))
		c.errs = append(c.errs, fmt.Errorf("groupstest: "+what+format, args...))
	}
}

// counts reports whether a delivery counts: it comes from a server that was not suspect and is not left over from before a seek, or was accepted.
func (c *check) counts(d *delivery) bool {
	if d.outcome() == Accepted {
		return true
	}
	if s, ok := c.suspect[d.member]; ok && s.seq < d.seq {
		return false
	}
	for _, s := range c.seeks {
		if s.begin.seq < d.seq && (!s.ended || d.at.Sub(s.end.at) <= c.cfg.SeekGrace) {
			return false
		}
	}
	return true
}

// outcome returns what became of a delivery: accepted if one of its answers was.
func (d *delivery) outcome() Outcome {
	best := Stale
	for _, r := range d.answers {
		if r.outcome == Accepted {
			return Accepted
		}
		if r.outcome == Unknown {
			best = Unknown
		}
	}
	if len(d.answers) == 0 {
		return Unknown
	}
	return best
}

// seekBetween reports whether a seek may have taken effect between two moments. With grace, the first moment may still belong to the time before it.
func (c *check) seekBetween(from moment, to int, grace bool) bool {
	for _, s := range c.seeks {
		if s.begin.seq < to && (!s.ended || s.end.seq > from.seq || grace && from.at.Sub(s.end.at) <= c.cfg.SeekGrace) {
			return true
		}
	}
	return false
}

// seekSince reports whether a seek may have taken effect between a delivery and a later moment.
func (c *check) seekSince(d *delivery, to int) bool {
	return c.seekBetween(d.moment, to, d.outcome() != Accepted)
}

// starts returns the lowest place from which the group may deliver at a moment, and the place from which it surely must have, with the moment of that.
func (c *check) starts(at int) (may, must sinks.Position, since int) {
	may, must = c.cfg.Start, c.cfg.Start
	for _, s := range c.seeks {
		if s.begin.seq >= at {
			continue
		}
		may = min(may, s.low)
		if s.ended && s.end.seq < at {
			must, since = s.high, s.begin.seq
		} else {
			must = max(must, s.high) // It may have taken effect by then, or not.
		}
	}
	return may, must, since
}

// delivered checks a delivery.
func (c *check) delivered(d *delivery) {
	if !d.event.passes {
		c.breach(d, "the event does not pass the filter")
	}
	if may, _, _ := c.starts(d.seq); d.Position < may && !d.Replayed {
		c.breach(d, "it is before the group's start")
	}
	if d.Attempt < 1 || d.Attempt > c.cfg.MaxAttempts {
		c.breach(d, "there is no such attempt")
	}
	if !c.counts(d) {
		return
	}
	c.notAgain(d)
	c.notTooSoon(d)
	c.inOrder(d)
	c.alone(d)
}

// notAgain: an event that was acknowledged is not delivered again.
func (c *check) notAgain(d *delivery) {
	for _, before := range d.event.deliveries {
		for _, r := range before.answers {
			if r.outcome != Accepted || r.action == Retry || r.got.seq > d.seq || c.seekBetween(r.sent, d.seq, false) {
				continue
			}
			if c.otherLife(d, before, r) {
				continue
			}
			c.breach(d, "it was answered for good before, at %d", r.got.seq)
			return
		}
	}
	if d.Replayed && !c.mayBeParked(d.event, d.seq) {
		c.breach(d, "it is replayed, and was not parked")
	}
}

// otherLife reports whether an answer does not concern a delivery, since one of them is a replay: the event was parked, or a seek made it live twice.
func (c *check) otherLife(d, other *delivery, r *reply) bool {
	if r.action == Park && (d.Replayed || other.Replayed) {
		return true
	}
	if len(c.seeks) == 0 {
		return false
	}
	// After the seek the event may have been parked once more while its replay was under way.
	_, _, since := c.starts(d.seq)
	return d.Replayed != other.Replayed || d.Replayed && (c.cfg.StrictOrder || c.mayBeParkedSince(d.event, since, d.moment))
}

// notTooSoon: an event is delivered again when its delivery has failed, after the pause, with a greater attempt.
func (c *check) notTooSoon(d *delivery) {
	before := c.before(d)
	if before == nil {
		return
	}
	ended, failed := c.ended(before, d.moment)
	if !ended {
		c.breach(d, "attempt %d to %s at %d is outstanding", before.Attempt, before.member, before.seq)
		return
	}
	if failed.IsZero() || d.Replayed && d.Attempt == 1 && c.mayBeParkedAgain(before) {
		return // It is not sure when it failed, or another replay of the event began.
	}
	pause := c.cfg.Pause(before.Attempt)
	for _, r := range before.answers {
		switch {
		case r.action != Retry || r.delay == nil:
		case r.outcome == Accepted:
			pause = *r.delay
		case r.outcome == Unknown:
			pause = min(pause, *r.delay)
		}
	}
	if early := failed.Add(pause - c.cfg.Tolerance).Sub(d.at); early > 0 {
		c.breach(d, "it comes %s before the pause is over", early)
	}
	if d.Attempt <= before.Attempt && (!d.Replayed || d.Attempt != 1) {
		c.breach(d, "attempt %d has failed", before.Attempt)
	}
}

// mayBeParkedAgain reports whether an event may have been parked after a delivery.
func (c *check) mayBeParkedAgain(d *delivery) bool {
	parked := slices.ContainsFunc(d.answers, func(r *reply) bool { return r.action == Park && r.outcome != Stale })
	return parked || d.Attempt >= c.cfg.MaxAttempts
}

// before returns the latest delivery of the same event, if it counts and no seek came between.
func (c *check) before(d *delivery) *delivery {
	for _, b := range slices.Backward(d.event.deliveries) {
		if b.seq >= d.seq || b.Replayed != d.Replayed {
			continue
		}
		if !c.counts(b) || c.seekSince(b, d.seq) {
			return nil
		}
		return b
	}
	return nil
}

// ended reports whether a delivery may have ended at a moment. failed is when it failed, if that is sure, and the attempt was counted.
func (c *check) ended(d *delivery, now moment) (ended bool, failed time.Time) {
	var when time.Time
	for _, r := range d.answers {
		switch {
		case r.sent.seq > now.seq || r.outcome == Stale:
		case r.outcome == Accepted && r.action == Retry:
			return true, r.sent.at
		case r.outcome == Accepted:
			return true, time.Time{}
		default:
			ended = true
		}
	}
	if m, ok := c.suspect[d.member]; ok && m.seq < now.seq {
		return true, time.Time{}
	}
	if m, ok := c.left[d.member]; ok && m.seq < now.seq {
		ended, when = true, m.at
	}
	if deadline := d.at.Add(c.cfg.Deadline); !now.at.Before(deadline.Add(-c.cfg.Tolerance)) {
		if ended && when.Before(deadline) {
			return true, when
		}
		return true, deadline.Add(-c.cfg.Tolerance)
	}
	return ended, when
}

// inOrder: an event is delivered only when each earlier one of its subject was acknowledged, skipped or parked.
func (c *check) inOrder(d *delivery) {
	if d.event.subject == "" || d.Replayed && (!c.cfg.StrictOrder || len(c.seeks) > 0) {
		return
	}
	_, must, since := c.starts(d.seq)
	for _, e := range c.subjects[d.event.subject] {
		switch {
		case e.position < d.Position:
			if e.passes && e.position >= must && !c.mayBeSettled(e, since, d.moment) {
				c.breach(d, "the earlier event at %d is not dealt with", e.position)
				return
			}
		case e.position > d.Position && !d.Replayed:
			for _, later := range e.deliveries {
				if later.seq < d.seq && !later.Replayed && c.counts(later) && !c.seekSince(later, d.seq) {
					c.breach(d, "the later event at %d was delivered before, at %d", e.position, later.seq)
					return
				}
			}
		}
	}
}

// alone: of a subject one event is outstanding at a time.
func (c *check) alone(d *delivery) {
	if d.event.subject == "" {
		return
	}
	for _, e := range c.subjects[d.event.subject] {
		for _, other := range e.deliveries {
			if other.seq >= d.seq || e == d.event && other.Replayed == d.Replayed || !c.counts(other) || c.seekSince(other, d.seq) {
				continue
			}
			if ended, _ := c.ended(other, d.moment); !ended {
				c.breach(d, "the event at %d is outstanding since %d", e.position, other.seq)
				return
			}
		}
	}
}

// mayBeSettled reports whether an event may have been dealt with, between two moments, so that a later one of its subject may be delivered.
func (c *check) mayBeSettled(e *event, since int, now moment) bool {
	if m := c.expired(e); m != nil && m.seq < now.seq || e.discarded != nil && e.discarded.seq < now.seq {
		return true
	}
	for _, d := range e.deliveries {
		for _, r := range d.answers {
			if r.sent.seq > since && r.sent.seq < now.seq && r.outcome != Stale && (r.action == Ack || r.action == Skip) {
				return true
			}
		}
	}
	return !c.cfg.StrictOrder && c.mayBeParkedSince(e, since, now)
}

// mayBeParked reports whether an event may have been parked before a moment.
func (c *check) mayBeParked(e *event, seq int) bool {
	now := moment{seq, c.at(seq)}
	if c.mayBeParkedSince(e, 0, now) {
		return true
	}
	if !c.cfg.StrictOrder || e.subject == "" {
		return false
	}
	for _, earlier := range c.subjects[e.subject] {
		if earlier.position < e.position && c.mayBeParkedSince(earlier, 0, now) {
			return true
		}
	}
	return false
}

// at returns the time of the delivery at a place.
func (c *check) at(seq int) time.Time {
	for _, d := range c.byID {
		if d.seq == seq {
			return d.at
		}
	}
	return c.cfg.Now()
}

// mayBeParkedSince reports whether a delivery of the event may have led to its parking between two moments.
func (c *check) mayBeParkedSince(e *event, since int, now moment) bool {
	for _, d := range e.deliveries {
		if d.seq < since || d.seq >= now.seq {
			continue
		}
		for _, r := range d.answers {
			if r.sent.seq < now.seq && r.outcome != Stale && r.action == Park {
				return true
			}
		}
		if ended, _ := c.ended(d, now); ended && d.Attempt >= c.cfg.MaxAttempts {
			return true
		}
	}
	return false
}

// answered: an event is accepted once.
func (c *check) answered(d *delivery, r *reply) {
	if r.outcome != Accepted || r.action == Retry {
		return
	}
	for _, other := range d.event.deliveries {
		for _, o := range other.answers {
			if o == r || o.outcome != Accepted || o.action == Retry || o.got.seq > r.got.seq {
				continue
			}
			// The server took each of them some time between its way there and its way back, and one of them perhaps before a seek.
			if c.seekBetween(o.sent, r.got.seq, false) || c.seekBetween(r.sent, o.got.seq, false) {
				continue
			}
			if c.otherLife(d, other, o) {
				continue
			}
			c.breach(d, "its answer at %d was accepted, and another one at %d", r.got.seq, o.got.seq)
			return
		}
	}
}

// positioned: everything before the position that a member is told is dealt with, and positions only grow.
func (c *check) positioned(member string, p sinks.Position, at moment) {
	if last, ok := c.told[member]; ok && p < last && !c.seekBetween(c.toldAt[member], at.seq, true) {
		c.errs = append(c.errs, fmt.Errorf("groupstest: %s was told position %d after %d", member, p, last))
	}
	c.told[member], c.toldAt[member] = p, at
	if len(c.seeks) > 0 {
		return
	}
	for q, e := range c.events {
		if q >= c.cfg.Start && q < p && e.passes && !c.mayBeSettled(e, 0, at) && !c.mayBeParked(e, at.seq) {
			c.errs = append(c.errs, fmt.Errorf("groupstest: %s was told position %d (%d), and position %d is not dealt with", member, p, at.seq, q))
			return
		}
	}
}

// complete: every event from the group's start on was acknowledged, skipped, or is parked, unless it is no longer kept.
func (c *check) complete() {
	_, must, since := c.starts(c.seq + 1)
	missed := uint64(0)
	for p, e := range c.events {
		if p < must || !e.passes || slices.Contains(c.final.Parked, p) || c.settledForGood(e, since) {
			continue
		}
		if c.goneBy(e, c.seq) && c.mayBeParkedSince(e, since, moment{c.seq + 1, c.cfg.Now()}) {
			continue // There was nothing left to park.
		}
		if c.expired(e) != nil {
			missed++
			continue
		}
		if len(c.errs) < maxErrors {
			c.errs = append(c.errs, fmt.Errorf("groupstest: position %d of %q was lost: it is neither acknowledged nor parked", p, e.subject))
		}
	}
	if missed > c.final.Missed && c.final.Position != 0 {
		c.errs = append(c.errs, fmt.Errorf("groupstest: %d events were not given, and the group says %d", missed, c.final.Missed))
	}
}

// expired returns since when the group may leave an event out, or nil.
func (c *check) expired(e *event) *moment {
	if c.cfg.Fail {
		return nil
	}
	if c.leaving != nil && (e.expired == nil || c.leaving.seq < e.expired.seq) {
		return c.leaving
	}
	return e.expired
}

// goneBy reports whether an event may have been removed from the log by a moment.
func (c *check) goneBy(e *event, seq int) bool {
	m := c.expired(e)
	if c.cfg.Fail {
		m = e.expired
	}
	return m != nil && m.seq <= seq
}

func (c *check) settledForGood(e *event, since int) bool {
	if e.discarded != nil {
		return true
	}
	for _, d := range e.deliveries {
		for _, r := range d.answers {
			if r.sent.seq > since && r.outcome != Stale && (r.action == Ack || r.action == Skip) {
				return true
			}
		}
	}
	return false
}

// parkedAtEnd: a parked event stays until it is acknowledged in a replay, or discarded; and only failed events are parked.
func (c *check) parkedAtEnd() {
	now := moment{c.seq + 1, c.cfg.Now()}
	for _, p := range c.final.Parked {
		if e := c.events[p]; e == nil || !c.mayBeParked(e, now.seq) {
			c.errs = append(c.errs, fmt.Errorf("groupstest: position %d is parked without a cause", p))
		}
	}
	for p, e := range c.events {
		if slices.Contains(c.final.Parked, p) || e.discarded != nil {
			continue
		}
		for _, d := range e.deliveries {
			for _, r := range d.answers {
				if r.action == Park && r.outcome == Accepted && !d.Replayed && !c.replayed(e, r.sent.seq) && !c.goneBy(e, r.got.seq) {
					c.errs = append(c.errs, fmt.Errorf("groupstest: position %d was parked at %d, and is parked no more", p, r.got.seq))
				}
			}
		}
	}
}

// replayed reports whether a replay of an event may have been acknowledged since a moment.
func (c *check) replayed(e *event, since int) bool {
	for _, d := range e.deliveries {
		for _, r := range d.answers {
			if d.Replayed && r.sent.seq > since && r.outcome != Stale && (r.action == Ack || r.action == Skip) {
				return true
			}
		}
	}
	return false
}
