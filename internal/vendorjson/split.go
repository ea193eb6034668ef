package vendorjson

// Span is where a value stands in a text, in bytes.
type Span struct{ Start, End int }

// Of returns the part of text, which is not copied. Appending to it leaves the text alone.
func (s Span) Of(text []byte) []byte { return text[s.Start:s.End:s.End] }

// Split returns where the elements of data, one JSON array, stand: without the white space and the commas around them. They
// are in order, and of any kind; none is decoded. A byte order mark before the array is skipped.
//
// The text is checked as Unmarshal would check it, with the array as the outermost level and the limits counted over the
// whole. Errors are of type [*Error], with a path such as "$[3].id" and the offset in data.
func Split(data []byte) ([]Span, error) {
	d := take(data)
	defer d.release()
	elements, fault := d.split()
	if fault != nil {
		return nil, d.locate(fault)
	}
	return elements, nil
}

func (d *decoder) split() (elements []Span, fault *Error) {
	if fault = d.start('['); fault != nil {
		return nil, fault
	}
	if fault = d.count(); fault != nil {
		return nil, fault
	}
	more, fault := d.begin(']')
	for more && fault == nil {
		d.space()
		start := d.pos
		if fault = d.skip(); fault != nil {
			return nil, fault
		}
		elements = append(elements, Span{start, d.pos})
		more, fault = d.more(']')
	}
	if fault != nil {
		return nil, fault
	}
	return elements, d.end()
}
