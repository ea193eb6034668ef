package kafkatest

import (
	"encoding/binary"

	"github.com/webhook-bridge/bridge/sinks/proxytest"
)

// Request is what the header of a client's request says.
type Request struct {
	Key    int16 // Such as kmsg.EndTxn.
	Client string
}

// Watch calls see with each request of the clients of new connections, before the proxy forwards the end of its header. It may
// block.
func Watch(proxy *proxytest.Proxy, see func(Request)) {
	proxy.Watch(func() func([]byte) { return (&requests{see: see}).read })
}

// requests reads the requests of a connection.
type requests struct {
	see func(Request)
	// header is what there is of the request's header, and of the size before it; skip is the number of bytes after it.
	header []byte
	skip   int
}

// fixedHeader has the size of a request, its key, its version, its correlation id, and the size of the client's id.
const fixedHeader = 4 + 2 + 2 + 4 + 2

func (r *requests) read(sent []byte) {
	for len(sent) > 0 {
		if r.skip > 0 {
			n := min(r.skip, len(sent))
			sent, r.skip = sent[n:], r.skip-n
			continue
		}
		want := fixedHeader
		if len(r.header) >= fixedHeader {
			want += r.clientSize()
		}
		n := min(want-len(r.header), len(sent))
		r.header, sent = append(r.header, sent[:n]...), sent[n:]
		if len(r.header) < fixedHeader || len(r.header) < fixedHeader+r.clientSize() {
			continue
		}
		r.skip = int(binary.BigEndian.Uint32(r.header)) + 4 - len(r.header)
		r.see(Request{Key: int16(binary.BigEndian.Uint16(r.header[4:])), Client: string(r.header[fixedHeader:])})
		r.header = nil
	}
}

func (r *requests) clientSize() int {
	return max(int(int16(binary.BigEndian.Uint16(r.header[fixedHeader-2:]))), 0)
}
