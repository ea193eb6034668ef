package access

import "strings"

// glob is a text in which `*` stands for any run of characters without the separator, and `**` for any run at all. Without a
// separator, both stand for any run.
type glob struct {
	parts     []part
	separator byte
}

// part of a glob.
type part struct {
	// literal is a text to find, if the part is no wildcard.
	literal string
	// wildcard: any run. across: separators included.
	wildcard, across bool
}

// newGlob reads a glob. A separator of 0 is none.
func newGlob(text string, separator byte) glob {
	g := glob{separator: separator}
	for text != "" {
		stars := len(text) - len(strings.TrimLeft(text, "*"))
		if stars > 0 {
			g.parts = append(g.parts, part{wildcard: true, across: stars > 1 || separator == 0})
			text = text[stars:]
			continue
		}
		end := strings.IndexByte(text, '*')
		if end < 0 {
			end = len(text)
		}
		g.parts = append(g.parts, part{literal: text[:end]})
		text = text[end:]
	}
	return g
}

// matches reports whether the glob matches all of a text. It takes at most len(g.parts) × len(text) steps.
func (g glob) matches(text string) bool {
	// reached[i]: the parts so far match text[:i].
	reached := make([]bool, len(text)+1)
	reached[0] = true
	for _, p := range g.parts {
		if p.wildcard {
			for i := 1; i <= len(text); i++ {
				reached[i] = reached[i] || reached[i-1] && (p.across || text[i-1] != g.separator)
			}
			continue
		}
		next := make([]bool, len(text)+1)
		for i := len(p.literal); i <= len(text); i++ {
			from := i - len(p.literal)
			next[i] = reached[from] && text[from:i] == p.literal
		}
		reached = next
	}
	return reached[len(text)]
}
