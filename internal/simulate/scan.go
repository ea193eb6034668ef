package simulate

import "bytes"

// scalar is a string or number in a JSON text that is not a key.
type scalar struct {
	// key is the key of the nearest member around it, parent the key of the object that has the member.
	key, parent string
	// start and end are its position; for a string, the position of its content.
	start, end int
	text       string
	isString   bool
}

// scan returns the scalars of a JSON text in their order. It is not a parser: in invalid text it returns everything that looks
// like a scalar.
func scan(text []byte) []scalar {
	var s scanner
	for i := 0; i < len(text); {
		i = s.step(text, i)
	}
	return s.found
}

type scanner struct {
	found []scalar
	// around has the objects and lists around the current position.
	around []container
}

type container struct {
	list bool
	// key is the key of the current member, parent the key of its object. A list has the keys of the value around it.
	key, parent string
}

// step reads one token and returns the start of the next one.
func (s *scanner) step(text []byte, i int) int {
	switch c := text[i]; {
	case c == '{' || c == '[':
		key, parent := s.place()
		inner := container{parent: key}
		if c == '[' {
			inner = container{list: true, key: key, parent: parent}
		}
		s.around = append(s.around, inner)
	case c == '}' || c == ']':
		if n := len(s.around); n > 0 {
			s.around = s.around[:n-1]
		}
	case c == '"':
		end := stringEnd(text, i+1)
		s.quoted(text, i+1, end)
		return end + 1
	case c == '-' || '0' <= c && c <= '9':
		end := i + 1
		for end < len(text) && bytes.IndexByte([]byte("0123456789+-.eE"), text[end]) >= 0 {
			end++
		}
		s.add(text, i, end, false)
		return end
	}
	return i + 1
}

// quoted reads a string. It is a key if a colon follows it in an object.
func (s *scanner) quoted(text []byte, start, end int) {
	if n := len(s.around); n > 0 && !s.around[n-1].list && end < len(text) {
		if bytes.HasPrefix(bytes.TrimLeft(text[end+1:], " \t\r\n"), []byte{':'}) {
			s.around[n-1].key = string(text[start:end])
			return
		}
	}
	s.add(text, start, end, true)
}

func (s *scanner) add(text []byte, start, end int, isString bool) {
	key, parent := s.place()
	s.found = append(s.found, scalar{key: key, parent: parent, start: start, end: end, text: string(text[start:end]), isString: isString})
}

// place returns the keys of the current value.
func (s *scanner) place() (key, parent string) {
	if n := len(s.around); n > 0 {
		key, parent = s.around[n-1].key, s.around[n-1].parent
	}
	return key, parent
}

// stringEnd returns the position of the quote that ends a string, or the text's end.
func stringEnd(text []byte, i int) int {
	for ; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return min(i, len(text))
}
