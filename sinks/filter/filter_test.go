package filter

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

func TestFilterPasses(t *testing.T) {
	e := shipment()
	r := record(t, e)
	for _, c := range []struct {
		filter *streamv1.Filter
		want   bool
	}{
		{nil, true},
		{&streamv1.Filter{}, true},
		{&streamv1.Filter{Types: []string{"order.*", "shipment.*"}}, true},
		{&streamv1.Filter{Types: []string{"order.*"}}, false},
		{&streamv1.Filter{Sources: []string{"other", e.GetSource()}}, true},
		{&streamv1.Filter{Sources: []string{"return"}}, false},
		{&streamv1.Filter{Subjects: []string{"x", e.GetSubject()}}, true},
		{&streamv1.Filter{Subjects: []string{e.GetSubject() + "0"}}, false},
		{&streamv1.Filter{Types: []string{"**"}, Sources: []string{e.GetSource()}, Subjects: []string{e.GetSubject()}}, true},
		{&streamv1.Filter{Types: []string{"**"}, Sources: []string{e.GetSource()}, Subjects: []string{"x"}}, false},
		{&streamv1.Filter{Types: []string{"**"}, Sources: []string{"x"}, Subjects: []string{e.GetSubject()}}, false},
		{&streamv1.Filter{Stale: proto.Bool(false)}, true},
		{&streamv1.Filter{Stale: proto.Bool(true)}, false},
	} {
		f, err := New(c.filter, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // The second time from memory.
			if got := f.Passes(&r); got != c.want {
				t.Errorf("filter %v passes %v, want %v", c.filter, got, c.want)
			}
		}
	}
}

// TestFilterByStale: a filter passes all events, the stale ones, or the others.
func TestFilterByStale(t *testing.T) {
	e := shipment()
	for _, stale := range []bool{false, true} {
		e.Stale = stale
		r := record(t, e)
		for want, stale := range map[bool]*bool{true: proto.Bool(stale), false: proto.Bool(!stale)} {
			f, err := New(&streamv1.Filter{Types: []string{"**"}, Stale: stale}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if f.Passes(&r) != want {
				t.Errorf("filter with stale %v passes an event with stale %v: %v", *stale, e.GetStale(), !want)
			}
		}
		f, err := New(nil, nil)
		if err != nil || !f.Passes(&r) {
			t.Errorf("no filter passes an event with stale %v: false, %v", e.GetStale(), err)
		}
	}
}

func TestFilterForgetsRatherThanGrows(t *testing.T) {
	f, err := New(&streamv1.Filter{Types: []string{"a.*"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 * maxKnownTypes {
		if !f.passesType(fmt.Appendf(nil, "a.b%d", n)) || f.passesType(fmt.Appendf(nil, "b.b%d", n)) {
			t.Fatalf("wrong at type %d", n)
		}
	}
	if known := *f.known.Load(); len(known) > maxKnownTypes {
		t.Errorf("%d types are remembered", len(known))
	}
}

func TestFilterHash(t *testing.T) {
	base := &streamv1.Filter{Types: []string{"a", "b"}, Sources: []string{"s"}}
	for _, same := range []*streamv1.Filter{
		{Types: []string{"b", "a"}, Sources: []string{"s"}},
		{Types: []string{"b", "a", "b"}, Sources: []string{"s", "s"}},
	} {
		if Hash(same) != Hash(base) {
			t.Errorf("%v and %v differ", same, base)
		}
	}
	if Hash(nil) != Hash(&streamv1.Filter{}) {
		t.Error("no filter and an empty one differ")
	}
	seen := map[[HashLen]byte]*streamv1.Filter{Hash(base): base}
	for _, other := range []*streamv1.Filter{
		nil,
		{Types: []string{"a", "b"}},
		{Types: []string{"a", "b", "s"}},
		{Types: []string{"ab"}, Sources: []string{"s"}},
		{Types: []string{"s"}, Sources: []string{"a", "b"}},
		{Types: []string{"a", "b"}, Subjects: []string{"s"}},
		{Types: []string{"a", "b"}, Sources: []string{"S"}},
		{Types: []string{"a", "b"}, Sources: []string{"s"}, Stale: proto.Bool(false)},
		{Types: []string{"a", "b"}, Sources: []string{"s"}, Stale: proto.Bool(true)},
		{Stale: proto.Bool(false)},
		{Stale: proto.Bool(true)},
	} {
		if twin, ok := seen[Hash(other)]; ok {
			t.Errorf("%v and %v have one hash", other, twin)
		}
		seen[Hash(other)] = other
	}
}
