package commit

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// version is a version with a window of ten seconds.
func version(subject byte, text string) journal.Version {
	return journal.Version{Subject: hash(100 + subject), Text: text, Window: 10 * time.Second}
}

func versions(all ...journal.Version) []journal.Version { return all }

// publish is a webhook that no key knows, with an event for each version.
func publish(n byte, all ...journal.Version) *Item {
	item := receive(n, n, key(n, 10))
	item.Events, item.Versions = len(all), all
	return item
}

// TestDecideVersions has a case for each rule of versions.
func TestDecideVersions(t *testing.T) {
	t.Parallel()
	seenVersion := func(ago int, text string) journal.SeenVersion {
		return journal.SeenVersion{At: now.Add(-time.Duration(ago) * time.Second), Text: text}
	}
	known := &Known{
		Now:      now,
		Contents: map[journal.Hash][]journal.Seen{hash(50): {seen(5, 50, 50)}},
		Versions: map[journal.Hash][]journal.SeenVersion{
			hash(101): {seenVersion(5, "7"), seenVersion(9, "6"), seenVersion(10, "99")},
			hash(102): {seenVersion(10, "9")},
			hash(103): {seenVersion(-7200, "9")}, // from a clock that was ahead
			hash(104): {},
		},
	}
	duplicate := publish(50, version(1, "100"))
	released := operate(journal.Release, 9, 60, 60, key(60, 10))
	released.Versions = versions(version(1, "100"))
	none := journal.Version{}
	for _, c := range []struct {
		rule  string
		group []*Item
		stale [][]int
		want  map[byte]string
	}{
		{"nothing known", []*Item{publish(1, version(9, "1"))}, [][]int{nil}, map[byte]string{9: "1"}},
		{"no version", []*Item{publish(1, none), publish(2)}, [][]int{nil, nil}, nil},
		{"a greater one is known", []*Item{publish(1, version(1, "6.5"))}, [][]int{{0}}, map[byte]string{1: "7"}},
		{"an equal one is known", []*Item{publish(1, version(1, "7.0"))}, [][]int{nil}, map[byte]string{1: "7"}},
		{"a lesser one is known", []*Item{publish(1, version(1, "10"))}, [][]int{nil}, map[byte]string{1: "10"}},
		{"the window has passed", []*Item{publish(1, version(2, "1"))}, [][]int{nil}, map[byte]string{2: "1"}},
		{"a version ahead of the clock is known", []*Item{publish(1, version(3, "1"))}, [][]int{{0}}, map[byte]string{3: "9"}},
		{
			"within an item, in order",
			[]*Item{publish(1, version(4, "1"), none, version(4, "3"), version(4, "2"), version(5, "1"), version(4, "2"))},
			[][]int{{3, 5}},
			map[byte]string{4: "3", 5: "1"},
		},
		{
			"within the group, in order",
			[]*Item{publish(1, version(4, "1")), publish(2, version(4, "3")), publish(3, version(4, "2")), publish(4, version(4, "3"))},
			[][]int{nil, nil, {0}, nil},
			map[byte]string{4: "3"},
		},
		{"a duplicate is not compared", []*Item{duplicate, publish(1, version(1, "8"))}, [][]int{nil, nil}, map[byte]string{1: "8"}},
		{
			"a call with a webhook that is not found leaves nothing",
			append(together(publish(1, version(1, "100")), released), publish(2, version(1, "8"))),
			[][]int{nil, nil, nil},
			map[byte]string{1: "8"},
		},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			var plan Plan
			for range 2 { // its memory is used again
				Decide(&plan, c.group, known)
			}
			var stale [][]int
			for _, d := range plan.Decisions {
				stale = append(stale, d.Stale)
			}
			if d := cmp.Diff(c.stale, stale); d != "" {
				t.Errorf("stale events (-want +got):\n%s", d)
			}
			var got map[byte]string
			for _, v := range plan.Versions() {
				if got == nil {
					got = make(map[byte]string)
				}
				got[v.Subject[0]-100] = v.Text
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("versions to record (-want +got):\n%s", d)
			}
		})
	}
}

// TestEventSuffix: an encoded event with its suffix is the same event, marked as stale.
func TestEventSuffix(t *testing.T) {
	t.Parallel()
	event := &eventv1.Event{Id: "1", Subject: "order/1", ReceivedAt: timestamppb.New(now), Data: &eventv1.Event_Order{Order: &eventv1.Order{Id: "1"}}}
	encoded, err := proto.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pending{Decision: Decision{Stale: []int{1, 4}}}
	for i, want := range []bool{false, true, false, false, true, false} {
		got := new(eventv1.Event)
		if err := proto.Unmarshal(append(encoded[:len(encoded):len(encoded)], p.EventSuffix(i)...), got); err != nil {
			t.Fatal(err)
		}
		event.Stale = want
		if !proto.Equal(got, event) {
			t.Errorf("event %d is %v, want %v", i, got, event)
		}
	}
}

// TestBadVersions: an entry whose versions break the rules is refused before it is queued.
func TestBadVersions(t *testing.T) {
	t.Parallel()
	entry := func(events int, all ...journal.Version) *journal.Entry {
		return &journal.Entry{
			Webhook: &journalv1.Webhook{Id: webhookID(1).String()}, Keys: []journal.Key{key(1, 10)}, Events: make([][]byte, events), Versions: all,
		}
	}
	long, short := version(1, strings.Repeat("1", journal.MaxVersion+1)), version(1, "1")
	short.Window = time.Millisecond
	endless := version(1, "1")
	endless.Window = time.Hour + 1
	options := &Options{MaxWindow: time.Hour, Now: time.Now}
	for name, e := range map[string]*journal.Entry{
		"fewer than events": entry(2, version(1, "1")), "more than events": entry(0, version(1, "1")), "a long one": entry(1, long),
		"a short window": entry(1, short), "an endless window": entry(1, endless),
	} {
		if err := NewQueue(Options{}).newPending().encode(e, options); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, e := range map[string]*journal.Entry{"none": entry(2), "one": entry(1, version(1, "1")), "an event without": entry(1, journal.Version{})} {
		if err := NewQueue(Options{}).newPending().encode(e, options); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
