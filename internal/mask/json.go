package mask

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxDepth is the greatest depth of declared objects and lists that is parsed, as in a document that can be decoded. Deeper
	// ones are shaped as text.
	maxDepth = 64
	// maxKey is the length of the longest undeclared name that is shown, in bytes.
	maxKey = 64
)

// JSON returns body, a vendor's document, with its values replaced by their shape (as in [Shape], but without its limit). It
// shows true, false and null, and the scalars that md, or a message below it, declares and does not mark personal or verbatim.
// If md is nil, it hides all other values. If the body is a list, md declares its elements.
//
// White space and punctuation stay. So do the names of declared fields, and names that look like field names: a letter, _, $ or
// @, then letters, digits, and any of _$.- up to 64 bytes. Other names are shaped, because vendors use phone numbers and mail
// addresses as names.
//
// The body need not be JSON. From the first byte that is not JSON, or is a declared value deeper than 64 levels, everything is
// shaped. Undeclared values may have any depth. An
// invalid string, with a raw line break or a byte that is not UTF-8, is shaped, and parsing continues after it. The result is
// UTF-8, not longer than body, and shares no memory with it. The time is linear in the size of the body.
func JSON(body []byte, md protoreflect.MessageDescriptor) []byte {
	m := masker{in: body, out: make([]byte, 0, len(body))}
	if bytes.HasPrefix(body, byteOrderMark) {
		m.copyTo(len(byteOrderMark))
	}
	m.value(place{message: md, list: true}, 0)
	m.space()
	return appendShape(m.out, m.in[m.pos:])
}

var byteOrderMark = []byte("\uFEFF")

// masker reads a text once. The bytes before pos are already written to out.
type masker struct {
	in, out []byte
	pos     int
}

// place is the schema's knowledge about a value. The zero place means that nothing is known.
type place struct {
	// scalar: strings and numbers are shown.
	scalar bool
	// message declares the fields of an object; nil if they are unknown.
	message protoreflect.MessageDescriptor
	// list: the elements of a list have this place.
	list bool
}

// placeOf returns the place of a field's values.
func placeOf(fd protoreflect.FieldDescriptor) place {
	switch o := optionsOf(fd); {
	case o.GetPersonal() || o.GetVerbatim() || fd.IsMap():
		return place{}
	case fd.Message() == nil || fd.Message().FullName() == "google.type.Decimal":
		return place{scalar: true, list: fd.IsList()}
	default:
		return place{message: fd.Message(), list: fd.IsList()}
	}
}

// element returns the place of the elements of a list at p.
func (p place) element() place {
	if !p.list {
		return place{}
	}
	p.list = false
	return p
}

// value writes the value at the cursor. If the text is not JSON it returns false, with the cursor at that byte.
func (m *masker) value(p place, depth int) bool {
	switch c := m.space(); {
	case c == '{' && p.message == nil, c == '[' && !p.list:
		return m.undeclared()
	case c == '{' && depth < maxDepth:
		return m.object(p.message, depth+1)
	case c == '[' && depth < maxDepth:
		return m.array(p.element(), depth+1)
	default:
		return m.scalar(c, p.scalar)
	}
}

// scalar writes the scalar at the cursor, which begins with c.
func (m *masker) scalar(c byte, shown bool) bool {
	switch {
	case c == '"':
		return m.str(shown)
	case c == '-' || '0' <= c && c <= '9':
		m.number(shown)
		return true
	default:
		return m.word("true") || m.word("false") || m.word("null")
	}
}

// undeclared writes the undeclared object or list at the cursor. It does not recurse, because only the body's size limits the
// depth.
func (m *masker) undeclared() bool {
	var open []bool // of each level: it is an object
	for {
		var more, ok bool
		if c := m.space(); c == '{' || c == '[' {
			open = append(open, c == '{')
			m.copyTo(m.pos + 1)
			more, ok = m.next(c == '{')
		} else {
			ok = m.scalar(c, false)
		}
		for ok && !more {
			if len(open) == 0 {
				return true
			}
			object := open[len(open)-1]
			switch c := m.space(); {
			case c == ',':
				m.copyTo(m.pos + 1)
				more, ok = m.next(object)
			case c == '}' && object, c == ']' && !object:
				m.copyTo(m.pos + 1)
				open = open[:len(open)-1]
			default:
				ok = false
			}
		}
		if !ok {
			return false
		}
	}
}

