package signature

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a template.
const (
	maxTemplate = 4 << 10
	maxParts    = 64
)

// template describes the signed bytes.
type template []part

// part is a literal, or a value from a request.
type part struct {
	literal []byte
	// name is one of values, empty for a literal. header is the canonical name for the value "header".
	name, header string
	// function is "", "len" or "sha256".
	function string
}

// values are the names of the values that can be signed, in addition to header.NAME.
var values = []string{"body", "timestamp", "method", "host", "path", "url"}

const known = "body, timestamp, method, host, path, url, header.NAME, and len(…) and sha256(…) of one of them"

// parseTemplate parses a template. The problem, empty if there is none, has its column and quotes nothing.
func parseTemplate(text string) (t template, problem string) {
	switch {
	case len(text) > maxTemplate:
		return nil, "is longer than " + strconv.Itoa(maxTemplate) + " bytes"
	case !utf8.ValidString(text):
		return nil, "is not UTF-8 text"
	}
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			t = append(t, part{literal: literal})
			literal = nil
		}
	}
	for at := 0; at < len(text); {
		rest := text[at:]
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			literal = append(literal, rest[0])
			at += 2
		case rest[0] == '}':
			return nil, column(text, at) + `a closing brace that nothing opened; write "}}" for a brace`
		case rest[0] == '{':
			inside, _, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return nil, column(text, at) + `a brace that nothing closes; write "{{" for a brace`
			}
			p, ok := parsePart(inside)
			if !ok {
				return nil, column(text, at) + "unknown; known are " + known
			}
			flush()
			t = append(t, p)
			at += len(inside) + 2
		default:
			literal = append(literal, rest[0])
			at++
		}
	}
	flush()
	if len(t) > maxParts {
		return nil, "has more than " + strconv.Itoa(maxParts) + " parts"
	}
	return t, ""
}

// column returns the position of the byte at, in characters from 1.
func column(text string, at int) string {
	return "column " + strconv.Itoa(utf8.RuneCountInString(text[:at])+1) + ": "
}

// parsePart parses the text between braces.
func parsePart(text string) (part, bool) {
	var p part
	for _, function := range []string{"len", "sha256"} {
		if rest, ok := strings.CutPrefix(text, function+"("); ok {
			argument, ok := strings.CutSuffix(rest, ")")
			if !ok {
				return p, false
			}
			p.function, text = function, argument
			break
		}
	}
	if name, ok := strings.CutPrefix(text, "header."); ok {
		p.name, p.header = "header", canonical(name)
		return p, isToken(name)
	}
	p.name = text
	return p, slices.Contains(values, text)
}

// of returns the signed parts of the request, in order. They share its memory.
func (t template) of(r *Request, stamp string) [][]byte {
	message := make([][]byte, 0, len(t))
	for i := range t {
		message = append(message, t[i].of(r, stamp))
	}
	return message
}

func (p *part) of(r *Request, stamp string) []byte {
	if p.name == "" {
		return p.literal
	}
	value := p.value(r, stamp)
	switch p.function {
	case "len":
		return strconv.AppendInt(nil, int64(len(value)), 10)
	case "sha256":
		sum := sha256.Sum256(value)
		return hex.AppendEncode(nil, sum[:])
	default:
		return value
	}
}

func (p *part) value(r *Request, stamp string) []byte {
	switch p.name {
	case "body":
		return r.Body
	case "timestamp":
		return []byte(stamp)
	case "method":
		return []byte(r.Method)
	case "host":
		return []byte(r.Host)
	case "path":
		return []byte(r.Path)
	case "url":
		return []byte(r.URL)
	}
	if values := r.Header[p.header]; len(values) > 0 { // the name "header"
		return []byte(values[0])
	}
	return nil
}

// proves reports whether the signed bytes contain one of the named values completely, or its digest.
func (t template) proves(names ...string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.function != "len" && slices.Contains(names, p.name) })
}

// provesHeader is proves for a header, by its canonical name.
func (t template) provesHeader(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.function != "len" && p.header == name && name != "" })
}

// has reports whether the template uses the named value at all.
func (t template) has(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.name == name })
}

// headers returns the canonical names of the headers in the template, each once.
func (t template) headers() []string {
	var names []string
	for i := range t {
		if h := t[i].header; h != "" && !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	return names
}

// isToken reports whether text can be the name of a header (RFC 9110, section 5.6.2).
func isToken(text string) bool {
	for _, c := range []byte(text) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return text != ""
}
