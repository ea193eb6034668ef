package web

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"

	"connectrpc.com/connect"
)

// maxInflated is the largest request after decompression.
const maxInflated = 512 << 10

// isCompressed reports whether a request may have compressed messages.
func isCompressed(h http.Header) bool {
	for _, name := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		if v := h.Get(name); v != "" && v != "identity" {
			return true
		}
	}
	return false
}

func newCompressor() connect.Compressor { return gzip.NewWriter(io.Discard) }

func newDecompressor() connect.Decompressor { return &inflater{} }

// inflater reads gzip up to a limit. The transcoder has none.
type inflater struct {
	gzip.Reader
	left int
}

func (i *inflater) Reset(r io.Reader) error {
	i.left = maxInflated
	return i.Reader.Reset(r)
}

func (i *inflater) Read(p []byte) (int, error) {
	if i.left == 0 {
		return 0, connect.NewError(connect.CodeResourceExhausted, errInflated)
	}
	n, err := i.Reader.Read(p[:min(len(p), i.left)])
	i.left -= n
	return n, err
}

var errInflated = errors.New("the decompressed request is too large")
