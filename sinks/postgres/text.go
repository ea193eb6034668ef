package postgres

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// PostgreSQL stores no U+0000, in texts and in jsonb. It becomes U+FFFD, Unicode's replacement character.
const replacement = "\uFFFD"

// clean returns a text that PostgreSQL stores.
func clean(text []byte) string {
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, []byte(replacement))
	}
	return string(text)
}

// optional returns a text, or null for an empty one.
func optional(text []byte) any {
	if len(text) == 0 {
		return nil
	}
	return clean(text)
}

// jsonOf returns the canonical JSON of a message, and whether PostgreSQL can store it exactly. Otherwise U+0000 is replaced.
func jsonOf(m protoreflect.Message) (text []byte, exact bool, err error) {
	if m == nil {
		return []byte("{}"), true, nil
	}
	if text, err = protojson.Marshal(m.Interface()); err != nil {
		return nil, false, refusef("the event has no JSON: it holds a value without one, such as a time after the year 9999")
	}
	return text, replaceNul(text), nil
}

var escapedNul = []byte(`\u0000`)

// replaceNul replaces the escape of U+0000 in JSON, in place, and returns false if it was there. In `\\u0000` the first backslash escapes the
// second.
func replaceNul(text []byte) (exact bool) {
	exact = true
	if !bytes.Contains(text, escapedNul) {
		return true
	}
	for i := 0; i < len(text)-1; i++ {
		if text[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(text[i:], escapedNul) {
			copy(text[i:], `\ufffd`)
			exact = false
		}
		i++ // the escaped character
	}
	return exact
}
