// Package groupstest judges histories of subscription groups: what was appended, delivered, answered and asked, in the order in which clients saw it.
// It knows nothing of how groups are run, so the same checker serves tests in memory, of an engine, and of whole processes.
//
// A test records into a [History] from as many goroutines as it likes: each call before it is made, each result after it came. [History.Check] then
// returns every breach of the promises of package groups.
package groupstest

import (
	"slices"
	"sync"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// Config is what a history assumes of its group.
type Config struct {
	// Start is where the group started.
	Start sinks.Position
	// Deadline, MaxAttempts and Pause are the group's policy. Pause returns the pause after so many failed attempts.
	Deadline    time.Duration
	MaxAttempts uint32
	Pause       func(attempts uint32) time.Duration
	StrictOrder bool
	// Latest says that the group goes on at the log's end where events are no longer kept. Then each event may be left out once any has expired, but is counted.
	Latest bool
	// Fail says that the group fails where events are no longer kept, until it is moved. Then no event may be left out otherwise.
	Fail bool
	// Tolerance is how much earlier than the policy says a delivery may be seen, because the server's clock is not the test's.
	Tolerance time.Duration
	// SeekGrace is how long after a seek a delivery from before it may come. Its acknowledgement must be stale.
	SeekGrace time.Duration
	// Now is the clock. Default is the computer's.
	Now func() time.Time
}

// Action is a client's answer.
type Action int

// The actions.
const (
	Ack Action = iota
	Retry
	Park
	Skip
)

// Outcome is the result of an answer to one delivery.
type Outcome int

// The outcomes.
const (
	// Unknown: there was no result, so it may have been carried out.
	Unknown Outcome = iota
	Accepted
	Stale
)

// Delivery is a delivery as a client saw it.
type Delivery struct {
	ID       string
	Position sinks.Position
	Attempt  uint32
	Replayed bool
}

// History records the events of one group. It is safe for concurrent use.
type History struct {
	cfg Config

	mu      sync.Mutex
	seq     int
	events  map[sinks.Position]*event
	byID    map[string]*delivery
	steps   []func(*check)
	left    map[string]moment // Members that left, or were about to.
	suspect map[string]moment
	seeks   []*Seek
	errs    []error
	final   *Final
	// leaving is when the group may have begun to leave events out that are kept.
	leaving *moment
}

// moment is a place in the history.
type moment struct {
	seq int
	at  time.Time
}

// event is an event of the log.
type event struct {
	position   sinks.Position
	subject    string
	passes     bool
	deliveries []*delivery
	expired    *moment
	discarded  *moment
	requested  bool
}

// delivery is a delivery with what became of it.
type delivery struct {
	Delivery
	moment
	event   *event
	member  string
	answers []*reply
}

// reply is an answer to one delivery.
type reply struct {
	sent    moment
	got     moment
	action  Action
	delay   *time.Duration
	outcome Outcome
}

// Seek is a move of the group that is under way, or was.
type Seek struct {
	h *History
	// low and high bound where it leads.
	low, high  sinks.Position
	begin, end moment
	ended      bool
}

// Final is what a group looked at the end, when everything had come to rest.
type Final struct {
	// Parked are the positions of its dead letters.
	Parked []sinks.Position
	// Position is the group's, and Missed how many positions it says it was not given.
	Position sinks.Position
	Missed   uint64
}

// New returns an empty history.
func New(cfg Config) *History {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &History{
		cfg: cfg, events: map[sinks.Position]*event{}, byID: map[string]*delivery{}, left: map[string]moment{}, suspect: map[string]moment{},
	}
}

func (h *History) moment() moment {
	h.seq++
	return moment{h.seq, h.cfg.Now()}
}

// Appended records an event of the log, before a client can get it. An empty subject is ordered with no other.
func (h *History) Appended(p sinks.Position, subject string, passes bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events[p] = &event{position: p, subject: subject, passes: passes}
}

// Expiring records that the events before a position are about to be removed.
func (h *History) Expiring(before sinks.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.moment()
	for p, e := range h.events {
		if p < before && e.expired == nil {
			e.expired = &m
		}
	}
	if h.cfg.Latest && h.leaving == nil && before > 1 {
		h.leaving = &m
	}
}

// Delivered records deliveries that a member has received.
func (h *History) Delivered(member string, deliveries ...Delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range deliveries {
		e := h.events[d.Position]
		if e == nil {
			h.fail("position %d was delivered, and no event was appended there", d.Position)
			continue
		}
		if h.byID[d.ID] != nil {
			h.fail("two deliveries have the id %s: positions %d and %d", d.ID, h.byID[d.ID].Position, d.Position)
			continue
		}
		got := &delivery{Delivery: d, moment: h.moment(), event: e, member: member}
		h.byID[d.ID] = got
		e.deliveries = append(e.deliveries, got)
		h.steps = append(h.steps, func(c *check) { c.delivered(got) })
	}
}

// Answer is an answer that is under way.
type Answer struct {
	h       *History
	ids     []string
	replies map[string]*reply
}

// Answering records that a client is about to answer deliveries.
func (h *History) Answering(action Action, delay *time.Duration, ids ...string) *Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := &Answer{h: h, ids: ids, replies: map[string]*reply{}}
	sent := h.moment()
	for _, id := range ids {
		d := h.byID[id]
		if d == nil {
			h.fail("the test answers %s, which was not delivered", id)
			continue
		}
		r := &reply{sent: sent, action: action, delay: delay}
		d.answers = append(d.answers, r)
		a.replies[id] = r
	}
	return a
}

