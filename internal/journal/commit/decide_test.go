package commit

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/webhook-bridge/bridge/internal/journal"
)

var now = time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC)

func hash(n byte) journal.Hash { return journal.Hash{0: n, 15: n} }

func webhookID(n byte) uuid.UUID { return uuid.UUID{6: 0x70, 15: n} }

// key is a key with a window of n seconds.
func key(n byte, seconds int) journal.Key {
	return journal.Key{Hash: hash(n), Window: time.Duration(seconds) * time.Second}
}

func lookup(k journal.Key) journal.Key {
	k.LookupOnly = true
	return k
}

// seen is a content that was committed so many seconds ago.
func seen(ago int, bytes, meaning byte) journal.Seen {
	s := journal.Seen{At: now.Add(-time.Duration(ago) * time.Second), Bytes: hash(bytes)}
	if meaning != 0 {
		s.Meaning = hash(meaning)
	}
	return s
}

// receive is a webhook with one event.
func receive(bytes, meaning byte, keys ...journal.Key) *Item {
	return &Item{Keys: keys, Bytes: seen(0, bytes, meaning).Bytes, Meaning: seen(0, bytes, meaning).Meaning, Events: 1}
}

func operate(o journal.Operation, id byte, bytes, meaning byte, keys ...journal.Key) *Item {
	item := receive(bytes, meaning, keys...)
	item.Operation, item.ID = o, webhookID(id)
	return item
}

// together makes one call of items.
func together(items ...*Item) []*Item {
	items[0].Rest = len(items) - 1
	return items
}

