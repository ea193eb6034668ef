package vendorjson

import (
	"bytes"
	"unicode/utf8"
)

// This file reads what no message declares. RFC 8259's grammar decides alone: depth, the number of values, names that are
// there twice and halves of surrogate pairs cost no document. Only the size of the text bounds the work and the memory.

// skip reads any value. It keeps a bit for each open object or list, not a stack frame.
func (d *decoder) skip() *Error {
	d.open.depth = 0
	for {
		entered, fault := d.skipStart()
		if fault != nil {
			return fault
		}
		if entered {
			continue
		}
		if more, fault := d.skipEnds(); fault != nil || !more {
			return fault
		}
	}
}

// skipStart reads a scalar or an empty object or list, or enters one that is not empty.
func (d *decoder) skipStart() (entered bool, fault *Error) {
	switch c := d.skipSpace(); c {
	case '"':
		_, fault = d.readText(ofNothing)
		return false, fault
	case '{':
		d.pos++
		if d.skipSpace() != '}' {
			d.open.push(true)
			return true, d.skipKey()
		}
		d.pos++
		return false, nil
	case '[':
		d.pos++
		if d.skipSpace() != ']' {
			d.open.push(false)
			return true, nil
		}
		d.pos++
		return false, nil
	case 't':
		return false, d.readLiteral("true")
	case 'f':
		return false, d.readLiteral("false")
	case 'n':
		return false, d.readLiteral("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		_, fault = d.readNumber()
		return false, fault
	default:
		return false, d.unexpectedByte("a value")
	}
}

// skipEnds leaves the objects and lists that end after a value, and moves to the next value if there is more.
func (d *decoder) skipEnds() (more bool, fault *Error) {
	for d.open.depth > 0 {
		object := d.open.top()
		switch c := d.skipSpace(); {
		case c == ',' && object:
			d.pos++
			return true, d.skipKey()
		case c == ',':
			d.pos++
			return true, nil
		case c == '}' && object, c == ']' && !object:
			d.pos++
			d.open.depth--
		case object:
			return false, d.unexpectedByte("a comma or }")
		default:
			return false, d.unexpectedByte("a comma or ]")
		}
	}
	return false, nil
}

// skipKey reads a name and the colon after it.
func (d *decoder) skipKey() *Error {
	if d.skipSpace() != '"' {
		return d.unexpectedByte("a field's name")
	}
	if _, fault := d.readText(ofNothing); fault != nil {
		return fault
	}
	if d.skipSpace() != ':' {
		return d.unexpectedByte("a colon")
	}
	d.pos++
	return nil
}

// badEscape returns the position of the first escape that the grammar does not have, or -1. Half of a surrogate pair is an
// escape like any other.
func badEscape(raw []byte) int {
	for i := 0; ; {
		next := bytes.IndexByte(raw[i:], '\\')
		if next < 0 {
			return -1
		}
		i += next
		switch {
		case hex4(raw[i:]) >= 0:
			i += 6
		case i+1 < len(raw) && escapes[raw[i+1]] != 0:
			i += 2
		default:
			return i
		}
	}
}

// shownName appends at most the first maxName bytes of a name, for a path. raw is valid, and half of a surrogate pair becomes
// U+FFFD.
func shownName(dst, raw []byte) []byte {
	for i := 0; i < len(raw) && len(dst) <= maxName; {
		switch c := raw[i]; {
		case c != '\\':
			dst = append(dst, c)
			i++
		case raw[i+1] != 'u':
			dst = append(dst, escapes[raw[i+1]])
			i += 2
		default:
			r, size := escapedRune(raw[i:])
			if size == 0 {
				r, size = utf8.RuneError, 6
			}
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return cut(dst, maxName)
}

// bitStack says of each open object and list which of the two it is.
type bitStack struct {
	depth int
	words []uint64
}

// push adds an object or a list.
func (s *bitStack) push(object bool) {
	word := s.depth >> 6
	if word == len(s.words) {
		s.words = append(s.words, 0)
	}
	bit := uint64(1) << (s.depth & 63)
	if object {
		s.words[word] |= bit
	} else {
		s.words[word] &^= bit
	}
	s.depth++
}

// top reports whether the innermost is an object. There must be one.
func (s *bitStack) top() bool {
	n := s.depth - 1
	return s.words[n>>6]>>(n&63)&1 != 0
}

// checkOnce reads an object that no message declares, with the names of once at most once at its top level.
func (d *decoder) checkOnce(once []string) *Error {
	if len(once) == 0 {
		return d.skip()
	}
	seen := make([]bool, len(once))
	more, fault := d.enter('}')
	for more && fault == nil {
		var name []byte
		if name, fault = d.readKey(); fault != nil {
			return fault
		}
		for i, s := range once {
			if name == nil || string(name) != s {
				continue
			}
			if seen[i] {
				return d.duplicateError()
			}
			seen[i] = true
		}
		if fault = d.skip(); fault != nil {
			return fault
		}
		more, fault = d.nextItem('}')
	}
	return fault
}
