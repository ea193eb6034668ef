package commit

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// Discard is the operation of [Queue.Discard], which removes a webhook from quarantine.
const Discard journal.Operation = 255

// MaxContents bounds the contents that are recorded under one key. The newest are kept.
const MaxContents = 256

// Item is the part of an entry that decides.
type Item struct {
	Operation      journal.Operation
	ID             uuid.UUID
	Keys           []journal.Key
	Bytes, Meaning journal.Hash
	// Events is how many events the entry adds if it is not a duplicate.
	Events int
	// Versions are the entry's: one for each event, or none.
	Versions []journal.Version
	// Rest is how many of the items behind this one belong to the same call. All items of a call succeed or fail together.
	Rest int
}

// State says where a webhook is.
type State uint8

// The states of a webhook. Absent ones are not stored.
const (
	Absent State = iota
	// Stored webhooks were never in quarantine.
	Stored
	Quarantined
	// Released webhooks left the quarantine, and lie where they did.
	Released
)

// Known has the entries that the storage had before the group.
type Known struct {
	// Now is the time of the commit.
	Now time.Time
	// Contents were committed under the keys of the group: in any order, with corrected times. They may include contents whose
	// window has passed, and the same content twice.
	Contents map[journal.Hash][]journal.Seen
	// Versions were committed for the subjects of the group: in any order, with corrected times. They may include versions whose
	// window has passed, and older ones beside the greatest.
	Versions map[journal.Hash][]journal.SeenVersion
	// Webhooks are the states of the webhooks that items release, correct or discard.
	Webhooks map[uuid.UUID]State
}

// Outcome is the result for an item.
type Outcome uint8

// The outcomes of an item.
const (
	// NotFound means that the webhook is not where the operation needs it. Nothing of the call happens.
	NotFound Outcome = iota
	// New and Revised items are added, with their events.
	New
	Revised
	// Duplicate items are not added. A duplicate that releases a webhook releases it without events.
	Duplicate
	// Kept items are duplicates whose bytes are new: the webhook is stored, without events.
	Kept
	// Discarded items remove their webhook. Void ones found none to discard.
	Discarded
	Void
)

// Decision is the decision on one item.
type Decision struct {
	Outcome Outcome
	// State is where the item's webhook was, for operations other than Receive.
	State State
	// First is how many events the group adds before the item's.
	First int
	// Stale are the indexes, ascending, of the item's events that are stale. It is the plan's memory.
	Stale []int
}

// Adds reports whether the item's events are added.
func (d Decision) Adds() bool { return d.Outcome == New || d.Outcome == Revised }

// Duplicate reports whether the item is a duplicate.
func (d Decision) Duplicate() bool { return d.Outcome == Duplicate || d.Outcome == Kept }

// Plan has the records to write for a group. The next [Decide] uses its memory again.
type Plan struct {
	// Decisions are the items', in order.
	Decisions []Decision
	// Events is how many events are added.
	Events int

	// index finds the record of a key.
	index    map[journal.Hash]int32
	records  []record
	contents []content
	// moved are the states of the webhooks that the group takes out of quarantine.
	moved map[uuid.UUID]State
	// subjects finds the greatest version of a subject. stale is the memory of the decisions.
	subjects map[journal.Hash]int32
	versions []SubjectVersion
	stale    []int
}

// record is a key under which the group adds contents.
type record struct {
	key journal.Hash
	// window is the longest with which the key was given.
	window time.Duration
	// last is the index of the content that was added last.
	last int32
}

// content is one content that the group adds under a key. before is the index of the one before it under that key, or -1.
type content struct {
	bytes, meaning journal.Hash
	before         int32
}

// Decide decides on the items of a group, in order, as if each call were committed before the next. It fills plan. The plan
// depends on the items and on known alone, and these are not changed.
func Decide(plan *Plan, group []*Item, known *Known) {
	plan.reset()
	for len(group) > 0 {
		call := group[:1+group[0].Rest]
		group = group[len(call):]
		decisions := plan.locateWebhooks(call, known)
		if decisions[0].Outcome == NotFound {
			continue
		}
		for i, item := range call {
			if item.Operation != Discard {
				plan.decideItem(item, &decisions[i], known)
			}
		}
	}
}

func (p *Plan) reset() {
	if p.index == nil {
		p.index = make(map[journal.Hash]int32)
		p.moved = make(map[uuid.UUID]State)
		p.subjects = make(map[journal.Hash]int32)
	}
	clear(p.index)
	clear(p.moved)
	clear(p.subjects)
	clear(p.versions)
	p.versions, p.stale = p.versions[:0], p.stale[:0]
	p.Decisions, p.records, p.contents, p.Events = p.Decisions[:0], p.records[:0], p.contents[:0], 0
}

// locateWebhooks appends the decisions of a call, with the states of its webhooks. All are NotFound if one webhook is not where its
// operation needs it.
func (p *Plan) locateWebhooks(call []*Item, known *Known) []Decision {
	from := len(p.Decisions)
	found := true
	for _, item := range call {
		d := Decision{Outcome: New}
		if item.Operation != journal.Receive {
			d.State = p.stateOf(item.ID, known)
			d.Outcome = p.moveWebhook(item, d.State)
			found = found && d.Outcome != NotFound
		}
		p.Decisions = append(p.Decisions, d)
	}
	decisions := p.Decisions[from:]
	if found {
		return decisions
	}
	for i, item := range call {
		if decisions[i].State == Quarantined {
			delete(p.moved, item.ID)
		}
		decisions[i].Outcome = NotFound
	}
	return decisions
}

