package listener

import (
	"bytes"
	"net/http"
	"strconv"
)

const (
	// maxLine bounds a line that is kept because it arrived in parts. net/http refuses longer heads earlier.
	maxLine = 128 << 10
	// maxChunkLine bounds the size and the extensions of a chunk.
	maxChunkLine = 256
	// maxTrailer bounds the lines after the last chunk.
	maxTrailer = 4 << 10
	// maxLead bounds the line ends before a request, which old clients send after a body.
	maxLead = 4
)

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

// scanner follows the requests of an HTTP/1.1 connection, of which it keeps no more than a line. It refuses what two programs could
// read in two ways; what has one meaning but is no request is left to net/http. The zero value is at the start of a connection.
type scanner struct {
	step step
	// line has the beginning of a line whose end has not come yet.
	line []byte
	// left is how much of a body or chunk has yet to come.
	left uint64
	// lead and trailer are how many bytes came before the request, and after the last chunk.
	lead, trailer int

	// old: the request is not HTTP/1.1. The others are about its fields.
	old, chunked   bool
	lengths, hosts int
	length         uint64
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
		return int(n), nil //nolint:gosec // n is at most len(p)
	}
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		s.line = append(s.line, p...)
		return len(p), s.checkLine(s.line)
	}
	line := p[:end]
	if len(s.line) > 0 {
		s.line = append(s.line, line...)
		line = s.line
	}
	refused := s.checkLine(line)
	if refused == nil {
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, bad("a line ends without CR")
		}
		refused = s.take(line[:len(line)-1])
	}
	if cap(s.line) > 1<<10 {
		s.line = nil
	}
	s.line = s.line[:0]
	return end + 1, refused
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

// checkLine bounds a line, which may not be whole yet.
func (s *scanner) checkLine(line []byte) *refusal {
	most := maxLine
	switch s.step {
	case inChunkSize:
		most = maxChunkLine
	case inChunkEnd:
		most = len("\r")
	case inTrailer:
		most = maxTrailer - s.trailer
	}
	if len(line) > most {
		return bad("a line is too long")
	}
	return nil
}

// take reads one whole line.
func (s *scanner) take(line []byte) *refusal {
	if bytes.IndexByte(line, '\r') >= 0 {
		return bad("CR within a line")
	}
	switch s.step {
	case inRequestLine:
		s.old = !bytes.HasSuffix(line, []byte(" HTTP/1.1"))
		s.step = inFields
	case inFields:
		if len(line) == 0 {
			return s.endHead()
		}
		return s.field(line)
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
		_, _, refused := cutField(line)
		return refused
	}
	return nil
}

// cutField cuts a line into the name and the value of a field.
func cutField(line []byte) (name, value []byte, refused *refusal) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, bad("a folded line")
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return nil, nil, bad("a field without a name")
	}
	return name, bytes.Trim(value, " \t"), nil
}

// field notes the fields that say where a request ends and whom it is for.
func (s *scanner) field(line []byte) *refusal {
	name, value, refused := cutField(line)
	switch {
	case refused != nil:
		return refused
	case bytes.EqualFold(name, []byte("Host")):
		if s.hosts++; s.hosts > 1 {
			return bad("more than one Host")
		}
	case bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || value[0] == '+' {
			return bad("a wrong Content-Length")
		}
		if s.lengths++; s.lengths > 1 {
			return bad("more than one Content-Length")
		}
		s.length = n
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
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
