package tracing

import "encoding/hex"

// Context names a span, as W3C's Trace Context does. The zero Context names none.
type Context struct {
	Trace   [16]byte
	Span    [8]byte
	Sampled bool
}

const (
	// Length is the length of a traceparent of version 00.
	Length = 2 + 1 + 2*16 + 1 + 2*8 + 1 + 2
	// maxLength bounds a traceparent of a later version, which may be longer.
	maxLength = 256
)

// Valid reports whether the context names a span.
func (c Context) Valid() bool { return c.Trace != [16]byte{} && c.Span != [8]byte{} }

// TraceID returns the trace's id in hexadecimal.
func (c Context) TraceID() string { return hex.EncodeToString(c.Trace[:]) }

// SpanID returns the span's id in hexadecimal.
func (c Context) SpanID() string { return hex.EncodeToString(c.Span[:]) }

// String returns the value of the header traceparent, or nothing for a context that names no span.
func (c Context) String() string {
	if !c.Valid() {
		return ""
	}
	flags := "-00"
	if c.Sampled {
		flags = "-01"
	}
	return "00-" + c.TraceID() + "-" + c.SpanID() + flags
}

// Parse reads the value of a header traceparent. It reports false for everything that is not one: it is then treated as absent, as the
// specification says. Of a later version it reads the part that version 00 has.
func Parse[T string | []byte](header T) (c Context, ok bool) {
	if len(header) < Length || len(header) > maxLength || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	for _, part := range []struct {
		to   []byte
		from T
	}{{version[:], header[:2]}, {c.Trace[:], header[3:35]}, {c.Span[:], header[36:52]}, {flags[:], header[53:55]}} {
		if !decode(part.to, part.from) {
			return Context{}, false
		}
	}
	switch {
	case version[0] == 0xff, version[0] == 0 && len(header) != Length, len(header) > Length && header[Length] != '-':
		return Context{}, false
	}
	c.Sampled = flags[0]&1 != 0
	if !c.Valid() {
		return Context{}, false
	}
	return c, true
}

// decode decodes hexadecimal digits in lower case.
func decode[T string | []byte](to []byte, from T) bool {
	for i := range to {
		high, ok := digit(from[2*i])
		low, ok2 := digit(from[2*i+1])
		if !ok || !ok2 {
			return false
		}
		to[i] = high<<4 | low
	}
	return true
}

func digit(b byte) (byte, bool) {
	switch {
	case b >= '0' && b <= '9':
		return b - '0', true
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10, true
	}
	return 0, false
}
