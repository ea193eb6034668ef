package commit

import (
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// source makes groups of a fuzzer's bytes.
type source struct{ data []byte }

func (s *source) next() byte {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b
}

func (s *source) group() (group []*Item) {
	for range 1 + s.next()%4 {
		var call []*Item
		for range 1 + s.next()%3 {
			call = append(call, s.item())
		}
		discard := call[0].Operation == Discard
		for _, item := range call {
			if discard != (item.Operation == Discard) { // a call discards, or does not
				item.Operation, item.Keys = call[0].Operation, call[0].Keys
			}
		}
		group = append(group, together(call...)...)
	}
	return group
}

func (s *source) item() *Item {
	b := s.next()
	item := receive(b%4, b>>2%3)
	item.ID = webhookID(b >> 4 % 4)
	switch s.next() % 8 {
	case 5:
		item.Operation = journal.Release
	case 6:
		item.Operation = journal.Correct
	case 7:
		item.Operation = Discard
		return item
	}
	if v := s.next(); v&1 == 1 {
		item.Versions = versions(version(v>>1%3, strconv.Itoa(int(v>>3))))
	}
	first := s.next()
	for i := range 1 + first%3 {
		k := key((first>>2+i)%5, 3) // a window a key, and each key once
		k.LookupOnly = s.next()%8 == 0
		item.Keys = append(item.Keys, k)
	}
	return item
}

// model is the journal of the fuzz test. contents are all that were ever recorded, stored what the plans recorded.
type model struct {
	now      time.Time
	contents map[journal.Hash][]journal.Seen
	stored   map[journal.Hash][]journal.Seen
	states   map[uuid.UUID]State
	// greatest are the greatest versions of subjects, versions what the plans recorded. stale are the last group's stale items.
	greatest map[journal.Hash]journal.SeenVersion
	versions map[journal.Hash][]journal.SeenVersion
	stale    []bool
}

func newModel() *model {
	return &model{
		now:      now,
		contents: make(map[journal.Hash][]journal.Seen),
		stored:   make(map[journal.Hash][]journal.Seen),
		greatest: make(map[journal.Hash]journal.SeenVersion),
		versions: make(map[journal.Hash][]journal.SeenVersion),
		states:   map[uuid.UUID]State{webhookID(0): Stored, webhookID(1): Quarantined, webhookID(2): Quarantined},
	}
}

func (m *model) known() *Known {
	k := &Known{Now: m.now, Contents: m.stored, Versions: m.versions, Webhooks: make(map[uuid.UUID]State)}
	for id, s := range m.states {
		k.Webhooks[id] = s
	}
	return k
}

func (m *model) store(records map[journal.Hash][]journal.Seen, versions []SubjectVersion) {
	for _, v := range versions {
		m.versions[v.Subject] = append(m.versions[v.Subject], journal.SeenVersion{At: m.now, Text: v.Text})
	}
	for k, contents := range records {
		m.stored[k] = append(m.stored[k], contents...) // as an engine does whose records lie in several buckets
	}
}

func (m *model) decide(group []*Item) (outcomes []Outcome) {
	m.stale = nil
	for len(group) > 0 {
		call := group[:1+group[0].Rest]
		group = group[len(call):]
		outcomes = append(outcomes, m.call(call)...)
	}
	return outcomes
}

func (m *model) call(call []*Item) []Outcome {
	before := make(map[uuid.UUID]State)
	for id, s := range m.states {
		before[id] = s
	}
	outcomes := make([]Outcome, len(call))
	for i, item := range call {
		outcomes[i] = m.move(item)
	}
	for i := range call {
		if outcomes[i] == NotFound {
			m.states = before
			m.stale = append(m.stale, make([]bool, len(call))...)
			return make([]Outcome, len(call))
		}
	}
	for i, item := range call {
		if item.Operation != Discard {
			outcomes[i] = m.identify(item)
		}
		m.stale = append(m.stale, (outcomes[i] == New || outcomes[i] == Revised) && m.raise(item))
	}
	return outcomes
}

func (m *model) move(item *Item) Outcome {
	s := m.states[item.ID]
	switch item.Operation {
	case journal.Release:
		if s != Quarantined {
			return NotFound
		}
		m.states[item.ID] = Released
	case journal.Correct:
		if s != Stored && s != Released {
			return NotFound
		}
	case Discard:
		if s != Quarantined {
			return Void
		}
		delete(m.states, item.ID)
		return Discarded
	}
	return New
}

// raise makes the item's version known, if it has one, and reports whether a greater one was. Versions are whole numbers.
func (m *model) raise(item *Item) (stale bool) {
	for _, v := range item.Versions {
		greatest, ok := m.greatest[v.Subject]
		if !ok || m.now.Sub(greatest.At) >= v.Window {
			greatest.Text = v.Text
		}
		a, _ := strconv.Atoi(v.Text)
		b, _ := strconv.Atoi(greatest.Text)
		stale = a < b
		m.greatest[v.Subject] = journal.SeenVersion{At: m.now, Text: strconv.Itoa(max(a, b))}
	}
	return stale
}

func (m *model) identify(item *Item) Outcome {
	alive, same, bytes := false, false, false
	knows := make(map[journal.Hash]bool)
	for _, k := range item.Keys {
		for _, s := range m.contents[k.Hash] {
			if m.now.Sub(s.At) >= k.Window {
				continue
			}
			alive = true
			same = same || s.Bytes == item.Bytes || item.Meaning != journal.Hash{} && s.Meaning == item.Meaning
			bytes = bytes || s.Bytes == item.Bytes
			knows[k.Hash] = knows[k.Hash] || s.Bytes == item.Bytes
		}
	}
	for _, k := range item.Keys {
		if !k.LookupOnly && !knows[k.Hash] {
			m.contents[k.Hash] = append(m.contents[k.Hash], journal.Seen{At: m.now, Bytes: item.Bytes, Meaning: item.Meaning})
		}
	}
	switch {
	case same && !bytes && item.Operation == journal.Receive:
		return Kept
	case same:
		return Duplicate
	case alive:
		return Revised
	default:
		return New
	}
}
