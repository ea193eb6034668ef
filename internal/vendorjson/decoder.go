package vendorjson

import (
	"bytes"
	"fmt"
	"sync"
	"unicode/utf8"
)

const (
	// maxBytes keeps every offset, and every length on the wire, within the 28 bits that the decoder has for it.
	maxBytes = 1 << 27
	// keepBytes is how much of a buffer goes back to the pool; a huge document's memory is left to the collector.
	keepBytes = 64 << 10
)

// decoder is the working memory of one document. It goes through the text once and writes the message's wire form to out,
// which generated code then reads; nothing in it outlives the call, but for drifts, which the caller gets.
type decoder struct {
	data []byte
	// pos is the cursor: the next byte to read.
	pos    int
	depth  int
	values int

	// out is the message so far.
	out []byte
	// text is the last string that had escapes.
	text []byte
	// seen has a bit for each known field of each message that is open, outermost first.
	seen []uint64
	// keys are the unknown fields of the objects that are open.
	keys keySet

	// name is where the last name stands, between its quotes.
	name span

	frames []frame
	drifts []Drift
	// reported are the hashes of the drifts, in the same order.
	reported [MaxDrifts]uint64

	// faultEnd is where to stop looking for the path of an error, when it is further on than its offset.
	faultEnd int
}

// span is a part of the text.
type span struct{ start, end int }

var pool = sync.Pool{New: func() any { return new(decoder) }}

// take returns a decoder for one document, as good as new.
func take(data []byte) *decoder {
	d := pool.Get().(*decoder)
	d.data, d.pos, d.depth, d.values, d.faultEnd = data, 0, 0, 0, 0
	d.out, d.text, d.seen = d.out[:0], d.text[:0], d.seen[:0]
	d.keys.reset()
	d.frames = append(d.frames[:0], frame{hash: rootHash})
	d.drifts = nil
	return d
}

// release gives the decoder back. It keeps nothing of the document, and no buffer that a huge one has grown.
func (d *decoder) release() {
	d.data, d.drifts = nil, nil
	if cap(d.out) > keepBytes {
		d.out = nil
	}
	if cap(d.text) > keepBytes {
		d.text = nil
	}
	d.keys.shrink()
	pool.Put(d)
}

// document reads the whole text: an object of t, or any object if t is nil.
func (d *decoder) document(t *table) *Error {
	if fault := d.start('{'); fault != nil {
		return fault
	}
	fault := d.count()
	if fault == nil && t != nil {
		fault = d.message(t)
	} else if fault == nil {
		fault = d.skipObject()
	}
	if fault != nil {
		return fault
	}
	return d.end()
}

// end makes sure that the document is over.
func (d *decoder) end() *Error {
	if d.space(); d.pos < len(d.data) {
		return d.fail(CodeMalformed, d.pos, "is followed by more data")
	}
	return nil
}

// byteOrderMark is what some .NET programs put before UTF-8.
var byteOrderMark = []byte("\uFEFF")

// start moves to the brace or bracket that opens the document.
func (d *decoder) start(opening byte) *Error {
	if len(d.data) > maxBytes {
		return d.fail(CodeLimit, maxBytes, fmt.Sprintf("is longer than %d bytes", maxBytes))
	}
	if bytes.HasPrefix(d.data, byteOrderMark) {
		d.pos = len(byteOrderMark)
	}
	switch c := d.space(); {
	case c == opening:
		return nil
	case d.pos == len(d.data):
		return d.fail(CodeMalformed, d.pos, "is empty")
	case opening == '[':
		return d.fail(CodeMalformed, d.pos, "is not a JSON array")
	default:
		return d.fail(CodeMalformed, d.pos, "is not a JSON object")
	}
}

// find reads up to the string of one top-level field.
func (d *decoder) find(name string) (string, bool, *Error) {
	if fault := d.start('{'); fault != nil {
		return "", false, fault
	}
	if fault := d.count(); fault != nil {
		return "", false, fault
	}
	scope := d.keys.open()
	more, fault := d.begin('}')
	for more && fault == nil {
		var text []byte
		if text, fault = d.key(); fault != nil {
			break
		}
		if string(text) == name {
			return d.found()
		}
		if fault = d.addKey(&scope, text); fault != nil {
			break
		}
		if fault = d.skip(); fault != nil {
			break
		}
		more, fault = d.more('}')
	}
	if fault != nil {
		return "", false, fault
	}
	return "", false, d.end()
}

// found reads the value of the field that was looked for.
func (d *decoder) found() (string, bool, *Error) {
	if d.space() != '"' {
		return "", false, d.skip()
	}
	s, fault := d.str()
	return string(s), fault == nil, fault
}

// count is called once a value, before it is read.
func (d *decoder) count() *Error {
	if d.values++; d.values > MaxValues {
		return d.fail(CodeLimit, d.pos, fmt.Sprintf("is one value more than the %d allowed", MaxValues))
	}
	return nil
}

// fail makes an error about the byte at offset; its path is found by locate.
func (d *decoder) fail(code string, offset int, problem string) *Error {
	return &Error{Code: code, Offset: int64(offset), Problem: problem}
}

// unexpected makes an error about the byte at the cursor, or about the text's end.
func (d *decoder) unexpected(wanted string) *Error {
	if d.pos >= len(d.data) {
		return d.fail(CodeMalformed, d.pos, "ends where "+wanted+" should be")
	}
	r, size := utf8.DecodeRune(d.data[d.pos:])
	if r == utf8.RuneError && size == 1 {
		return d.fail(CodeMalformed, d.pos, fmt.Sprintf("has the byte %#02x where %s should be", d.data[d.pos], wanted))
	}
	return d.fail(CodeMalformed, d.pos, fmt.Sprintf("has %q where %s should be", r, wanted))
}