// Result records the result of an answer. accepted is the number that the server told.
func (a *Answer) Result(accepted int, stale []string) {
	h := a.h
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.moment()
	isStale := map[string]bool{}
	for _, id := range stale {
		if a.replies[id] == nil {
			h.fail("the result names the id %s, which the answer did not", id)
		}
		isStale[id] = true
	}
	if accepted+len(isStale) != len(a.replies) {
		h.fail("of %d answers, %d were accepted and %d were stale", len(a.replies), accepted, len(isStale))
	}
	for id, r := range a.replies {
		r.got, r.outcome = got, Accepted
		if isStale[id] {
			r.outcome = Stale
		}
		d := h.byID[id]
		h.steps = append(h.steps, func(c *check) { c.answered(d, r) })
	}
}

// ResultUpTo records the result of an acknowledgement of all deliveries up to one, which tells only how many were accepted.
func (a *Answer) ResultUpTo(accepted int) {
	if accepted == len(a.ids) {
		a.Result(accepted, nil)
		return
	}
	h := a.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if accepted > len(a.ids) {
		h.fail("of %d answers, %d were accepted", len(a.ids), accepted)
	}
}

// Leaving records that a member is about to leave.
func (h *History) Leaving(member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.left[member]; !ok {
		h.left[member] = h.moment()
	}
}

// Suspect records that a member's server is about to be killed, frozen, or cut off. From now on what it delivers may have begun long before, so it counts only if
// its acknowledgement is accepted.
func (h *History) Suspect(members ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range members {
		if _, ok := h.suspect[m]; !ok {
			h.suspect[m] = h.moment()
		}
	}
}

// Seeking records that the group is about to be moved to a position between two. Unless Done or Failed follows, it may have been.
func (h *History) Seeking(low, high sinks.Position) *Seek {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &Seek{h: h, low: low, high: high, begin: h.moment()}
	h.seeks = append(h.seeks, s)
	return s
}

// Done records that the group was moved, and whereto.
func (s *Seek) Done(to sinks.Position) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if to < s.low || to > s.high {
		s.h.fail("the group was moved to %d, and not between %d and %d", to, s.low, s.high)
	}
	s.low, s.high, s.end, s.ended = to, to, s.h.moment(), true
}

// Failed records that the group was not moved.
func (s *Seek) Failed() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.h.seeks = slices.DeleteFunc(s.h.seeks, func(other *Seek) bool { return other == s })
}

// MayFail reports whether the group may fail by now, because events are no longer kept.
func (h *History) MayFail() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.expired != nil {
			return h.cfg.Fail
		}
	}
	return false
}

// Is reports whether a delivery was recorded, with all that a client sees of it.
func (h *History) Is(d Delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.byID[d.ID]
	return known != nil && known.Delivery == d
}

// Breach records a breach that the test has seen itself.
func (h *History) Breach(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail(format, args...)
}

// Replaying records that parked events are about to be asked for.
func (h *History) Replaying(positions ...sinks.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range positions {
		if e := h.events[p]; e != nil {
			e.requested = true
		}
	}
}

// Discarding records that a parked event is about to be removed.
func (h *History) Discarding(p sinks.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.events[p]; e != nil && e.discarded == nil {
		m := h.moment()
		e.discarded = &m
	}
}

// Position records the position of a group that a member was told.
func (h *History) Position(member string, p sinks.Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.moment()
	h.steps = append(h.steps, func(c *check) { c.positioned(member, p, at) })
}

// End records what the group looks like when everything has come to rest.
func (h *History) End(f Final) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.final = &f
}

// Settled reports whether each event that the group has to deal with is dealt with, as far as the test knows. It helps to wait for the end.
func (h *History) Settled(parked []sinks.Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := newCheck(h)
	c.final = &Final{Parked: parked}
	c.complete()
	return len(c.errs) == 0
}
