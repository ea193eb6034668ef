package vendorjson

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// space moves over white space and returns the byte at the cursor, 0 at the end of the text.
func (d *decoder) space() byte {
	for d.pos < len(d.data) {
		c := d.data[d.pos]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		d.pos++
	}
	return 0
}

// begin enters the object or list at the cursor, and says whether it has anything in it.
func (d *decoder) begin(closing byte) (more bool, fault *Error) {
	if d.depth++; d.depth > MaxDepth {
		return false, d.fail(CodeLimit, d.pos, fmt.Sprintf("is nested deeper than %d", MaxDepth))
	}
	d.pos++
	if d.space() == closing {
		d.pos++
		d.depth--
		return false, nil
	}
	return true, nil
}

// more moves to the next thing in the object or list, or out of it.
func (d *decoder) more(closing byte) (bool, *Error) {
	switch d.space() {
	case ',':
		d.pos++
		return true, nil
	case closing:
		d.pos++
		d.depth--
		return false, nil
	default:
		return false, d.unexpected("a comma or " + string(rune(closing)))
	}
}

// key reads a field's name and the colon after it, and leaves in d.name where the name stands. It returns the name without
// escapes, good until the next string is read.
func (d *decoder) key() ([]byte, *Error) {
	if d.space() != '"' {
		return nil, d.unexpected("a field's name")
	}
	d.name.start = d.pos + 1
	text, fault := d.str()
	if fault != nil {
		return nil, fault
	}
	d.name.end = d.pos - 1
	if d.space() != ':' {
		return nil, d.unexpected("a colon")
	}
	d.pos++
	return text, nil
}

// addKey notes the name just read as one of the object of scope, and refuses one that it has already.
func (d *decoder) addKey(s *scope, text []byte) *Error {
	if !d.keys.add(s, d.data, d.name, text) {
		return d.duplicate()
	}
	return nil
}

// duplicate makes an error about the name just read, whose path includes it.
func (d *decoder) duplicate() *Error {
	d.faultEnd = d.name.end + 1
	return d.fail(CodeMalformed, d.name.start-1, "is there twice")
}

// str reads the string at the cursor. What it returns lies in the document or in d.text, good until the next call.
func (d *decoder) str() ([]byte, *Error) {
	start := d.pos + 1
	end, escaped, high := scanString(d.data, start)
	if end >= len(d.data) {
		d.pos = len(d.data)
		return nil, d.fail(CodeMalformed, d.pos, "ends within a string")
	}
	if d.data[end] != '"' {
		return nil, d.fail(CodeMalformed, end, fmt.Sprintf("has the control character %q in a string", rune(d.data[end])))
	}
	raw := d.data[start:end]
	if high && !utf8.Valid(raw) {
		return nil, d.fail(CodeMalformed, start+invalidAt(raw), "has invalid UTF-8")
	}
	if escaped {
		text, bad := unescape(d.text[:0], raw)
		d.text = text
		if bad >= 0 {
			return nil, d.fail(CodeMalformed, start+bad, "has an invalid escape in a string")
		}
		raw = text
	}
	d.pos = end + 1
	return raw, nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// scanString returns where the string whose text starts at i ends: at its closing quote, at a control character, or, when
// it does not end, at the length of data. high may be true without need.
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

// unescape appends the text of a string to dst. bad is where the first invalid escape is, or -1. An escaped half of a
// surrogate pair is invalid: no UTF-8 says it.
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

// escapes is what the letter after a backslash stands for; 0 is no escape.
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

// literal reads true, false or null at the cursor.
func (d *decoder) literal(word string) *Error {
	if end := d.pos + len(word); end <= len(d.data) && string(d.data[d.pos:end]) == word {
		d.pos = end
		return nil
	}
	return d.unexpected("a value")
}

// number reads the number at the cursor and returns its text.
func (d *decoder) number() ([]byte, *Error) {
	start := d.pos
	end, ok := numberEnd(d.data, start)
	d.pos = end
	if !ok {
		return nil, d.unexpected("a digit")
	}
	if digit := start + 1; end == digit && d.data[start] == '0' || end == digit+1 && d.data[start] == '-' && d.data[digit] == '0' {
		if end < len(d.data) && isDigit(d.data[end]) {
			return nil, d.fail(CodeMalformed, start, "has a number with a leading zero")
		}
	}
	return d.data[start:end], nil
}

// skip reads any value, with every check but those of its type.
func (d *decoder) skip() *Error {
	d.space()
	if fault := d.count(); fault != nil {
		return fault
	}
	return d.skipCounted()
}

// skipCounted is skip for a value at the cursor that has been counted.
func (d *decoder) skipCounted() *Error {
	if d.pos >= len(d.data) {
		return d.unexpected("a value")
	}
	var fault *Error
	switch c := d.data[d.pos]; c {
	case '"':
		_, fault = d.str()
	case '{':
		fault = d.skipObject()
	case '[':
		fault = d.skipList()
	case 't':
		fault = d.literal("true")
	case 'f':
		fault = d.literal("false")
	case 'n':
		fault = d.literal("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		_, fault = d.number()
	default:
		fault = d.unexpected("a value")
	}
	return fault
}

func (d *decoder) skipObject() *Error {
	scope := d.keys.open()
	more, fault := d.begin('}')
	for more && fault == nil {
		var name []byte
		if name, fault = d.key(); fault != nil {
			return fault
		}
		if fault = d.addKey(&scope, name); fault != nil {
			return fault
		}
		if fault = d.skip(); fault != nil {
			return fault
		}
		more, fault = d.more('}')
	}
	d.keys.close(scope)
	return fault
}

func (d *decoder) skipList() *Error {
	more, fault := d.begin(']')
	for more && fault == nil {
		if fault = d.skip(); fault != nil {
			return fault
		}
		more, fault = d.more(']')
	}
	return fault
}
