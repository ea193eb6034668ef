package groups

import (
	"container/heap"
	"container/list"
	"slices"
	"sort"
	"time"

	"github.com/webhook-bridge/bridge/sinks"
)

// maxUndone bounds the events of a share that are outstanding, failed, or wait behind such an event. A share that reaches it looks at no further
// events until half of them are dealt with. It bounds the share's stored state too.
const maxUndone = 2048

// share is a share that this instance's session owns. The group's lock protects it.
type share struct {
	index          int
	epoch, version uint64
	// base is the stored state of that version. Only the saver changes it.
	base *state
	// gaps are runs that were passed over because they are no longer kept, and that are not stored yet.
	gaps ranges
	// scan: all events before it were looked at. An event that passed the filter then and is not done has an item.
	scan  sinks.Position
	items map[itemKey]*item
	// undone are the positions of the items that are not replays, in order.
	undone []sinks.Position
	queues map[subjectHash][]*item
	// parked are the parked events of each subject, in order, under strict order. lettersKnown says that these are all.
	parked       map[subjectHash][]sinks.Position
	lettersKnown bool
	// busy counts the items that are with a member or being saved.
	busy int
	full bool

	// member gets deliveries of the share; wanted should. They differ until nothing is busy. Without a wanted one the share is released.
	member, wanted *Member
	releasing      bool

	// pending are changes that no write has begun with, flight those that a write is under way with.
	pending, flight []*change
	// refresh: read the stored state before the next write. tried is the last write, if its result is unknown.
	refresh bool
	tried   *job
	// idle: the scan moved, and nothing else. saved is the scan that is stored.
	idle  bool
	saved sinks.Position
	gone  bool
}

// itemKey names an item of a share.
type itemKey struct {
	position sinks.Position
	replay   bool
}

// phase is where an item is.
type phase int

const (
	// held: behind another event of its subject.
	held phase = iota
	// waiting for its time.
	waiting
	// ready to be delivered.
	ready
	// reading: Next reads the event from the log.
	reading
	// outstanding: delivered.
	outstanding
	// settling: its change is being saved.
	settling
)

func (p phase) busy() bool { return p >= reading }

// item is an event of a share that was looked at and is not done, or a parked event that is delivered again.
type item struct {
	share    *share
	position sinks.Position
	round    uint64 // Of a replay, or 0.
	subject  subjectHash
	ordered  bool

	// attempt is the number of the current delivery, or the next one.
	attempt   uint32
	first     time.Time // Of the first delivery. Zero before it.
	notBefore time.Time

	phase phase
	gen   uint64 // Greater with each change of the phase.
	gone  bool
	// due is when a waiting item is ready, or an outstanding one fails. timer is its place among the timers, or -1.
	due   time.Time
	timer int
	// member has the item, while it reads or is outstanding. sent is its place among the member's outstanding ones.
	member    *Member
	sent      *list.Element
	seq       uint64
	salt      uint32
	delivered time.Time
}

func (it *item) key() itemKey { return itemKey{it.position, it.round != 0} }

func newShare(index int, epoch, version uint64, base *state) *share {
	return &share{
		index: index, epoch: epoch, version: version, base: base,
		scan: base.position, saved: base.position,
		items: map[itemKey]*item{}, queues: map[subjectHash][]*item{}, parked: map[subjectHash][]sinks.Position{},
	}
}

// add makes an item of an event and puts it behind the events of its subject. The caller activates it if it is the first.
func (s *share) add(it *item) (first bool) {
	it.share, it.timer = s, -1
	s.items[it.key()] = it
	if it.round == 0 {
		i, _ := slices.BinarySearch(s.undone, it.position)
		s.undone = slices.Insert(s.undone, i, it.position)
	}
	if !it.ordered {
		return true
	}
	q := s.queues[it.subject]
	i := sort.Search(len(q), func(i int) bool { return q[i].position >= it.position })
	if i == 0 && len(q) > 0 && q[0].phase.busy() {
		i = 1 // What is with a member stays first.
	}
	s.queues[it.subject] = slices.Insert(q, i, it)
	return i == 0
}

// first returns the item of a subject whose turn it is.
func (s *share) first(subject subjectHash) *item {
	if q := s.queues[subject]; len(q) > 0 {
		return q[0]
	}
	return nil
}

// drop removes an item. It returns the item whose turn it is now, if it is another one.
func (s *share) drop(it *item) *item {
	delete(s.items, it.key())
	it.gone = true
	if it.round == 0 {
		if i, ok := slices.BinarySearch(s.undone, it.position); ok {
			s.undone = slices.Delete(s.undone, i, i+1)
		}
	}
	if !it.ordered {
		return nil
	}
	q := s.queues[it.subject]
	i := slices.Index(q, it)
	q = slices.Delete(q, i, i+1)
	if len(q) == 0 {
		delete(s.queues, it.subject)
		return nil
	}
	s.queues[it.subject] = q
	if i == 0 {
		return q[0]
	}
	return nil
}

// behindParked reports whether an event is behind a parked one of its subject.
func (s *share) behindParked(it *item) bool {
	p := s.parked[it.subject]
	return it.round == 0 && it.ordered && len(p) > 0 && p[0] < it.position
}

