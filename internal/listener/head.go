package listener

import (
	"bytes"
	"net/http"
	"strconv"
)

const (
	// keptLine is how much is kept of a line that arrives in parts. Only the names of longer ones are read.
	keptLine = 512
	// maxFields bounds the fields of a request: net/http's memory for many small ones is many times their size.
	maxFields = 128
	// maxChunkLine bounds the size and the extensions of a chunk.
	maxChunkLine = 256
	// maxTrailer bounds the lines after the last chunk.
	maxTrailer = 4 << 10
	// maxLead bounds the line ends before a request, which old clients send after a body.
	maxLead = 4
)

// protocol ends the first line of a request.
const protocol = " HTTP/1.1"

// refusal is why a request is refused, and the status to answer with.
type refusal struct {
	status int
	text   string
}

func bad(text string) *refusal { return &refusal{http.StatusBadRequest, text} }

// step is the part of the connection that comes next.
type step uint8

const (
	inLead step = iota
	inRequestLine
	inFields
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
)

// scanner follows the requests of an HTTP/1.1 connection. It keeps no more than the beginning of a line. It refuses what two
// programs could read in two ways; what has one meaning but is no request is left to net/http. The zero value is at the start of a
// connection.
type scanner struct {
	step step
	// line has the beginning of a line whose end has not come yet, up to keptLine, tail its last bytes, and long is its length so far.
	line []byte
	tail [len(protocol) + 1]byte
	long int
	// left is how much of a body or chunk has yet to come.
	left uint64
	// lead and trailer are how many bytes came before the request, and after the last chunk.
	lead, trailer int

	// old: the request is not HTTP/1.1. The others are about its fields.
	old, chunked           bool
	fields, lengths, hosts int
	length                 uint64
}

// scan follows p. It returns the bytes before the first refused request, and the refusal. Requests end where net/http ends them.
func (s *scanner) scan(p []byte) (int, *refusal) {
	whole := 0 // the end of the last whole request in p
	for i := 0; i < len(p); {
		n, refused := s.advance(p[i:])
		if refused != nil {
			return whole, refused
		}
		if i += n; s.step == inLead && s.lead == 0 {
			whole = i
		}
	}
	return len(p), nil
}

// advance follows the beginning of p, which is not empty, and returns its length.
func (s *scanner) advance(p []byte) (int, *refusal) {
	switch s.step {
	case inLead:
		return s.skipLead(p)
	case inBody, inChunk:
		n := min(uint64(len(p)), s.left)
		if s.left -= n; s.left == 0 && s.step == inBody {
			s.finish()
		} else if s.left == 0 {
			s.step = inChunkEnd
		}
		return int(n), nil
	}
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return len(p), s.keep(p)
	}
	line := p[:end]
	if s.long > 0 {
		if refused := s.keep(line); refused != nil {
			return 0, refused
		}
		line = s.line
	}
	refused := s.take(line)
	s.line, s.long = s.line[:0], 0
	return end + 1, refused
}

// keep keeps a part of a line.
func (s *scanner) keep(p []byte) *refusal {
	if len(p) == 0 {
		return nil
	}
	if s.long > 0 && s.tail[len(s.tail)-1] == '\r' || bytes.IndexByte(p[:len(p)-1], '\r') >= 0 {
		return bad("CR within a line")
	}
	s.long += len(p)
	s.line = append(s.line, p[:min(len(p), keptLine-len(s.line))]...)
	if n := copy(s.tail[:], s.tail[min(len(p), len(s.tail)):]); n < len(s.tail) {
		copy(s.tail[n:], p[len(p)-(len(s.tail)-n):])
	}
	return s.checkLength(s.long)
}

// ending returns the end of a line. line is the whole line or its beginning.
func (s *scanner) ending(line []byte) []byte {
	if s.long > len(line) {
		return s.tail[:]
	}
	return line
}

// skipLead skips line ends before a request.
func (s *scanner) skipLead(p []byte) (int, *refusal) {
	if p[0] != '\r' && p[0] != '\n' {
		s.step = inRequestLine
		return 0, nil
	}
	if s.lead++; s.lead > maxLead {
		return 0, bad("line ends before a request")
	}
	return 1, nil
}

// checkLength bounds a line, which may not be whole yet. Only net/http bounds the lines of the head.
func (s *scanner) checkLength(n int) *refusal {
	switch {
	case s.step == inChunkSize && n > maxChunkLine,
		s.step == inChunkEnd && n > len("\r"),
		s.step == inTrailer && n > min(keptLine, maxTrailer-s.trailer):
		return bad("a line is too long")
	}
	return nil
}

