package postgres

import "bytes"

// fieldTexts divides the JSON of a message into its fields, when one is asked for. The text is protojson's, so it is valid, and names have no
// escapes.
type fieldTexts struct {
	text    []byte
	divided bool
	fields  []fieldText
}

type fieldText struct{ name, value []byte }

// of returns the value of a field, or nil.
func (f *fieldTexts) of(name string) []byte {
	if !f.divided {
		f.divide()
	}
	for _, field := range f.fields {
		if string(field.name) == name {
			return field.value
		}
	}
	return nil
}

func (f *fieldTexts) divide() {
	f.divided = true
	for at := skipTo(f.text, 0, '"'); at < len(f.text); at = skipTo(f.text, at, '"') {
		end := endOfText(f.text, at)
		name := f.text[at+1 : end-1]
		value := skipTo(f.text, end, ':') + 1
		for value < len(f.text) && f.text[value] == ' ' {
			value++
		}
		at = endOfValue(f.text, value)
		f.fields = append(f.fields, fieldText{name, f.text[value:at:at]})
	}
}

// skipTo returns where a byte is next, or the text's end.
func skipTo(text []byte, at int, b byte) int {
	if i := bytes.IndexByte(text[at:], b); i >= 0 {
		return at + i
	}
	return len(text)
}

// endOfText returns the place behind the string that begins at a place.
func endOfText(text []byte, at int) int {
	for at++; at < len(text); at++ {
		switch text[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return len(text)
}

// endOfValue returns the place behind the value that begins at a place.
func endOfValue(text []byte, at int) int {
	for depth := 0; at < len(text); at++ {
		switch text[at] {
		case '"':
			at = endOfText(text, at) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
			if depth < 0 { // of the object around the value
				return at
			}
		case ',':
			if depth == 0 {
				return at
			}
			continue
		default:
			continue
		}
		if depth == 0 {
			return at + 1
		}
	}
	return len(text)
}
