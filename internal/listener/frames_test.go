package listener

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script writes what a client sends.
type script struct {
	bytes.Buffer
	*http2.Framer
}

func newScript() *script {
	s := &script{}
	s.Framer = http2.NewFramer(&s.Buffer, nil)
	s.AllowIllegalWrites = true
	_, _ = s.WriteString(http2.ClientPreface)
	_ = s.WriteSettings()
	return s
}

func block(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// message is a gRPC message of so many bytes.
func message(n int) []byte {
	return append([]byte{0, 0, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...)
}

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func methods(path string) CallLimits {
	switch path {
	case "/small":
		return CallLimits{Message: 10}
	case "/talk":
		return CallLimits{Message: 10, Messages: true}
	}
	return CallLimits{}
}

func newParser(verified bool) *parser {
	p := new(parser)
	p.init(methods, func() bool { return verified })
	return p
}

// TestFrames: what a client may send, wherever the parts end in which it arrives.
func TestFrames(t *testing.T) {
	t.Parallel()
	headers := func(s *script, id uint32, path string) {
		_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block(":path", path, "content-type", "application/grpc"), EndHeaders: true})
	}
	for _, tt := range []struct {
		name  string
		write func(*script)
		why   reason
		fails bool
	}{
		{name: "a call", write: func(s *script) { headers(s, 1, "/small"); _ = s.WriteData(1, true, message(10)) }},
		{name: "an empty request", write: func(s *script) { headers(s, 1, "/small"); _ = s.WriteData(1, true, message(0)) }},
		{name: "a padded request", write: func(s *script) {
			headers(s, 1, "/small")
			_ = s.WriteDataPadded(1, true, message(10), make([]byte, 200))
		}},
		{name: "a request in parts", write: func(s *script) {
			headers(s, 1, "/small")
			for _, b := range message(10) {
				_ = s.WriteData(1, false, []byte{b})
			}
			_ = s.WriteData(1, true, nil)
		}},
		{name: "padded headers with a priority", write: func(s *script) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, BlockFragment: block(":path", "/small", "content-type", "application/grpc"), EndHeaders: true, PadLength: 100, Priority: http2.PriorityParam{Weight: 1},
			})
			_ = s.WriteData(1, true, message(10))
		}},
		{name: "headers in two frames", write: func(s *script) {
			b := block(":path", "/small", "content-type", "application/grpc")
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3]})
			_ = s.WriteContinuation(1, true, b[3:])
			_ = s.WriteData(1, true, message(10))
		}},
		{name: "two messages where many may come", write: func(s *script) {
			headers(s, 1, "/talk")
			_ = s.WriteData(1, false, append(message(10), message(9)...))
		}},
		{name: "a large message without a limit", write: func(s *script) {
			headers(s, 1, "/large")
			for b := message(100_000); len(b) > 0; b = b[min(len(b), 16<<10):] {
				_ = s.WriteData(1, false, b[:min(len(b), 16<<10)])
			}
		}},
		{name: "a second message", why: reasonFlood, fails: true, write: func(s *script) {
			headers(s, 1, "/small")
			_ = s.WriteData(1, false, append(message(10), message(10)...))
		}},
		{name: "another frame within headers", why: reasonMalformed, fails: true, write: func(s *script) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":path", "/small", "content-type", "application/grpc")})
			_ = s.WritePing(false, [8]byte{})
		}},
		{name: "headers of another stream within headers", why: reasonMalformed, fails: true, write: func(s *script) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":path", "/small", "content-type", "application/grpc")})
			_ = s.WriteContinuation(3, true, nil)
		}},
		{name: "a continuation of nothing", why: reasonMalformed, fails: true, write: func(s *script) {
			_ = s.WriteContinuation(1, true, block(":path", "/small", "content-type", "application/grpc"))
		}},
		{name: "more padding than frame", why: reasonMalformed, fails: true, write: func(s *script) {
			_ = s.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 0, 0})
		}},
		{name: "headers that are no HPACK", why: reasonMalformed, fails: true, write: func(s *script) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
		}},
		{name: "a large frame", why: reasonFlood, fails: true, write: func(s *script) {
			_ = s.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 17<<10))
		}},
		{name: "large headers", why: reasonFlood, fails: true, write: func(s *script) {
			for i := range 3 {
				_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block("x", strings.Repeat("x", 4000)), EndHeaders: true})
			}
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, BlockFragment: bytes.Repeat([]byte{0x80 | 62}, 10), EndHeaders: true})
		}},
		{name: "1,001 calls without a request", why: reasonFlood, fails: true, write: func(s *script) {
			for i := range uint32(1001) {
				headers(s, 2*i+1, "/talk")
			}
		}},
	} {
		s := newScript()
		tt.write(s)
		for _, size := range []int{1, 3, 16 << 10, s.Len()} {
			p := newParser(tt.name == "1,001 calls without a request")
			var why reason
			var broken bool
			for rest := bytes.Clone(s.Bytes()); len(rest) > 0 && !broken; {
				n := min(size, len(rest))
				before := bytes.Clone(rest[:n])
				if why, broken = p.follow(rest[:n], now); !broken && !bytes.Equal(before, rest[:n]) {
					t.Errorf("%s, in parts of %d: bytes were changed", tt.name, size)
				}
				rest = rest[n:]
			}
			if broken != tt.fails || why != tt.why {
				t.Errorf("%s, in parts of %d: broken %v, %v; want %v, %v", tt.name, size, broken, why, tt.fails, tt.why)
			}
		}
	}
}