// take reads a whole line, with the CR at its end. Of a long line that arrived in parts, line is the beginning.
func (s *scanner) take(line []byte) *refusal {
	if refused := s.checkLength(max(len(line), s.long)); refused != nil {
		return refused
	}
	end := s.ending(line)
	if len(end) == 0 || end[len(end)-1] != '\r' {
		return bad("a line ends without CR")
	}
	cut := s.long > len(line)
	if !cut {
		line = line[:len(line)-1]
		if bytes.IndexByte(line, '\r') >= 0 {
			return bad("CR within a line")
		}
	}
	switch s.step {
	case inRequestLine:
		s.old = !bytes.HasSuffix(end, []byte(protocol+"\r"))
		s.step = inFields
	case inFields:
		if len(line) == 0 {
			return s.endHead()
		}
		return s.field(line, cut)
	case inChunkSize:
		return s.chunkSize(line)
	case inChunkEnd:
		if len(line) > 0 {
			return bad("a chunk is longer than its size")
		}
		s.step = inChunkSize
	case inTrailer:
		if s.trailer += len(line) + 2; len(line) == 0 {
			s.finish()
			return nil
		}
		_, refused := nameOf(line)
		return refused
	}
	return nil
}

// nameOf returns the name of a line's field.
func nameOf(line []byte) ([]byte, *refusal) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, bad("a folded line")
	}
	end := bytes.IndexByte(line, ':')
	if end <= 0 {
		return nil, bad("a field without a name")
	}
	for _, b := range line[:end] {
		if b == ' ' || b == '\t' {
			return nil, bad("a field without a name")
		}
	}
	return line[:end], nil
}

// field notes the fields that say where a request ends and whom it is for. cut: line is only the beginning of a field.
func (s *scanner) field(line []byte, cut bool) *refusal {
	if s.fields++; s.fields > maxFields {
		return &refusal{http.StatusRequestHeaderFieldsTooLarge, "too many fields"}
	}
	name, refused := nameOf(line)
	if refused != nil {
		return refused
	}
	framing := framingOf(name)
	switch {
	case framing == "":
		return nil
	case cut:
		return bad("a field is too long")
	}
	value := bytes.Trim(line[len(name)+1:], " \t")
	switch framing {
	case host:
		if s.hosts++; s.hosts > 1 {
			return bad("more than one Host")
		}
	case contentLength:
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || value[0] == '+' {
			return bad("a wrong Content-Length")
		}
		if s.lengths++; s.lengths > 1 {
			return bad("more than one Content-Length")
		}
		s.length = n
	case transferEncoding:
		if s.chunked || s.old {
			return bad("more than one Transfer-Encoding, or one before HTTP/1.1")
		}
		if !bytes.EqualFold(value, []byte("chunked")) {
			return &refusal{http.StatusNotImplemented, "unsupported transfer encoding"}
		}
		s.chunked = true
	}
	return nil
}

// The fields that say where a request ends or whom it is for.
const (
	host             = "Host"
	contentLength    = "Content-Length"
	transferEncoding = "Transfer-Encoding"
)

// framingOf returns the name of such a field as it is written above, and "" for other fields.
func framingOf(name []byte) string {
	var framing string
	switch len(name) {
	case len(host):
		framing = host
	case len(contentLength):
		framing = contentLength
	case len(transferEncoding):
		framing = transferEncoding
	}
	if framing == "" || !bytes.EqualFold(name, []byte(framing)) {
		return ""
	}
	return framing
}

// endHead decides how the body ends.
func (s *scanner) endHead() *refusal {
	switch {
	case s.chunked && s.lengths > 0:
		return bad("Content-Length beside Transfer-Encoding")
	case s.chunked:
		s.step = inChunkSize
	case s.length > 0:
		s.step, s.left = inBody, s.length
	default:
		s.finish()
	}
	return nil
}

// chunkSize reads the line before a chunk.
func (s *scanner) chunkSize(line []byte) *refusal {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	n, err := strconv.ParseUint(string(digits), 16, 63)
	if err != nil || len(digits) > 16 || digits[0] == '+' {
		return bad("a wrong chunk size")
	}
	if s.step, s.left = inChunk, n; n == 0 {
		s.step, s.trailer = inTrailer, 0
	}
	return nil
}

// finish begins the next request.
func (s *scanner) finish() { *s = scanner{line: s.line} }
