package vendorjson

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// skipSpace moves over white space and returns the byte at the cursor, 0 at the end of the text.
func (d *decoder) skipSpace() byte {
	for d.pos < len(d.data) {
		c := d.data[d.pos]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		d.pos++
	}
	return 0
}

// enter enters the object or list at the cursor. It returns false if that is empty.
func (d *decoder) enter(closing byte) (more bool, fault *Error) {
	if d.depth++; d.depth > MaxDepth {
		return false, d.newError(CodeLimit, d.pos, fmt.Sprintf("is nested deeper than %d", MaxDepth))
	}
	d.pos++
	if d.skipSpace() == closing {
		d.pos++
		d.depth--
		return false, nil
	}
	return true, nil
}

// nextItem moves to the next item of the object or list, or out of it.
func (d *decoder) nextItem(closing byte) (bool, *Error) {
	switch d.skipSpace() {
	case ',':
		d.pos++
		return true, nil
	case closing:
		d.pos++
		d.depth--
		return false, nil
	default:
		return false, d.unexpectedByte("a comma or " + string(rune(closing)))
	}
}

// readKey reads a field's name and the colon after it, and sets d.name to the name's position. It returns the name without
// escapes, valid until the next string is read. It returns nil for a name with half of a surrogate pair, which no field has.
func (d *decoder) readKey() ([]byte, *Error) {
	if d.skipSpace() != '"' {
		return nil, d.unexpectedByte("a field's name")
	}
	d.name.start = d.pos + 1
	text, fault := d.readText(ofName)
	if fault != nil {
		return nil, fault
	}
	d.name.end = d.pos - 1
	if d.skipSpace() != ':' {
		return nil, d.unexpectedByte("a colon")
	}
	d.pos++
	return text, nil
}

// duplicateError returns an error about the name just read, with the name in its path.
func (d *decoder) duplicateError() *Error {
	d.faultEnd = d.name.end + 1
	return d.newError(CodeMalformed, d.name.start-1, "is there twice")
}

// use is the use of a string's text, which decides about halves of surrogate pairs: they have no text.
type use uint8

const (
	// ofValue: the text is needed. Half of a pair is an error.
	ofValue use = iota
	// ofName: the name of a field. The text of a name with half of a pair is nil.
	ofName
	// ofNothing: the string is undeclared, and the text always nil if it has escapes.
	ofNothing
)

// readString reads the string at the cursor. The result is a part of the document or of d.text, valid until the next call.
func (d *decoder) readString() ([]byte, *Error) { return d.readText(ofValue) }

// readText reads the string at the cursor for a use.
func (d *decoder) readText(u use) ([]byte, *Error) {
	start := d.pos + 1
	end, escaped, high := scanString(d.data, start)
	if end >= len(d.data) {
		d.pos = len(d.data)
		return nil, d.newError(CodeMalformed, d.pos, "ends within a string")
	}
	if d.data[end] != '"' {
		return nil, d.newError(CodeMalformed, end, fmt.Sprintf("has the control character %q in a string", rune(d.data[end])))
	}
	raw := d.data[start:end]
	if high && !utf8.Valid(raw) {
		return nil, d.newError(CodeMalformed, start+invalidAt(raw), "has invalid UTF-8")
	}
	d.pos = end + 1
	if escaped {
		return d.unescapeText(raw, u)
	}
	return raw, nil
}

// unescapeText returns the text of the string just read for a use.
func (d *decoder) unescapeText(raw []byte, u use) ([]byte, *Error) {
	bad := -1
	if u != ofNothing {
		if d.text, bad = unescape(d.text[:0], raw); bad < 0 {
			return d.text, nil
		}
	}
	if u != ofValue {
		bad = badEscape(raw)
	}
	if bad >= 0 {
		return nil, d.newError(CodeMalformed, d.pos-1-len(raw)+bad, "has an invalid escape in a string")
	}
	return nil, nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// scanString returns the end of the string whose text starts at i: its closing quote, a control character, or the length of
// data if it has no end. high may be true without need.
func scanString(data []byte, i int) (end int, escaped, high bool) {
	var seen uint64
	for i < len(data) {
		// Eight bytes at once. Of a mark in special only the lowest is certain, because subtraction borrows upwards.
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			quote, slash := w^ones*'"', w^ones*'\\'
			special := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*' ')&^w) & highs
			seen |= w
			if special != 0 {
				i += bits.TrailingZeros64(special) >> 3
				break
			}
			i += 8
		}
		if i >= len(data) {
			break
		}
		switch c := data[i]; {
		case c == '\\':
			escaped = true
			i += 2
		case c == '"' || c < ' ':
			return i, escaped, seen&highs != 0
		default:
			seen |= uint64(c)
			i++
		}
	}
	return len(data), escaped, seen&highs != 0
}

// invalidAt returns where b stops being UTF-8.
func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(b)
}

// unescape appends the text of a string to dst. bad is the position of the first invalid escape, or -1. Half of a surrogate
// pair is invalid, because it has no UTF-8 form.
func unescape(dst, raw []byte) (text []byte, bad int) {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		if i+1 >= len(raw) {
			return dst, i
		}
		if raw[i+1] == 'u' {
			r, size := escapedRune(raw[i:])
			if size == 0 {
				return dst, i
			}
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		plain := escapes[raw[i+1]]
		if plain == 0 {
			return dst, i
		}
		dst = append(dst, plain)
		i += 2
	}
	return dst, -1
}

// escapes maps the letter after a backslash to its character; 0 means that the escape is invalid.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escapedRune reads `\uXXXX`, or two of them that are a pair; size is 0 if b starts with neither.
func escapedRune(b []byte) (r rune, size int) {
	r = hex4(b)
	if r < 0 {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low := hex4(b[6:])
	if r = utf16.DecodeRune(r, low); low < 0 || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// hex4 reads `\uXXXX`; -1 if b does not start with it.
func hex4(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// readLiteral reads true, false or null at the cursor.
func (d *decoder) readLiteral(word string) *Error {
	if end := d.pos + len(word); end <= len(d.data) && string(d.data[d.pos:end]) == word {
		d.pos = end
		return nil
	}
	return d.unexpectedByte("a value")
}

// readNumber reads the number at the cursor and returns its text.
func (d *decoder) readNumber() ([]byte, *Error) {
	start := d.pos
	end, ok := numberEnd(d.data, start)
	d.pos = end
	if !ok {
		return nil, d.unexpectedByte("a digit")
	}
	if digit := start + 1; end == digit && d.data[start] == '0' || end == digit+1 && d.data[start] == '-' && d.data[digit] == '0' {
		if end < len(d.data) && isDigit(d.data[end]) {
			return nil, d.newError(CodeMalformed, start, "has a number with a leading zero")
		}
	}
	return d.data[start:end], nil
}
