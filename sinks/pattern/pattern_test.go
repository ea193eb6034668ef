package pattern

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
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
		p, err := Parse(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for kind := range strings.FieldsSeq(c.types) {
			if !p.Matches(strings.Split(kind, ".")) {
				t.Errorf("%s does not match %s", c.pattern, kind)
			}
		}
		for kind := range strings.FieldsSeq(c.others) {
			if p.Matches(strings.Split(kind, ".")) {
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
		p, err := Parse(text)
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
		if got := p.Matches(strings.Split(kind, ".")); got != want {
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
		if _, err := Parse(text); err == nil {
			t.Errorf("pattern %q is taken", text)
		}
	}
}

// Two patterns overlap exactly if one of all short types matches both: a type as long as both patterns together is long enough.
func TestOverlapsAgainstTypes(t *testing.T) {
	alphabet := []string{"a", "b", "*", "**"}
	var all []Pattern
	for _, first := range alphabet {
		all = append(all, Pattern{first})
		for _, second := range alphabet {
			all = append(all, Pattern{first, second})
			for _, third := range alphabet {
				all = append(all, Pattern{first, second, third})
			}
		}
	}
	var types [][]string
	last := [][]string{nil}
	for range 6 {
		var next [][]string
		for _, segments := range last {
			for _, word := range []string{"a", "b"} {
				next = append(next, append(segments[:len(segments):len(segments)], word))
			}
		}
		types, last = append(types, next...), next
	}
	for _, p := range all {
		var matched [][]string
		for _, segments := range types {
			if p.Matches(segments) {
				matched = append(matched, segments)
			}
		}
		for _, q := range all {
			want := false
			for _, segments := range matched {
				if want = q.Matches(segments); want {
					break
				}
			}
			if got := p.Overlaps(q); got != want {
				t.Fatalf("%v and %v: %v, want %v", p, q, got, want)
			}
		}
	}
}
