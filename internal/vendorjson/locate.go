package vendorjson

import "strconv"

// place is an object or list that is open at some point of the text.
type place struct {
	object bool
	// index of the element, if it is a list.
	index int
	// start and end of the last name, between its quotes, if it is an object; end is zero if there is none yet.
	start, end int
}

// locate sets an error's path. It reads the text again, up to the error, so that decoding need not track the path. It relies on
// the text before an error being valid.
func (d *decoder) locate(e *Error) *Error {
	end := min(max(int(e.Offset), d.faultEnd), len(d.data))
	e.Path = pathTo(d.data[:end])
	return e
}

// pathTo returns the path of the value at the end of text. It ends at MaxDepth levels: an undeclared value may have millions.
func pathTo(text []byte) string {
	var open []place
	deeper := 0 // levels open beyond MaxDepth
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			end, _, _ := scanString(text, i+1)
			if end < len(text) && deeper == 0 {
				nameAt(open, i+1, end)
			}
			i = end
		case c == '{' || c == '[':
			if len(open) == MaxDepth {
				deeper++
			} else {
				open = append(open, place{object: c == '{'})
			}
		case c == '}' || c == ']':
			if deeper > 0 {
				deeper--
			} else {
				open = open[:len(open)-1]
			}
		case c == ',' && deeper == 0:
			top := &open[len(open)-1]
			top.index++
			top.end = 0
		}
	}
	path := []byte{'$'}
	for _, p := range open {
		path = appendPlace(path, text, p)
	}
	return string(path)
}

// nameAt records a string as a name, if it is one.
func nameAt(open []place, start, end int) {
	if n := len(open); n > 0 && open[n-1].object && open[n-1].end == 0 {
		open[n-1].start, open[n-1].end = start, end
	}
}

func appendPlace(path, text []byte, p place) []byte {
	switch {
	case !p.object:
		path = append(path, '[')
		path = strconv.AppendInt(path, int64(p.index), 10)
		return append(path, ']')
	case p.end == 0:
		return path
	default:
		return appendName(path, string(shownName(nil, text[p.start:p.end])))
	}
}