// TestLargeMessage: a message that is too large gets the largest length that there is, and the rest of its call is ignored.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	s := newScript()
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":path", "/small", "content-type", "application/grpc"), EndHeaders: true})
	_ = s.WriteData(1, false, message(11))
	at := s.Len() - 16
	_ = s.WriteData(1, true, message(1000))
	p := newParser(false)
	sent := bytes.Clone(s.Bytes())
	if why, broken := p.follow(sent, now); broken {
		t.Fatalf("broken: %v", why)
	}
	if !bytes.Equal(sent[at:at+5], []byte{0, 0xff, 0xff, 0xff, 0xff}) {
		t.Errorf("the message begins with % x", sent[at:at+5])
	}
	copy(sent[at:], s.Bytes()[at:at+5])
	if !bytes.Equal(sent, s.Bytes()) {
		t.Error("more than the length was changed")
	}
	// A part of the length was handed on before: the connection ends.
	p = newParser(false)
	sent = bytes.Clone(s.Bytes())
	if _, broken := p.follow(sent[:at+2], now); broken {
		t.Fatal("broken too early")
	}
	if why, broken := p.follow(sent[at+2:], now); !broken || why != reasonFlood {
		t.Errorf("broken %v, %v", broken, why)
	}
}

// TestDue: how long a client may take with a frame, headers and a request.
func TestDue(t *testing.T) {
	t.Parallel()
	p := newParser(false)
	follow := func(data []byte, at time.Duration) {
		t.Helper()
		if why, broken := p.follow(bytes.Clone(data), now.Add(at)); broken {
			t.Fatalf("broken: %v", why)
		}
	}
	due := func(what string, want time.Duration) {
		t.Helper()
		_ = p.overdue(now) // forgets calls that are over
		switch got := p.due(); {
		case want == 0 && !got.IsZero():
			t.Errorf("%s: due after %v, want never", what, got.Sub(now))
		case want != 0 && got != now.Add(want):
			t.Errorf("%s: due after %v, want %v", what, got.Sub(now), want)
		}
	}
	s := newScript()
	follow(s.Bytes(), 0)
	due("greeted", 0)
	s.Reset()
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":path", "/large", "content-type", "application/grpc")})
	follow(s.Bytes()[:4], time.Second)
	due("a part of a frame", 11*time.Second)
	follow(s.Bytes()[4:], 2*time.Second)
	due("headers without end", 12*time.Second)
	s.Reset()
	_ = s.WriteContinuation(1, true, nil)
	follow(s.Bytes(), 3*time.Second)
	due("no request", 13*time.Second)
	s.Reset()
	_ = s.WriteData(1, false, message(20 << 10)[:5+8<<10])
	follow(s.Bytes(), 4*time.Second)
	due("8 KiB of a request", 14*time.Second)
	s.Reset()
	_ = s.WriteData(1, false, make([]byte, 12<<10))
	follow(s.Bytes(), 5*time.Second)
	due("a request", 0)
	if p.overdue(now.Add(time.Hour)) {
		t.Error("late without anything to send")
	}
}

// TestStrangersFrames: a stranger has a budget of frames that cost an answer. Others have none.
func TestStrangersFrames(t *testing.T) {
	t.Parallel()
	s := newScript()
	s.Reset()
	_ = s.WritePing(false, [8]byte{})
	ping := bytes.Clone(s.Bytes())
	count := func(p *parser, at time.Time, most int) int {
		for n := range most {
			if _, broken := p.follow(bytes.Clone(ping), at); broken {
				return n
			}
		}
		return most
	}
	p := newParser(false)
	_, _ = p.follow(newScript().Bytes(), now)
	if n := count(p, now, 5000); n != strangerFrames-1 {
		t.Errorf("%d pings, want %d", n, strangerFrames-1)
	}
	p = newParser(false)
	_, _ = p.follow(newScript().Bytes(), now)
	_ = count(p, now, strangerFrames-1)
	if n := count(p, now.Add(time.Second), 5000); n != strangerRate {
		t.Errorf("%d pings a second later, want %d", n, strangerRate)
	}
	if n := count(newVerified(), now, 5000); n != 5000 {
		t.Errorf("%d pings of a known client", n)
	}
}

// newVerified returns the parser of a client that has shown a credential.
func newVerified() *parser {
	p := newParser(true)
	_, _ = p.follow(newScript().Bytes(), now)
	return p
}

// FuzzFrames: the parser does not fail, keeps a bounded number of calls, and refuses byte by byte what it refuses at once.
func FuzzFrames(f *testing.F) {
	s := newScript()
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":path", "/small", "content-type", "application/grpc"), EndHeaders: true})
	_ = s.WriteData(1, true, message(5))
	_ = s.WritePing(false, [8]byte{})
	f.Add(s.Bytes()[preface:])
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newParser(true)
		p.greeting = 0
		_, broken := p.follow(bytes.Clone(data), now)
		// One byte at a time, the parser sees the same.
		q := newParser(true)
		q.greeting = 0
		brokenQ := false
		for _, b := range data {
			if _, brokenQ = q.follow([]byte{b}, now); brokenQ {
				break
			}
		}
		if broken && !brokenQ {
			t.Errorf("broken at once, and not byte by byte")
		}
		if len(p.open) > maxOpenCalls || len(q.open) > maxOpenCalls {
			t.Errorf("too many calls are kept")
		}
	})
}