// TestDecide has a case for each rule of identity and of the quarantine.
func TestDecide(t *testing.T) {
	known := &Known{
		Now: now,
		Contents: map[journal.Hash][]journal.Seen{
			hash(1): {seen(5, 1, 1)},
			hash(2): {seen(10, 2, 2), seen(5, 3, 3)},
			hash(4): {seen(-7200, 1, 1)}, // from a clock that was ahead
			hash(5): {seen(5, 9, 0)},
		},
		Webhooks: map[uuid.UUID]State{webhookID(1): Stored, webhookID(2): Quarantined, webhookID(3): Released, webhookID(4): Quarantined},
	}
	records := func(all ...any) map[journal.Hash][]journal.Seen {
		m := make(map[journal.Hash][]journal.Seen)
		for i := 0; i < len(all); i += 2 {
			m[hash(byte(all[i].(int)))] = all[i+1].([]journal.Seen)
		}
		return m
	}
	for _, c := range []struct {
		rule    string
		group   []*Item
		want    []Outcome
		records map[journal.Hash][]journal.Seen
	}{
		{"nothing known: new", []*Item{receive(1, 1, key(9, 10))}, []Outcome{New}, records(9, []journal.Seen{seen(0, 1, 1)})},
		{"same bytes: duplicate, not renewed", []*Item{receive(1, 7, key(1, 10))}, []Outcome{Duplicate}, records()},
		{
			"same meaning: duplicate, its bytes kept and recorded",
			[]*Item{receive(7, 1, key(1, 10))},
			[]Outcome{Kept},
			records(1, []journal.Seen{seen(5, 1, 1), seen(0, 7, 1)}),
		},
		{
			"another meaning: revision",
			[]*Item{receive(7, 7, key(1, 10))},
			[]Outcome{Revised},
			records(1, []journal.Seen{seen(5, 1, 1), seen(0, 7, 7)}),
		},
		{
			"no meaning equals no meaning: bytes decide",
			[]*Item{receive(8, 0, key(5, 10)), receive(9, 0, key(5, 10))},
			[]Outcome{Revised, Duplicate},
			records(5, []journal.Seen{seen(5, 9, 0), seen(0, 8, 0)}),
		},
		{"the window has passed: new", []*Item{receive(1, 1, key(1, 5))}, []Outcome{New}, records(1, []journal.Seen{seen(0, 1, 1)})},
		{
			"a content has a window of its own",
			[]*Item{receive(2, 2, key(2, 10)), receive(3, 3, key(2, 10))},
			[]Outcome{Revised, Duplicate},
			records(2, []journal.Seen{seen(5, 3, 3), seen(0, 2, 2)}),
		},
		{"a content ahead of the clock is alive", []*Item{receive(1, 1, key(4, 10))}, []Outcome{Duplicate}, records()},
		{
			"any key decides, and the content is recorded under the others",
			[]*Item{receive(1, 1, key(9, 10), key(1, 10))},
			[]Outcome{Duplicate},
			records(9, []journal.Seen{seen(0, 1, 1)}),
		},
		{
			"a duplicate under one key, a revision under another: duplicate",
			[]*Item{receive(1, 1, key(2, 10), key(1, 10))},
			[]Outcome{Duplicate},
			records(2, []journal.Seen{seen(5, 3, 3), seen(0, 1, 1)}),
		},
		{
			"bytes known under any key are not kept again",
			[]*Item{receive(3, 1, key(1, 10), key(2, 10))},
			[]Outcome{Duplicate},
			records(1, []journal.Seen{seen(5, 1, 1), seen(0, 3, 1)}),
		},
		{"a key that is only looked up decides", []*Item{receive(1, 1, key(9, 10), lookup(key(1, 10)))}, []Outcome{Duplicate}, records(9, []journal.Seen{seen(0, 1, 1)})},
		{"nothing is recorded under it", []*Item{receive(7, 7, lookup(key(1, 10)), lookup(key(8, 10)))}, []Outcome{Revised}, records()},
		{
			"within the group: as if one after the other",
			[]*Item{receive(1, 1, key(9, 10)), receive(1, 1, key(9, 10)), receive(2, 2, key(9, 10)), receive(3, 2, key(9, 10)), receive(2, 2, key(9, 10))},
			[]Outcome{New, Duplicate, Revised, Kept, Duplicate},
			records(9, []journal.Seen{seen(0, 1, 1), seen(0, 2, 2), seen(0, 3, 2)}),
		},
		{
			"within one call too",
			together(receive(1, 1, key(9, 10)), receive(2, 2, key(9, 10)), receive(1, 1, key(9, 10))),
			[]Outcome{New, Revised, Duplicate},
			records(9, []journal.Seen{seen(0, 1, 1), seen(0, 2, 2)}),
		},
		{"a key given twice is recorded once", []*Item{receive(1, 1, key(9, 10), key(9, 10))}, []Outcome{New}, records(9, []journal.Seen{seen(0, 1, 1)})},
		{
			"released once",
			[]*Item{operate(journal.Release, 2, 1, 1, key(9, 10)), operate(journal.Release, 2, 2, 2, key(8, 10))},
			[]Outcome{New, NotFound},
			records(9, []journal.Seen{seen(0, 1, 1)}),
		},
		{
			"released as a duplicate, also by meaning: its bytes are stored already",
			[]*Item{operate(journal.Release, 2, 1, 1, key(1, 10)), operate(journal.Release, 4, 7, 1, key(1, 10))},
			[]Outcome{Duplicate, Duplicate},
			records(1, []journal.Seen{seen(5, 1, 1), seen(0, 7, 1)}),
		},
		{
			"released as a revision",
			[]*Item{operate(journal.Release, 2, 7, 7, key(1, 10))},
			[]Outcome{Revised},
			records(1, []journal.Seen{seen(5, 1, 1), seen(0, 7, 7)}),
		},
		{
			"not in quarantine",
			[]*Item{operate(journal.Release, 1, 1, 1, key(9, 10)), operate(journal.Release, 3, 1, 1, key(9, 10)), operate(journal.Release, 9, 1, 1, key(9, 10))},
			[]Outcome{NotFound, NotFound, NotFound},
			records(),
		},
		{
			"discarded or released, not both",
			[]*Item{operate(Discard, 2, 0, 0), operate(journal.Release, 2, 1, 1, key(9, 10)), operate(journal.Release, 4, 1, 1, key(9, 10)), operate(Discard, 4, 0, 0)},
			[]Outcome{Discarded, NotFound, New, Void},
			records(9, []journal.Seen{seen(0, 1, 1)}),
		},
		{"nothing to discard", []*Item{operate(Discard, 1, 0, 0), operate(Discard, 9, 0, 0)}, []Outcome{Void, Void}, records()},
		{
			"corrections of webhooks that are published",
			[]*Item{
				operate(journal.Correct, 1, 1, 0, key(9, 10)), operate(journal.Correct, 3, 2, 0, key(8, 10)), operate(journal.Correct, 1, 1, 0, key(9, 10)),
				operate(journal.Correct, 2, 3, 0, key(7, 10)), operate(journal.Correct, 9, 3, 0, key(7, 10)),
			},
			[]Outcome{New, New, Duplicate, NotFound, NotFound},
			records(9, []journal.Seen{seen(0, 1, 0)}, 8, []journal.Seen{seen(0, 2, 0)}),
		},
		{
			"a call with one webhook that is not found leaves nothing, not even for those behind it",
			append(
				together(operate(journal.Release, 2, 1, 1, key(9, 10)), receive(2, 2, key(8, 10)), operate(journal.Release, 2, 3, 3, key(7, 10))),
				operate(journal.Release, 2, 1, 1, key(9, 10)), receive(2, 2, key(8, 10)),
			),
			[]Outcome{NotFound, NotFound, NotFound, New, New},
			records(9, []journal.Seen{seen(0, 1, 1)}, 8, []journal.Seen{seen(0, 2, 2)}),
		},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var plan Plan
			for range 2 { // its memory is used again
				Decide(&plan, c.group, known)
			}
			var got []Outcome
			events := 0
			for i, d := range plan.Decisions {
				got = append(got, d.Outcome)
				if d.Adds() {
					if d.First != events {
						t.Errorf("item %d has its event at %d, want %d", i, d.First, events)
					}
					events++
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("outcomes (-want +got):\n%s", d)
			}
			if plan.Events != events {
				t.Errorf("%d events, want %d", plan.Events, events)
			}
			if d := cmp.Diff(c.records, recordsOf(&plan, known)); d != "" {
				t.Errorf("records (-want +got):\n%s", d)
			}
		})
	}
}

