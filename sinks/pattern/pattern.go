// Package pattern has the patterns of canonical types, such as `order.*`: filters of subscriptions and the rights of principals are
// written with them.
package pattern

import (
	"fmt"
	"strings"
)

const (
	anySegment  = "*"
	anySegments = "**"
)

// Pattern is a pattern of canonical types, in segments. `*` stands for one segment, `**` for any number of them, also none.
type Pattern []string

// Parse reads a pattern. Its errors are for the author of the pattern.
func Parse(text string) (Pattern, error) {
	p := Pattern(strings.Split(text, "."))
	for _, segment := range p {
		switch {
		case segment == "":
			return nil, fmt.Errorf("pattern %q has an empty segment", text)
		case segment != anySegment && segment != anySegments && strings.Contains(segment, "*"):
			return nil, fmt.Errorf("pattern %q: `*` and `**` stand for whole segments, as in `order.*`", text)
		case strings.ContainsFunc(segment, notInType) && !strings.Contains(segment, "*"):
			return nil, fmt.Errorf("pattern %q: types are lower-case words joined by dots, as in `order.changed`", text)
		}
	}
	return p, nil
}

func notInType(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-'
}

// Matches reports whether the pattern matches a type, given in segments. It takes at most len(p) × len(segments) steps: only the
// last `**` is ever extended, since it can match every segment that an earlier `**` could match instead.
func (p Pattern) Matches(segments []string) bool {
	at, i := 0, 0            // The next elements to compare, of p and of segments.
	wildcard, after := -1, 0 // The last `**`, and the segment at which the match of the rest after it was tried.
	for i < len(segments) {
		switch {
		case at < len(p) && p[at] == anySegments:
			wildcard, after = at, i
			at++
		case at < len(p) && (p[at] == anySegment || p[at] == segments[i]):
			at++
			i++
		case wildcard >= 0:
			after++
			at, i = wildcard+1, after
		default:
			return false
		}
	}
	for at < len(p) && p[at] == anySegments {
		at++
	}
	return at == len(p)
}

// Overlaps reports whether some type matches both patterns. It takes len(p) × len(q) steps.
func (p Pattern) Overlaps(q Pattern) bool {
	// both[j] says whether some segments match p[i:] and q[j:]. It is computed from the ends of the patterns.
	both := make([]bool, len(q)+1)
	for i := len(p); i >= 0; i-- {
		below := both // the row of i+1, or of nothing
		both = make([]bool, len(q)+1)
		for j := len(q); j >= 0; j-- {
			switch {
			case i == len(p) && j == len(q):
				both[j] = true
			case i < len(p) && p[i] == anySegments:
				both[j] = below[j] || j < len(q) && both[j+1]
			case j < len(q) && q[j] == anySegments:
				both[j] = both[j+1] || i < len(p) && below[j]
			case i < len(p) && j < len(q):
				both[j] = below[j+1] && (p[i] == anySegment || q[j] == anySegment || p[i] == q[j])
			}
		}
	}
	return both[0]
}
