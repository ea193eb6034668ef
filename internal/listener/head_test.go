package listener

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// heads are requests with the status that the scanner refuses them with. 0 leaves them to net/http.
var heads = []struct {
	name, request string
	status        int
}{
	{"no body", "GET /x HTTP/1.1\r\nHost: b\r\n\r\n", 0},
	{"a length", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}", 0},
	{"chunks", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 0},
	{"a chunk with an extension", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: CHUNKED\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n", 0},
	{"a line end after a body", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}\r\nGET /x HTTP/1.1\r\nHost: b\r\n\r\n", 0},
	{"HTTP/1.0", "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0},
	{"an absolute target", "POST http://b/x HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", 0},

	{"a long field", "GET /x HTTP/1.1\r\nHost: b\r\nX: " + strings.Repeat("y", 5000) + "\r\n\r\n", 0},
	{"a long target", "POST /" + strings.Repeat("y", 5000) + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0},
	{"128 fields", "GET /x HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 128) + "\r\n", 0},

	{"a length beside chunks", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunks beside a length", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 400},
	{"two lengths", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400},
	{"one length twice", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n{}", 400},
	{"a list of lengths", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 2, 2\r\n\r\n{}", 400},
	{"a signed length", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: +2\r\n\r\n{}", 400},
	{"an empty length", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length:\r\n\r\n{}", 400},
	{"a length in hex", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 0x2\r\n\r\n{}", 400},
	{"another coding", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
	{"two codings", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	{"no coding", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: identity\r\n\r\n", 501},
	{"chunked twice", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunks in HTTP/1.0", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"a vertical tab before chunked", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 501},
	{"LF alone after a field", "GET /x HTTP/1.1\r\nHost: b\n\r\n", 400},
	{"LF alone after the first line", "GET /x HTTP/1.1\nHost: b\r\n\r\n", 400},
	{"LF alone at the end", "GET /x HTTP/1.1\r\nHost: b\r\n\n", 400},
	{"CR alone", "GET /x HTTP/1.1\r\nHost: b\rX: y\r\n\r\n", 400},
	{"a folded field", "GET /x HTTP/1.1\r\nHost: b\r\nX: y\r\n z\r\n\r\n", 400},
	{"a blank before the first field", "GET /x HTTP/1.1\r\n Host: b\r\n\r\n", 400},
	{"a blank before the colon", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length : 2\r\n\r\n{}", 400},
	{"a blank in a name", "GET /x HTTP/1.1\r\nHost: b\r\nX Y: z\r\n\r\n", 400},
	{"no name", "GET /x HTTP/1.1\r\nHost: b\r\n: z\r\n\r\n", 400},
	{"no colon", "GET /x HTTP/1.1\r\nHost: b\r\nContent-Length\r\n\r\n", 400},
	{"129 fields", "GET /x HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 129) + "\r\n", 431},
	{"CR in a long field", "GET /x HTTP/1.1\r\nX: " + strings.Repeat("y", 5000) + "\rz\r\n\r\n", 400},
	{"LF alone after a long field", "GET /x HTTP/1.1\r\nX: " + strings.Repeat("y", 5000) + "\n\r\n", 400},
	{"two hosts", "GET /x HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n", 400},
	{"a wrong chunk size", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", 400},
	{"a signed chunk size", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n", 400},
	{"a chunk size with LF alone", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n", 400},
	{"a long chunk extension", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 300) + "\r\n{}\r\n0\r\n\r\n", 400},
	{"a chunk longer than its size", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n", 400},
	{"a long trailer", "POST /x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 1000) + "\r\n", 400},
	{"line ends without a request", strings.Repeat("\r\n", 10), 400},
	{"a second request", "POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}GET /x HTTP/1.1\r\nHost: b\nX: y\r\n\r\n", 400},
}

// TestScanner: what is refused is refused wherever the parts end in which it arrives.
func TestScanner(t *testing.T) {
	t.Parallel()
	for _, tt := range heads {
		for _, size := range []int{1, 2, 7, len(tt.request)} {
			var s scanner
			var refused *refusal
			for rest := []byte(tt.request); len(rest) > 0 && refused == nil; {
				n := min(size, len(rest))
				_, refused = s.scan(rest[:n])
				rest = rest[n:]
			}
			status := 0
			if refused != nil {
				status = refused.status
			}
			if status != tt.status {
				t.Errorf("%s, in parts of %d: refused with %d, want %d", tt.name, size, status, tt.status)
			}
			if refused == nil && (s.step != inLead || s.lead > 0) {
				t.Errorf("%s, in parts of %d: ends in step %d", tt.name, size, s.step)
			}
		}
	}
}

// FuzzScanner compares the scanner with net/http: a request that the scanner lets pass ends where net/http ends it.
func FuzzScanner(f *testing.F) {
	for _, tt := range heads {
		f.Add([]byte(tt.request))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var s scanner
		passed, refused := s.scan(data)
		if refused != nil || s.step != inLead || s.lead > 0 {
			data = data[:passed]
		}
		// data is whole requests now, as the scanner sees them.
		if refused != nil && passed == len(data) && len(data) == 0 {
			return
		}
		if refused == nil && s.step != inLead {
			return
		}
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			start, _ := in.Peek(2)
			for len(start) > 0 && (start[0] == '\r' || start[0] == '\n') {
				_, _ = in.Discard(1)
				start, _ = in.Peek(2)
			}
			if len(start) == 0 {
				return
			}
			r, err := http.ReadRequest(in)
			if err != nil {
				return // net/http refuses it, and closes the connection.
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Fatalf("net/http wants more than the scanner, or less: %v", err)
			}
		}
	})
}