func recordsOf(p *Plan, known *Known) map[journal.Hash][]journal.Seen {
	all := make(map[journal.Hash][]journal.Seen)
	for i := range p.Records() {
		k, contents := p.Record(i, nil, known)
		all[k] = contents
	}
	return all
}

// TestManyContents: under a key the newest 256 contents are recorded.
func TestManyContents(t *testing.T) {
	known := &Known{Now: now, Contents: map[journal.Hash][]journal.Seen{}}
	for i := range 200 {
		known.Contents[hash(1)] = append(known.Contents[hash(1)], journal.Seen{At: now.Add(-time.Duration(i) * time.Second), Bytes: journal.Hash{0: byte(i), 1: 1}})
	}
	var group []*Item
	for i := range 200 {
		group = append(group, &Item{Keys: []journal.Key{key(1, 1000)}, Bytes: journal.Hash{0: byte(i), 1: 2}})
	}
	var plan Plan
	Decide(&plan, group, known)
	_, contents := plan.Record(0, nil, known)
	if len(contents) != 256 || contents[0].Bytes != (journal.Hash{0: 55, 1: 1}) || contents[255].Bytes != (journal.Hash{0: 199, 1: 2}) {
		t.Errorf("%d contents from %v to %v", len(contents), contents[0], contents[len(contents)-1])
	}
}

// TestDecideAllocatesNothing: new webhooks cost no memory once the plan's has grown.
func TestDecideAllocatesNothing(t *testing.T) {
	var group []*Item
	for i := range 100 {
		group = append(group, receive(byte(i), byte(i), key(byte(i), 10), key(byte(100+i), 10)))
	}
	known := &Known{Now: now}
	var plan Plan
	Decide(&plan, group, known)
	decide := func() { Decide(&plan, group, known) }
	if n := testing.AllocsPerRun(10, decide); n > 0 {
		t.Errorf("%v allocations", n)
	}
	for i, item := range group {
		item.Versions = versions(version(byte(i%10), strconv.Itoa(i*7%100)))
	}
	decide()
	if n := testing.AllocsPerRun(10, decide); n > 0 {
		t.Errorf("%v allocations with versions", n)
	}
}

// FuzzDecide compares Decide with a model that commits one call after the other, and keeps every content for ever.
func FuzzDecide(f *testing.F) {
	f.Add([]byte("the quick brown fox jumps over the lazy dog, again and again"))
	f.Add([]byte{0, 1, 1, 1, 0, 1, 1, 1, 128, 2, 2, 2, 2, 2, 200, 7, 7, 7})
	for seed := range byte(40) {
		b := make([]byte, 200)
		for i, x := 0, uint32(seed)+1; i < len(b); i++ {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newModel()
		var plan Plan
		source := &source{data: data}
		for step := 0; len(source.data) > 0 && step < 20; step++ {
			m.now = m.now.Add(time.Duration(source.next()%4) * time.Second)
			group := source.group()
			known := m.known()
			Decide(&plan, group, known)
			want := m.decide(group)
			var got []Outcome
			for _, d := range plan.Decisions {
				got = append(got, d.Outcome)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("step %d (-want +got):\n%s\n%s", step, d, describe(group))
			}
			for i, d := range plan.Decisions {
				if got := len(d.Stale) > 0; got != m.stale[i] {
					t.Fatalf("step %d: item %d is stale: %v, want %v\n%s", step, i, got, m.stale[i], describe(group))
				}
			}
			m.store(recordsOf(&plan, known), plan.Versions())
		}
	})
}

func describe(group []*Item) string {
	var b strings.Builder
	for _, item := range group {
		fmt.Fprintf(&b, "%+v\n", *item)
	}
	return b.String()
}
