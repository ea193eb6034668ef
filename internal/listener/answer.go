package listener

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
)

// standard are the headers of all answers, shared and only read. Bridge serves no pages: a browser must not guess a type, keep,
// frame or run an answer.
var standard = []struct {
	name  string
	value []string
}{
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"Cache-Control", []string{"no-store"}},
	{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
	{"Referrer-Policy", []string{"no-referrer"}},
}

func setHeaders(h http.Header) {
	for i := range standard {
		h[standard[i].name] = standard[i].value
	}
}

// standardLines are the standard headers on the wire, and standardText all of them.
var standardLines, standardText = func() (lines [][]byte, text []byte) {
	for _, h := range standard {
		line := fmt.Appendf(nil, "%s: %s\r\n", h.name, h.value[0])
		lines, text = append(lines, line), append(text, line...)
	}
	return lines, text
}()

// maxHead bounds the head of an answer that is held back for its end.
const maxHead = 64 << 10

// answers has memory for the first bytes of answers: net/http writes up to 4 KiB at once.
var answers = sync.Pool{New: func() any { return new(make([]byte, 0, 4<<10+len(standardText))) }}

// Write writes a part of an answer, and puts the standard headers behind its status line. net/http writes an answer in order, and
// a new one with a new Write. To set the headers in the handler's map costs more: net/http copies and sorts it.
func (c *httpConn) Write(p []byte) (int, error) {
	state := c.answer.Load()
	if state == headDone || len(c.head) == 0 && !bytes.HasPrefix(p, []byte("HTTP/1.")) {
		return c.Conn.Write(p)
	}
	whole := p
	if len(c.head) > 0 {
		c.head = append(c.head, p...)
		whole = c.head
	}
	end := bytes.Index(whole, []byte("\r\n\r\n"))
	if end < 0 && len(whole) < maxHead {
		if len(c.head) == 0 {
			c.head = bytes.Clone(p)
		}
		return len(p), nil
	}
	c.head = nil
	if interim(whole) {
		return c.writeRest(whole, len(p))
	}
	if state == headDue {
		c.answer.Store(headDone)
	}
	if end < 0 {
		return c.writeRest(whole, len(p))
	}
	memory := answers.Get().(*[]byte)
	defer answers.Put(memory) // a longer one is left to the collector
	line := bytes.IndexByte(whole, '\n') + 1
	with := (*memory)[:0]
	with = append(with, whole[:line]...)
	with = append(appendMissing(with, whole[line:end+2]), whole[line:]...)
	return c.writeRest(with, len(p))
}

// writeRest writes what a Write of n bytes has become.
func (c *httpConn) writeRest(p []byte, n int) (int, error) {
	written, err := c.Conn.Write(p)
	if err != nil {
		return min(written, n), err
	}
	return n, nil
}

// interim reports whether a head has a status 1xx: another head follows.
func interim(head []byte) bool {
	const status = len("HTTP/1.1 ")
	return len(head) > status && head[status] == '1'
}

// appendMissing appends the standard headers that fields, whole lines, lack.
func appendMissing(to, fields []byte) []byte {
	var has [8]bool
	some := false
	for len(fields) > 0 {
		end := bytes.IndexByte(fields, '\n') + 1
		for i := range standard {
			if name := standard[i].name; end > len(name) && fields[len(name)] == ':' && bytes.EqualFold(fields[:len(name)], []byte(name)) {
				has[i], some = true, true
			}
		}
		fields = fields[end:]
	}
	if !some {
		return append(to, standardText...)
	}
	for i, line := range standardLines {
		if !has[i] {
			to = append(to, line...)
		}
	}
	return to
}
