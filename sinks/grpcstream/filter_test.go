package grpcstream

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	streamv1 "github.com/webhook-bridge/bridge/gen/bridge/stream/v1"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, types, others string // Types are separated by spaces.
	}{
		{"order.changed", "order.changed", "order order.deleted order.changed.twice reorder.changed"},
		{"order.*", "order.changed order.deleted", "order order.line.changed order_line.changed"},
		{"*", "unmapped", "order.changed"},
		{"*.deleted", "order.deleted customer.deleted", "deleted order.line.deleted"},
		{"*.*", "order.deleted", "unmapped a.b.c"},
		{"**", "unmapped order.changed a.b.c.d", ""},
		{"order.**", "order order.changed order.line.changed", "order_line.changed unmapped"},
		{"**.deleted", "deleted order.deleted order.line.deleted", "order.deleted.twice"},
		{"a.**.z", "a.z a.b.z a.b.c.z a.z.z", "a z a.b a.z.b"},
		{"**.b.**", "b a.b b.c a.b.c", "a a.c"},
		{"**.*", "a a.b a.b.c", ""},
		{"a.**.b.**.c", "a.b.c a.x.b.y.c a.b.b.c.c", "a.c a.c.b a.b a.x.c"},
		{"**.**", "a a.b", ""},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for kind := range strings.FieldsSeq(c.types) {
			if !p.matches(strings.Split(kind, ".")) {
				t.Errorf("%s does not match %s", c.pattern, kind)
			}
		}
		for kind := range strings.FieldsSeq(c.others) {
			if p.matches(strings.Split(kind, ".")) {
				t.Errorf("%s matches %s", c.pattern, kind)
			}
		}
	}
}

// The same patterns, written as regular expressions, give the same result.
func TestPatternAgainstRegexp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(words []string, n int) []string {
		drawn := make([]string, n)
		for i := range drawn {
			drawn[i] = words[rng.IntN(len(words))]
		}
		return drawn
	}
	matched := 0
	for range 20_000 {
		text := strings.Join(draw([]string{"a", "b", "*", "**", "**"}, 1+rng.IntN(5)), ".")
		kind := strings.Join(draw([]string{"a", "b"}, 1+rng.IntN(6)), ".")
		p, err := parsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		var re strings.Builder
		for _, segment := range p {
			switch segment {
			case "*":
				re.WriteString(`[^.]+\.`)
			case "**":
				re.WriteString(`([^.]+\.)*`)
			default:
				re.WriteString(segment + `\.`)
			}
		}
		want := regexp.MustCompile("^" + re.String() + "$").MatchString(kind + ".")
		if got := p.matches(strings.Split(kind, ".")); got != want {
			t.Fatalf("%s on %s: %v, want %v", text, kind, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 || matched > 19_000 {
		t.Errorf("%d of the pairs match: they show little", matched)
	}
}

func TestMalformedPattern(t *testing.T) {
	for _, text := range []string{"", ".", "order.", ".order", "a..b", "ord*", "order.*ed", "***", "a.***", "Order.*", "order/1", "a b"} {
		if _, err := parsePattern(text); err == nil {
			t.Errorf("pattern %q is taken", text)
		}
	}
}

func TestFilterPasses(t *testing.T) {
	e := event(1)
	h := record(t, e).Header
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
		f, err := newFilter(c.filter)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // The second time from memory.
			if got := f.passes(&h); got != c.want {
				t.Errorf("filter %v passes %v, want %v", c.filter, got, c.want)
			}
		}
	}
}

// TestFilterByStale: a filter passes all events, the stale ones, or the others.
func TestFilterByStale(t *testing.T) {
	e := event(1)
	for _, stale := range []bool{false, true} {
		e.Stale = stale
		h := record(t, e).Header
		for want, stale := range map[bool]*bool{true: proto.Bool(stale), false: proto.Bool(!stale)} {
			f, err := newFilter(&streamv1.Filter{Types: []string{"**"}, Stale: stale})
			if err != nil {
				t.Fatal(err)
			}
			if f.passes(&h) != want {
				t.Errorf("filter with stale %v passes an event with stale %v: %v", *stale, e.GetStale(), !want)
			}
		}
		f, err := newFilter(nil)
		if err != nil || !f.passes(&h) {
			t.Errorf("no filter passes an event with stale %v: false, %v", e.GetStale(), err)
		}
	}
}

func TestFilterForgetsRatherThanGrows(t *testing.T) {
	f, err := newFilter(&streamv1.Filter{Types: []string{"a.*"}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 * maxKnownTypes {
		if !f.passesType(fmt.Appendf(nil, "a.b%d", n)) || f.passesType(fmt.Appendf(nil, "b.b%d", n)) {
			t.Fatalf("wrong at type %d", n)
		}
	}
	if len(f.passing) > maxKnownTypes {
		t.Errorf("%d types are remembered", len(f.passing))
	}
}

func TestFilterHash(t *testing.T) {
	base := &streamv1.Filter{Types: []string{"a", "b"}, Sources: []string{"s"}}
	for _, same := range []*streamv1.Filter{
		{Types: []string{"b", "a"}, Sources: []string{"s"}},
		{Types: []string{"b", "a", "b"}, Sources: []string{"s", "s"}},
	} {
		if hashFilter(same) != hashFilter(base) {
			t.Errorf("%v and %v differ", same, base)
		}
	}
	if hashFilter(nil) != hashFilter(&streamv1.Filter{}) {
		t.Error("no filter and an empty one differ")
	}
	seen := map[[filterHashLen]byte]*streamv1.Filter{hashFilter(base): base}
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
		if twin, ok := seen[hashFilter(other)]; ok {
			t.Errorf("%v and %v have one hash", other, twin)
		}
		seen[hashFilter(other)] = other
	}
}
