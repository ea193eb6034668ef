package grpcstream

import (
	"fmt"
	"strings"
)

const (
	anySegment  = "*"
	anySegments = "**"
)

// pattern is a pattern of canonical types, in segments.
type pattern []string

// parsePattern's errors are for the client.
func parsePattern(text string) (pattern, error) {
	p := pattern(strings.Split(text, "."))
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

// matches reports whether the pattern matches a type. It takes at most len(p) × len(segments) steps: only the last `**` is
// ever extended, since it can match every segment that an earlier `**` could match instead.
func (p pattern) matches(segments []string) bool {
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
