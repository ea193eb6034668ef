package vendorjson

// Span is the position of a value in a text, in bytes.
type Span struct{ Start, End int }

// Of returns the part of text, which is not copied. Appending to it leaves the text alone.
func (s Span) Of(text []byte) []byte { return text[s.Start:s.End:s.End] }

// Split returns the positions of the elements of data, one JSON array, in order and without the white space and commas around
// them. The elements may be of any kind, and are not decoded. A byte order mark before the array is skipped.
//
// The elements are checked by RFC 8259's grammar alone, because each is a document of its own. The array and its elements are
// at most MaxValues. Errors are of type [*Error], with a path such as "$[3].id" and the offset in data.
func Split(data []byte) ([]Span, error) {
	d := acquireDecoder(data)
	defer d.release()
	elements, fault := d.splitArray()
	if fault != nil {
		return nil, d.locate(fault)
	}
	return elements, nil
}

func (d *decoder) splitArray() (elements []Span, fault *Error) {
	if fault = d.openDocument('['); fault != nil {
		return nil, fault
	}
	if fault = d.countValue(); fault != nil {
		return nil, fault
	}
	more, fault := d.enter(']')
	for more && fault == nil {
		d.skipSpace()
		start := d.pos
		if fault = d.countValue(); fault != nil {
			return nil, fault
		}
		if fault = d.skip(); fault != nil {
			return nil, fault
		}
		elements = append(elements, Span{start, d.pos})
		more, fault = d.nextItem(']')
	}
	if fault != nil {
		return nil, fault
	}
	return elements, d.checkEnd()
}