func (p *Plan) stateOf(id uuid.UUID, known *Known) State {
	if s, ok := p.moved[id]; ok {
		return s
	}
	return known.Webhooks[id]
}

// moveWebhook takes the item's webhook out of quarantine, if that is its operation.
func (p *Plan) moveWebhook(item *Item, s State) Outcome {
	switch {
	case item.Operation == Discard && s == Quarantined:
		p.moved[item.ID] = Absent
		return Discarded
	case item.Operation == Discard:
		return Void
	case item.Operation == journal.Release && s == Quarantined:
		p.moved[item.ID] = Released
		return New
	case item.Operation == journal.Correct && (s == Stored || s == Released):
		return New
	default:
		return NotFound
	}
}

// decideItem finds out whether the item is new, a revision or a duplicate, and records its content.
func (p *Plan) decideItem(item *Item, d *Decision, known *Known) {
	var all match
	for i := range item.Keys {
		all |= p.matchKey(&item.Keys[i], item, known)
	}
	switch {
	case all&sameContent == 0 && all&living != 0:
		d.Outcome = Revised
	case all&sameContent != 0 && all&sameBytes == 0 && item.Operation == journal.Receive:
		d.Outcome = Kept
	case all&sameContent != 0:
		d.Outcome = Duplicate
	}
	d.First = p.Events
	if d.Adds() {
		p.Events += item.Events
		p.decideVersions(item, d, known)
	}
	for i := range item.Keys {
		k := &item.Keys[i]
		if !k.LookupOnly && (all == 0 || p.matchKey(k, item, known)&sameBytes == 0) {
			p.addContent(k, item)
		}
	}
}

// match says how the living contents under a key compare with an item.
type match uint8

const (
	living match = 1 << iota
	sameContent
	sameBytes
)

func compare(s journal.Seen, item *Item) match {
	m := living
	if s.Same(item.Bytes, item.Meaning) {
		m |= sameContent
	}
	if s.Bytes == item.Bytes {
		m |= sameBytes
	}
	return m
}

// matchKey compares an item with what the storage knows under a key, and with what the group has added there.
func (p *Plan) matchKey(k *journal.Key, item *Item, known *Known) (m match) {
	for _, s := range known.Contents[k.Hash] {
		if known.Now.Sub(s.At) < k.Window {
			m |= compare(s, item)
		}
	}
	at, ok := p.index[k.Hash]
	if !ok {
		return m
	}
	for i := p.records[at].last; i >= 0; i = p.contents[i].before {
		m |= compare(journal.Seen{Bytes: p.contents[i].bytes, Meaning: p.contents[i].meaning}, item)
	}
	return m
}

// addContent adds the item's content under a key.
func (p *Plan) addContent(k *journal.Key, item *Item) {
	at, ok := p.index[k.Hash]
	if !ok {
		at = int32(len(p.records))
		p.index[k.Hash] = at
		p.records = append(p.records, record{key: k.Hash, last: -1})
	} else if p.contents[p.records[at].last].bytes == item.Bytes {
		return // the item has the key twice
	}
	r := &p.records[at]
	p.contents = append(p.contents, content{bytes: item.Bytes, meaning: item.Meaning, before: r.last})
	r.last, r.window = int32(len(p.contents)-1), max(r.window, k.Window)
}

// Records is how many keys get a record.
func (p *Plan) Records() int { return len(p.records) }

// Record returns the i-th key, and appends to dst all contents to record under it, the oldest first: the known contents that
// are alive, and the contents that the group adds. The engine may replace the known contents by them, or add them.
func (p *Plan) Record(i int, dst []journal.Seen, known *Known) (journal.Hash, []journal.Seen) {
	r := &p.records[i]
	from := len(dst)
	for _, s := range known.Contents[r.key] {
		if known.Now.Sub(s.At) < r.window {
			dst = append(dst, s)
		}
	}
	dst = dst[:from+len(oldestFirst(dst[from:]))]
	stored := len(dst)
	for c := r.last; c >= 0; c = p.contents[c].before {
		dst = append(dst, journal.Seen{At: known.Now, Bytes: p.contents[c].bytes, Meaning: p.contents[c].meaning})
	}
	slices.Reverse(dst[stored:])
	if n := len(dst) - from; n > MaxContents {
		dst = append(dst[:from], dst[len(dst)-MaxContents:]...)
	}
	return r.key, dst
}

// Newest returns the newest MaxContents of the contents under one key, the oldest first. It works in place.
func Newest(all []journal.Seen) []journal.Seen {
	all = oldestFirst(all)
	return all[max(0, len(all)-MaxContents):]
}

// oldestFirst sorts contents by time. Of equal contents only the newest stays. It works in place.
func oldestFirst(all []journal.Seen) []journal.Seen {
	if len(all) < 2 {
		return all
	}
	slices.SortFunc(all, func(a, b journal.Seen) int {
		return cmp.Or(bytes.Compare(a.Bytes[:], b.Bytes[:]), bytes.Compare(a.Meaning[:], b.Meaning[:]), b.At.Compare(a.At))
	})
	all = slices.CompactFunc(all, func(a, b journal.Seen) bool { return a.Bytes == b.Bytes && a.Meaning == b.Meaning })
	slices.SortStableFunc(all, func(a, b journal.Seen) int { return a.At.Compare(b.At) })
	return all
}
