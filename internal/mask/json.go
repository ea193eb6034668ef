package mask

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxDepth is how deep objects and lists are followed. What lies deeper is shaped as text.
	maxDepth = 64
	// maxKey is the longest name of an undeclared field that is shown, in bytes.
	maxKey = 64
)

// JSON returns body, a document of a vendor's, with the values in it replaced by their shape, as [Shape] does without its
// limit: all but the scalars that md, or a message below it, declares at their place and does not mark personal or
// verbatim, and true, false and null. If md is nil, it is all values. Where the body is a list, md declares its elements.
//
// White space and punctuation stay. So do the names of fields that are declared, or that look like names: a letter, _, $ or
// @, then letters, digits, and any of _$.- up to 64 bytes. Other names are shaped: vendors use phone numbers and addresses
// for mail as names.
//
// The body need not be JSON. From where it stops being JSON, or goes deeper than 64 levels, it is all shaped. A string that
// is invalid, with a raw line break or a byte that is no UTF-8, is shaped and does not end the rest. The result is UTF-8, no
// longer than body, and shares no memory with it. It takes time linear to the body.
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

// masker goes through a text once. What stands before pos has been written to out.
type masker struct {
	in, out []byte
	pos     int
}

// place is what is known of where a value stands. The zero place is one of which nothing is known.
type place struct {
	// scalar: a string or number is shown.
	scalar bool
	// message declares the fields of an object; nil if nothing is known of them.
	message protoreflect.MessageDescriptor
	// list: a list has elements of this place.
	list bool
}

// placeOf is the place of a field's values.
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

// element is the place of the elements of a list that stands at p.
func (p place) element() place {
	if !p.list {
		return place{}
	}
	p.list = false
	return p
}

// value writes the value at the cursor. It returns false where the text stops being JSON, and leaves the cursor there.
func (m *masker) value(p place, depth int) bool {
	switch c := m.space(); {
	case c == '{' && depth < maxDepth:
		return m.object(p.message, depth+1)
	case c == '[' && depth < maxDepth:
		return m.array(p.element(), depth+1)
	case c == '"':
		return m.str(p.scalar)
	case c == '-' || '0' <= c && c <= '9':
		m.number(p.scalar)
		return true
	default:
		return m.word("true") || m.word("false") || m.word("null")
	}
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

// key writes the name at the cursor and returns the place of its value. ok is false if the name does not end.
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

// str writes the string at the cursor, as it stands if it is shown and valid. It returns false if the string does not end.
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

// stringEnd returns where the string at the cursor ends, behind its closing quote, or -1. valid is false if it has bytes
// that no string has.
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

// number writes all that could be a number, well formed or not.
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

// space writes white space and returns the byte behind it, 0 at the end of the text.
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

// isName says whether the name of an undeclared field can be shown.
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