func (s *share) addParked(subject subjectHash, p sinks.Position) {
	list := s.parked[subject]
	if i, ok := slices.BinarySearch(list, p); !ok {
		s.parked[subject] = slices.Insert(list, i, p)
	}
}

func (s *share) removeParked(subject subjectHash, p sinks.Position) {
	list := s.parked[subject]
	if i, ok := slices.BinarySearch(list, p); ok {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(s.parked, subject)
		return
	}
	s.parked[subject] = list
}

// position returns the first position that is not done.
func (s *share) position() sinks.Position {
	if len(s.undone) > 0 {
		return min(s.scan, s.undone[0])
	}
	return s.scan
}

// readable reports whether the share may look at further events.
func (s *share) readable() bool { return !s.full && s.member != nil && s.member == s.wanted }

// enter moves an item to a phase. due is for those that have a time. The group's lock is held.
func (g *group) enter(it *item, p phase, due time.Time) {
	s := it.share
	if it.phase.busy() {
		s.busy--
	}
	if it.timer >= 0 {
		heap.Remove(&g.timers, it.timer)
	}
	if it.sent != nil {
		it.member.sent.Remove(it.sent)
		it.sent = nil
		it.member.wakeIfFull()
	}
	if it.phase == reading && it.member != nil {
		it.member.reading--
	}
	it.phase = p
	it.gen++
	if p.busy() {
		s.busy++
	}
	switch p {
	case waiting, outstanding:
		it.due = due
		heap.Push(&g.timers, it)
		if it.timer == 0 {
			signal(g.timerSignal)
		}
	case ready:
		if s.member != nil {
			s.member.ready = append(s.member.ready, it)
			s.member.wake()
		}
	}
}

// activate lets an item go on whose turn it is.
func (g *group) activate(it *item) {
	switch {
	case g.def.policy.StrictOrder && it.share.behindParked(it):
		g.settle(it, op{kind: opPark, reason: "it is behind a parked event of its subject"}, nil, "")
	case it.round == 0 && it.attempt > g.def.policy.MaxAttempts:
		g.settle(it, op{kind: opPark, reason: "its attempts are used up"}, nil, "")
	case it.notBefore.After(g.now()):
		g.enter(it, waiting, g.atMostLater(it.notBefore))
	default:
		g.enter(it, ready, time.Time{})
	}
}

// maxPause is the longest pause before a retry that a policy or a member can ask for.
const maxPause = 12 * time.Hour

// atMostLater bounds the time of a retry, which the clock of another instance may have set: one that was wrong by years.
func (g *group) atMostLater(notBefore time.Time) time.Time {
	if latest := g.now().Add(maxPause); notBefore.After(latest) {
		return latest
	}
	return notBefore
}

// insert adds an item to its share and activates it when its turn has come.
func (g *group) insert(it *item) {
	s := it.share
	before := s.first(it.subject)
	if !s.add(it) {
		return
	}
	if it.ordered && before != nil {
		g.enter(before, held, time.Time{})
	}
	g.activate(it)
}

// remove removes an item that is dealt with.
func (g *group) remove(it *item) {
	g.enter(it, held, time.Time{})
	s := it.share
	if next := s.drop(it); next != nil {
		g.activate(next)
	}
	if s.full && len(s.undone) < maxUndone/2 {
		s.full = false
		if s.member != nil {
			s.member.wake()
		}
	}
	if s.member != nil && s.member.full {
		s.member.wake()
	}
	g.moveIfIdle(s)
}

// putBack makes an item ready again that Next has not delivered.
func (g *group) putBack(it *item) {
	if it.phase != reading || it.gone {
		return
	}
	if it.ordered && it.share.first(it.subject) != it {
		g.enter(it, held, time.Time{})
	} else {
		g.activate(it)
	}
	g.moveIfIdle(it.share)
}

// moveIfIdle gives a share to the member that should have it, or releases it, when nothing of it is busy.
func (g *group) moveIfIdle(s *share) {
	if s.busy > 0 || s.gone || s.releasing || s.member == s.wanted && s.member != nil {
		return
	}
	if s.wanted == nil {
		s.member, s.releasing = nil, true
		g.markDirty(s)
		return
	}
	s.member = s.wanted
	g.offer(s)
}

// lose forgets a share that this instance does not own any more. Its outstanding deliveries are stale.
func (g *group) lose(s *share) {
	if s.gone {
		return
	}
	s.gone = true
	g.losses++
	g.elsewhere = min(g.elsewhere, s.base.position) // 0 while it is not known.
	for _, it := range s.items {
		g.enter(it, held, time.Time{})
		it.gone = true
	}
	for _, c := range slices.Concat(s.flight, s.pending) {
		c.lose()
	}
	s.items, s.queues, s.pending, s.flight = nil, nil, nil, nil
	delete(g.dirty, s)
	if g.shares[s.index] == s {
		g.shares[s.index] = nil
	}
	signal(g.poke)
}

// timerHeap has the items that wait for a time, the earliest first.
type timerHeap []*item

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = i, j
}

// Push implements [heap.Interface].
func (h *timerHeap) Push(x any) {
	it, _ := x.(*item)
	it.timer = len(*h)
	*h = append(*h, it)
}

// Pop implements [heap.Interface].
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.timer = -1
	return it
}

// signal sends to a channel with room for one value, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
