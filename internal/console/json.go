package console

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a part of a shown text, with the class that chooses its colour. A text without colour has none.
type token struct {
	Class, Text string
	// Mark says that the token is the place of a problem.
	Mark bool
}

const (
	// maxText is how much of a text is shown, in bytes.
	maxText = 96 << 10
	// aroundMark is how much is shown before and after a marked place that lies beyond, in bytes.
	aroundMark = 8 << 10
	// maxIndent bounds the depth that is shown by indentation.
	maxIndent = 24
)

// shown is a text as a page shows it.
type shown struct {
	Tokens []token
	// Cut says that a part is left out; Size is the whole text's.
	Cut  bool
	Size int
	// Marked says that a token is marked.
	Marked bool
}

// marks are the places of a text to mark.
type marks struct {
	// offset is a place in bytes; -1 is none.
	offset int
	// path is the path of a value, as problems have it; "" is none.
	path string
	// drift are paths without list indexes.
	drift []string
}

var noMarks = marks{offset: -1}

// showJSON shows a text as JSON: indented, with colours. The text need not be JSON, may be cut anywhere, and may be masked, so that its
// numbers are none: what is no JSON is shown as it is.
func showJSON(text string, m marks) shown {
	s := shown{Size: len(text)}
	from := 0
	if len(text) > maxText {
		s.Cut = true
		if m.offset > maxText-aroundMark && m.offset < len(text) {
			from = max(0, m.offset-aroundMark)
			for from > 0 && !utf8.RuneStart(text[from]) {
				from--
			}
		}
		text = text[:min(len(text), from+maxText)]
	}
	p := printer{text: text, pos: from, marks: m}
	if from > 0 {
		p.part()
	} else {
		p.print()
	}
	s.Tokens, s.Marked = p.out, p.marked
	if s.Cut {
		s.Tokens = append(s.Tokens, token{Text: "\n…"})
	}
	return s
}

// level is an object or a list that is open.
type level struct {
	object bool
	// key is the name of the value that comes next, or index its number.
	key   string
	index int
	// named says that the key of the value that comes next was there.
	named bool
}

// printer writes tokens of a text that may be JSON.
type printer struct {
	text   string
	pos    int
	marks  marks
	levels []level
	out    []token
	marked bool
}

func (p *printer) print() {
	for {
		p.space()
		if p.pos >= len(p.text) {
			break
		}
		p.next()
	}
	if p.marks.offset >= p.pos && p.marks.offset >= 0 && !p.marked {
		p.out = append(p.out, token{"", "⟨the end⟩", true})
		p.marked = true
	}
}

// part prints a part from the middle of a text as it is: whether it begins within a string is not known.
func (p *printer) part() {
	p.plain("… " + visible(p.text[p.pos:p.marks.offset]))
	p.pos = p.marks.offset
	if end := min(endOfWord(p.text, p.pos), p.pos+64); p.text[p.pos] == '"' {
		p.emit("", min(endOfString(p.text, p.pos), p.pos+64))
	} else {
		p.emit("", end)
	}
	p.plain(visible(p.text[p.pos:]))
}

// next prints the next token.
func (p *printer) next() {
	start := p.pos
	switch c := p.text[p.pos]; c {
	case '{', '[':
		p.emit("p", start+1)
		p.levels = append(p.levels, level{object: c == '{'})
		if !p.closesAtOnce() {
			p.line()
		}
	case '}', ']':
		if len(p.levels) > 0 {
			p.levels = p.levels[:len(p.levels)-1]
			if last := p.out[len(p.out)-1].Text; last != "{" && last != "[" {
				p.line()
			}
		}
		p.emit("p", start+1)
	case ',':
		p.emit("p", start+1)
		if n := len(p.levels); n > 0 {
			p.levels[n-1].index++
			p.levels[n-1].named = false
		}
		p.line()
	case ':':
		p.emit("p", start+1)
		if n := len(p.levels); n > 0 {
			p.levels[n-1].named = true
		}
		p.plain(" ")
	case '"':
		end := endOfString(p.text, start)
		if n := len(p.levels); n > 0 && p.levels[n-1].object && !p.levels[n-1].named {
			p.levels[n-1].key = strings.Trim(p.text[start:end], `"`)
			p.emit("k", end)
			return
		}
		p.emit("s", end)
	default:
		p.emit(classOf(c), endOfWord(p.text, start))
	}
}

// closesAtOnce reports whether the object or list that was opened is empty.
func (p *printer) closesAtOnce() bool {
	p.space()
	return p.pos < len(p.text) && (p.text[p.pos] == '}' || p.text[p.pos] == ']')
}

func (p *printer) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// emit prints the text up to end.
func (p *printer) emit(class string, end int) {
	t := token{Class: class, Text: visible(p.text[p.pos:end])}
	if at := p.marks.offset; at >= 0 && at < end && !p.marked {
		t.Mark, p.marked = true, true
	}
	opens := class == "p" && (t.Text == "{" || t.Text == "[")
	if p.marks.offset < 0 && (class == "s" || class == "n" || class == "k" || opens) {
		switch path := p.path(); {
		case path == "":
		case class != "k" && p.marks.path != "" && path == p.marks.path:
			t.Mark, p.marked = true, true
		case p.drifted(path):
			t.Class += " d"
		}
	}
	p.out = append(p.out, t)
	p.pos = end
}

func (p *printer) drifted(path string) bool {
	if len(p.marks.drift) == 0 {
		return false
	}
	path = withoutIndexes(path)
	for _, d := range p.marks.drift {
		if d == path {
			return true
		}
	}
	return false
}

// line begins a line at the present depth.
func (p *printer) line() { p.plain("\n" + strings.Repeat("  ", min(len(p.levels), maxIndent))) }

func (p *printer) plain(text string) { p.out = append(p.out, token{Text: text}) }

// path returns the path of the value that comes next, as problems have it. Below the depth that is shown it is "".
func (p *printer) path() string {
	if p.marks.path == "" && p.marks.drift == nil || len(p.levels) > maxIndent {
		return ""
	}
	var b strings.Builder
	b.WriteByte('$')
	for _, l := range p.levels {
		switch {
		case !l.object:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(l.index))
			b.WriteByte(']')
		case isName(l.key):
			b.WriteString("." + l.key)
		default:
			b.WriteString(`["` + l.key + `"]`)
		}
	}
	return b.String()
}

func isName(key string) bool {
	return key != "" && strings.IndexFunc(key, func(r rune) bool {
		return r != '_' && r != '$' && r != '-' && r != '@' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// withoutIndexes takes the numbers of list elements out of a path, as drift has it.
func withoutIndexes(path string) string {
	var b strings.Builder
	in := false
	for i := range len(path) {
		switch c := path[i]; {
		case in && c >= '0' && c <= '9':
		default:
			b.WriteByte(c)
			in = c == '['
		}
	}
	return b.String()
}

func classOf(c byte) string {
	switch {
	case c == '-' || c >= '0' && c <= '9':
		return "n"
	case c == 't' || c == 'f' || c == 'n':
		return "n"
	}
	return ""
}

// endOfString returns where the string ends that begins at start. One without an end ends with its line.
func endOfString(text string, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\n':
			return i
		}
	}
	return len(text)
}

func endOfWord(text string, start int) int {
	if n := strings.IndexAny(text[start+1:], "{}[],:\" \t\r\n"); n >= 0 {
		return start + 1 + n
	}
	return len(text)
}

// visible shows the characters that would not be seen, or that would turn the text around, by a sign.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ':
			return '\u2400' + r
		case r == 0x7f, unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return '\u2426' // a sign for a character that is none
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
