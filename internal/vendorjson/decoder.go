package vendorjson

import (
	"bytes"
	"fmt"
	"sync"
	"unicode/utf8"
)

const (
	// maxBytes keeps every offset, and every length on the wire, within the decoder's 28 bits.
	maxBytes = 1 << 27
	// keepBytes is the largest buffer that goes back to the pool; larger ones are left to the garbage collector.
	keepBytes = 64 << 10
)

// decoder is the working memory of one document. It reads the text once and writes the message's wire form to out, which
// generated code then parses. Only the drifts, which the caller gets, outlive the call.
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
	// open has the objects and lists that are open in an undeclared value.
	open bitStack

	// name is the position of the last name, between its quotes.
	name span

	frames []frame
	drifts []Drift
	// reported are the hashes of the drifts, in the same order.
	reported [MaxDrifts]uint64

	// faultEnd is where the search for an error's path ends, if that is after its offset.
	faultEnd int
}

// span is a part of the text.
type span struct{ start, end int }

var pool = sync.Pool{New: func() any { return new(decoder) }}

// acquireDecoder returns a reset decoder for one document.
func acquireDecoder(data []byte) *decoder {
	d := pool.Get().(*decoder)
	d.data, d.pos, d.depth, d.values, d.faultEnd = data, 0, 0, 0, 0
	d.out, d.text, d.seen = d.out[:0], d.text[:0], d.seen[:0]
	d.frames = append(d.frames[:0], frame{hash: rootHash})
	d.drifts = nil
	return d
}

// release returns the decoder to the pool, without the document and without large buffers.
func (d *decoder) release() {
	d.data, d.drifts = nil, nil
	if cap(d.out) > keepBytes {
		d.out = nil
	}
	if cap(d.text) > keepBytes {
		d.text = nil
	}
	if 8*cap(d.open.words) > keepBytes {
		d.open.words = nil
	}
	pool.Put(d)
}

// readDocument reads the whole text: an object of t.
func (d *decoder) readDocument(t *table) *Error {
	if fault := d.openDocument('{'); fault != nil {
		return fault
	}
	if fault := d.countValue(); fault != nil {
		return fault
	}
	if fault := d.readMessage(t); fault != nil {
		return fault
	}
	return d.checkEnd()
}

// readUndeclared reads the whole text: any object, with the names of once at most once.
func (d *decoder) readUndeclared(once []string) *Error {
	if fault := d.openDocument('{'); fault != nil {
		return fault
	}
	if fault := d.checkOnce(once); fault != nil {
		return fault
	}
	return d.checkEnd()
}

// checkEnd returns an error unless the text has ended.
func (d *decoder) checkEnd() *Error {
	if d.skipSpace(); d.pos < len(d.data) {
		return d.newError(CodeMalformed, d.pos, "is followed by more data")
	}
	return nil
}

// byteOrderMark is the mark that some .NET programs write before UTF-8.
var byteOrderMark = []byte("\uFEFF")

// openDocument moves to the brace or bracket that opens the document.
func (d *decoder) openDocument(opening byte) *Error {
	if len(d.data) > maxBytes {
		return d.newError(CodeLimit, maxBytes, fmt.Sprintf("is longer than %d bytes", maxBytes))
	}
	if bytes.HasPrefix(d.data, byteOrderMark) {
		d.pos = len(byteOrderMark)
	}
	switch c := d.skipSpace(); {
	case c == opening:
		return nil
	case d.pos == len(d.data):
		return d.newError(CodeMalformed, d.pos, "is empty")
	case opening == '[':
		return d.newError(CodeMalformed, d.pos, "is not a JSON array")
	default:
		return d.newError(CodeMalformed, d.pos, "is not a JSON object")
	}
}

// findField reads up to the value of one top-level string field.
func (d *decoder) findField(name string) (string, bool, *Error) {
	if fault := d.openDocument('{'); fault != nil {
		return "", false, fault
	}
	more, fault := d.enter('}')
	for more && fault == nil {
		var text []byte
		if text, fault = d.readKey(); fault != nil {
			break
		}
		if text != nil && string(text) == name {
			return d.readFound()
		}
		if fault = d.skip(); fault != nil {
			break
		}
		more, fault = d.nextItem('}')
	}
	if fault != nil {
		return "", false, fault
	}
	return "", false, d.checkEnd()
}

// readFound reads the value of the field that was searched for.
func (d *decoder) readFound() (string, bool, *Error) {
	if d.skipSpace() != '"' {
		return "", false, d.skip()
	}
	s, fault := d.readString()
	return string(s), fault == nil, fault
}

// countValue counts a declared value before it is read.
func (d *decoder) countValue() *Error {
	if d.values++; d.values > MaxValues {
		return d.newError(CodeLimit, d.pos, fmt.Sprintf("is one value more than the %d allowed", MaxValues))
	}
	return nil
}

// newError returns an error about the byte at offset; locate finds its path.
func (d *decoder) newError(code string, offset int, problem string) *Error {
	return &Error{Code: code, Offset: int64(offset), Problem: problem}
}

// unexpectedByte returns an error about the byte at the cursor, or about the end of the text.
func (d *decoder) unexpectedByte(wanted string) *Error {
	if d.pos >= len(d.data) {
		return d.newError(CodeMalformed, d.pos, "ends where "+wanted+" should be")
	}
	r, size := utf8.DecodeRune(d.data[d.pos:])
	if r == utf8.RuneError && size == 1 {
		return d.newError(CodeMalformed, d.pos, fmt.Sprintf("has the byte %#02x where %s should be", d.data[d.pos], wanted))
	}
	return d.newError(CodeMalformed, d.pos, fmt.Sprintf("has %q where %s should be", r, wanted))
}
