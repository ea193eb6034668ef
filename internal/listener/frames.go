package listener

import (
	"encoding/binary"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// MaxGRPCHeaders bounds the headers of a call, decoded, as HTTP/2 counts them.
	MaxGRPCHeaders = 16 << 10
	// maxFrame is the largest frame that grpc allows its clients.
	maxFrame = 16 << 10
	// maxOpenCalls is how many calls of one connection may be open without having sent their request.
	maxOpenCalls = 1000
	// frameTimeout is how long a frame may take to arrive, and the headers of a call with all their frames.
	frameTimeout = 10 * time.Second
	// requestTimeout is how long a message may take to arrive, and the first one of a call from its headers on. It gets
	// longer with each byte that has arrived: see slowest.
	requestTimeout = 10 * time.Second
	// slowest is how slowly a large message may arrive, in bytes a second.
	slowest = 8 << 10
	// strangerFrames and strangerRate bound the frames, other than data, of a connection that has shown no credential: this
	// many at once, and this many more a second.
	strangerFrames, strangerRate = 1000, 50
)

const preface = len(http2.ClientPreface)

// call bounds the bytes that a client may still send on one stream.
type call struct {
	limits CallLimits
	// head has the first bytes of a message's prefix, and headed their number.
	head   [5]byte
	headed int
	// left is how much of a message has yet to come.
	left uint64
	// messages is how many began.
	messages int
	// waiting: a message has begun and not ended, or none has come yet. It is due by then.
	waiting bool
	due     time.Time
	// over: grpc refuses the rest.
	over bool
}

// parser follows the bytes of a client.
type parser struct {
	methods  Methods
	verified func() bool

	// greeting is how much of the preface has yet to come.
	greeting int
	// header is the header of the current frame, and headed how much of it is here.
	header [9]byte
	headed int
	// Of the current frame: what is left of its payload, its type, flags and stream; padding is -1 until it is known.
	left    int
	kind    http2.FrameType
	flags   http2.Flags
	stream  uint32
	padding int
	// prelude is how much there is before the headers of a HEADERS frame.
	prelude int

	// block: headers have begun and not ended, on this stream.
	block uint32
	// size is the size of the headers so far, path is their :path. rpc: they are those of a call of gRPC. ended: the client sends
	// nothing after them.
	size  int
	path  string
	rpc   bool
	ended bool
	hpack *hpack.Decoder

	// settled: the client's first settings are here. first is when its first call is due, or zero. begins: that is one of gRPC.
	settled, begins bool
	first           time.Time
	// web: the first call was not, so an [http.Server] gets all calls, and bounds their bodies.
	web bool

	open map[uint32]*call
	last uint32
	// began is when the current frame or the current headers began.
	began time.Time
	// earliest is when the first call is due, or earlier.
	earliest time.Time
	// tokens are how many frames a stranger may still send, as of then.
	tokens float64
	as     time.Time
}

func (p *parser) init(methods Methods, verified func() bool) {
	p.methods, p.verified = methods, verified
	p.greeting, p.tokens = preface, strangerFrames
	p.open = make(map[uint32]*call)
	p.hpack = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		p.size += int(f.Size())
		switch f.Name {
		case ":path":
			p.path = f.Value
		case "content-type":
			p.rpc = IsRPC(f.Value)
		}
		if p.size > MaxGRPCHeaders {
			p.hpack.SetEmitEnabled(false)
		}
	})
	p.hpack.SetMaxStringLength(MaxGRPCHeaders)
}