// next moves from the start of an undeclared object or list, or from a comma in it, to the next value. more is false at its end.
func (m *masker) next(object bool) (more, ok bool) {
	c := m.space()
	switch {
	case c == '}' && object, c == ']' && !object:
		return false, true
	case !object:
		return true, true
	case c != '"':
		return false, false
	}
	if _, ok := m.key(nil); !ok || m.space() != ':' {
		return false, false
	}
	m.copyTo(m.pos + 1)
	return true, true
}

func (m *masker) object(md protoreflect.MessageDescriptor, depth int) bool {
	for {
		m.copyTo(m.pos + 1)
		c := m.space()
		if c == '}' {
			break
		}
		if c != '"' {
			return false
		}
		p, ok := m.key(md)
		if !ok || m.space() != ':' {
			return false
		}
		m.copyTo(m.pos + 1)
		if !m.value(p, depth) {
			return false
		}
		if c = m.space(); c == '}' {
			break
		}
		if c != ',' {
			return false
		}
	}
	m.copyTo(m.pos + 1)
	return true
}

func (m *masker) array(p place, depth int) bool {
	for {
		m.copyTo(m.pos + 1)
		if m.space() == ']' {
			break
		}
		if !m.value(p, depth) {
			return false
		}
		c := m.space()
		if c == ']' {
			break
		}
		if c != ',' {
			return false
		}
	}
	m.copyTo(m.pos + 1)
	return true
}

// key writes the name at the cursor and returns the place of its value. ok is false if the name has no end.
func (m *masker) key(md protoreflect.MessageDescriptor) (p place, ok bool) {
	end, _ := m.stringEnd()
	if end < 0 {
		return place{}, false
	}
	name := m.in[m.pos+1 : end-1]
	var fd protoreflect.FieldDescriptor
	if md != nil {
		fd = md.Fields().ByJSONName(string(name))
	}
	if fd != nil {
		p = placeOf(fd)
	}
	if fd != nil || isName(name) {
		m.copyTo(end)
	} else {
		m.shapeTo(end)
	}
	return p, true
}

// str writes the string at the cursor, unchanged if it is shown and valid. It returns false if the string has no end.
func (m *masker) str(shown bool) bool {
	end, valid := m.stringEnd()
	switch {
	case end < 0:
		return false
	case shown && valid:
		m.copyTo(end)
	default:
		m.shapeTo(end)
	}
	return true
}

// stringEnd returns the end of the string at the cursor, after its closing quote, or -1. valid is false if it has bytes that
// JSON strings must not have.
func (m *masker) stringEnd() (end int, valid bool) {
	valid = true
	for i := m.pos + 1; i < len(m.in); i++ {
		switch c := m.in[i]; {
		case c == '\\':
			i++
		case c == '"':
			return i + 1, valid && utf8.Valid(m.in[m.pos+1:i])
		case c < ' ':
			valid = false
		}
	}
	return -1, false
}

// number writes everything that looks like a number, valid or not.
func (m *masker) number(shown bool) {
	end := m.pos
	for end < len(m.in) && bytes.IndexByte([]byte("0123456789+-.eE"), m.in[end]) >= 0 {
		end++
	}
	if shown {
		m.copyTo(end)
	} else {
		m.shapeTo(end)
	}
}

func (m *masker) word(word string) bool {
	if !bytes.HasPrefix(m.in[m.pos:], []byte(word)) {
		return false
	}
	m.copyTo(m.pos + len(word))
	return true
}

// space writes white space and returns the byte after it; 0 at the end of the text.
func (m *masker) space() byte {
	end := m.pos
	for end < len(m.in) {
		switch c := m.in[end]; c {
		case ' ', '\t', '\n', '\r':
			end++
		default:
			m.copyTo(end)
			return c
		}
	}
	m.copyTo(end)
	return 0
}

func (m *masker) copyTo(end int) {
	m.out = append(m.out, m.in[m.pos:end]...)
	m.pos = end
}

func (m *masker) shapeTo(end int) {
	m.out = appendShape(m.out, m.in[m.pos:end])
	m.pos = end
}

// isName reports whether the name of an undeclared field may be shown.
func isName(name []byte) bool {
	if len(name) == 0 || len(name) > maxKey || !utf8.Valid(name) {
		return false
	}
	for i, r := range string(name) {
		switch {
		case unicode.IsLetter(r), r == '_', r == '$' || r == '@' && i == 0:
		case i == 0:
			return false
		case unicode.IsDigit(r), r == '.', r == '-':
		default:
			return false
		}
	}
	return true
}