// IsRPC reports whether a content type is that of gRPC itself: gRPC-Web has names that begin in the same way.
func IsRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// due is when the client must have sent more, or zero.
func (p *parser) due() time.Time {
	due := p.earliest
	if !p.first.IsZero() && (due.IsZero() || p.first.Before(due)) {
		due = p.first
	}
	if p.headed > 0 || p.block != 0 {
		if at := p.began.Add(frameTimeout); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

// overdue reports whether the client is late. It finds out when the first call is really due.
func (p *parser) overdue(now time.Time) bool {
	p.earliest = time.Time{}
	for _, c := range p.open {
		if c.waiting && (p.earliest.IsZero() || c.due.Before(p.earliest)) {
			p.earliest = c.due
		}
	}
	due := p.due()
	return !due.IsZero() && !now.Before(due)
}

// follow reads what has arrived. It may change the length of a message. If the connection must end, it returns why.
func (p *parser) follow(data []byte, now time.Time) (reason, bool) {
	for len(data) > 0 {
		var n int
		var why reason
		var broken bool
		switch {
		case p.greeting > 0:
			n = min(len(data), p.greeting)
			p.greeting -= n
		case p.headed < len(p.header):
			if p.headed == 0 && p.block == 0 {
				p.began = now
			}
			n = copy(p.header[p.headed:], data)
			if p.headed += n; p.headed == len(p.header) {
				why, broken = p.beginFrame(now)
			}
		default:
			n = min(len(data), p.left)
			why, broken = p.payload(data[:n], now)
		}
		if broken {
			return why, true
		}
		data = data[n:]
		if p.headed == len(p.header) && p.left == 0 {
			if why, broken := p.endFrame(now); broken {
				return why, true
			}
		}
	}
	return 0, false
}

func (p *parser) beginFrame(now time.Time) (reason, bool) {
	p.left = int(p.header[0])<<16 | int(p.header[1])<<8 | int(p.header[2])
	p.kind, p.flags = http2.FrameType(p.header[3]), http2.Flags(p.header[4])
	p.stream = binary.BigEndian.Uint32(p.header[5:]) & (1<<31 - 1)
	p.padding, p.prelude = 0, 0
	if p.left > maxFrame {
		return reasonFlood, true
	}
	if p.block != 0 && (p.kind != http2.FrameContinuation || p.stream != p.block) || p.block == 0 && p.kind == http2.FrameContinuation {
		return reasonMalformed, true
	}
	if !p.pay(now) {
		return reasonFlood, true
	}
	switch p.kind {
	case http2.FrameHeaders:
		p.block, p.size, p.path, p.rpc, p.began = p.stream, 0, "", false, now
		p.ended = p.flags.Has(http2.FlagHeadersEndStream)
		p.hpack.SetEmitEnabled(true)
		if p.flags.Has(http2.FlagHeadersPriority) {
			p.prelude = 5
		}
		if p.flags.Has(http2.FlagHeadersPadded) {
			p.padding = -1
		}
	case http2.FrameData:
		if p.flags.Has(http2.FlagDataPadded) {
			p.padding = -1
		}
	case http2.FrameRSTStream:
		delete(p.open, p.stream)
	}
	return 0, false
}

// pay counts a frame against the budget of a stranger. Data with content is bounded by the call.
func (p *parser) pay(now time.Time) bool {
	if p.kind == http2.FrameData && p.left > 0 || p.verified() {
		return true
	}
	if !p.as.IsZero() {
		p.tokens = min(strangerFrames, p.tokens+now.Sub(p.as).Seconds()*strangerRate)
	}
	p.as = now
	p.tokens--
	return p.tokens >= 0
}

// payload reads a part of a frame's payload, without what surrounds its content.
func (p *parser) payload(data []byte, now time.Time) (reason, bool) {
	if p.kind != http2.FrameData && p.kind != http2.FrameHeaders && p.kind != http2.FrameContinuation {
		p.left -= len(data)
		return 0, false
	}
	if p.padding < 0 {
		p.padding = int(data[0])
		p.left, data = p.left-1, data[1:]
		if p.padding+p.prelude > p.left {
			return reasonMalformed, true
		}
	}
	if p.prelude > 0 {
		n := min(p.prelude, len(data))
		p.prelude, p.left, data = p.prelude-n, p.left-n, data[n:]
	}
	content := data[:max(0, min(len(data), p.left-p.padding))]
	p.left -= len(data)
	if p.kind == http2.FrameData {
		return p.data(content, now)
	}
	if _, err := p.hpack.Write(content); err != nil {
		return reasonMalformed, true
	}
	if p.size > MaxGRPCHeaders {
		return reasonFlood, true
	}
	return 0, false
}

func (p *parser) endFrame(now time.Time) (reason, bool) {
	p.headed = 0
	switch p.kind {
	case http2.FrameSettings:
		p.settled = true
	case http2.FrameHeaders, http2.FrameContinuation:
		if p.flags.Has(http2.FlagHeadersEndHeaders) {
			return p.endHeaders(now)
		}
	case http2.FrameData:
		if p.flags.Has(http2.FlagDataEndStream) {
			delete(p.open, p.stream)
		}
	}
	return 0, false
}

// endHeaders opens a call.
func (p *parser) endHeaders(now time.Time) (reason, bool) {
	stream := p.block
	p.block = 0
	if err := p.hpack.Close(); err != nil {
		return reasonMalformed, true
	}
	if p.ended {
		delete(p.open, stream)
	}
	if p.last == 0 {
		p.begins, p.web = p.rpc, !p.rpc
	}
	if stream <= p.last || p.ended {
		p.last = max(p.last, stream)
		return 0, false // Trailers, or an error that grpc finds.
	}
	p.last = stream
	if p.web {
		return 0, false
	}
	if len(p.open) >= maxOpenCalls {
		return reasonFlood, true
	}
	c := &call{limits: p.methods(p.path)}
	p.wait(c, now.Add(requestTimeout))
	p.open[stream] = c
	return 0, false
}

// wait notes that the next message of a call is due.
func (p *parser) wait(c *call, due time.Time) {
	c.waiting, c.due = true, due
	if p.earliest.IsZero() || due.Before(p.earliest) {
		p.earliest = due
	}
}

// data follows the messages of a call: a byte of flags, four bytes of length, and the message.
func (p *parser) data(content []byte, now time.Time) (reason, bool) {
	c := p.open[p.stream]
	if c == nil || c.over {
		return 0, false // grpc drops it.
	}
	for len(content) > 0 {
		if c.left > 0 {
			n := min(c.left, uint64(len(content)))
			c.left -= n
			content = content[n:]
			c.due = c.due.Add(time.Duration(n) * time.Second / slowest)
			continue
		}
		n := copy(c.head[c.headed:], content)
		if c.headed == 0 {
			if c.messages++; c.messages > 1 && !c.limits.Messages {
				return reasonFlood, true
			}
			if c.messages > 1 {
				p.wait(c, now.Add(requestTimeout))
			}
		}
		if c.headed += n; c.headed == len(c.head) {
			if !p.prefix(c, content[:n]) {
				return reasonFlood, true
			}
		}
		content = content[n:]
	}
	if c.headed == 0 && c.left == 0 || c.over {
		c.waiting = false
	}
	return 0, false
}

// prefix reads the length of a message, whose last bytes are end. If the message is larger than its call allows, it says so in a
// way that grpc answers with RESOURCE_EXHAUSTED without reading the message: with the largest length that there is. It reports false
// if a part of the length was handed on before.
func (p *parser) prefix(c *call, end []byte) bool {
	c.headed = 0
	c.left = uint64(binary.BigEndian.Uint32(c.head[1:]))
	if c.limits.Message == 0 || c.left <= uint64(c.limits.Message) {
		return true
	}
	if len(end) < 4 {
		return false
	}
	copy(end[len(end)-4:], "\xff\xff\xff\xff")
	c.over = true
	return true
}
