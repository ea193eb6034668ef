package encoding

import (
	"cmp"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// frame matches the beginning of data in frames: the size of the first chunk in hex, with an extension or without.
var frame = regexp.MustCompile(`^[0-9A-Fa-f]{1,8}(?:;[!-~]*)?\r\n`)

func isFramed(head []byte) bool { return frame.Match(head[:min(len(head), maxFrameLine)]) }

// maxFrameLine is the longest line of a frame or of the trailer.
const maxFrameLine = 512

var errFrame = errors.New("a frame is malformed")

// frames reads data in the frames of aws-chunked. These are the chunks of HTTP, each of which may have a signature, and at the
// end a trailer.
type frames struct {
	src source
	// left is how many bytes of this chunk are left. begun: there was one.
	left  int64
	begun bool
	err   error
}

func (f *frames) Read(p []byte) (int, error) {
	for f.err == nil && f.left == 0 {
		f.err = f.nextChunk()
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.src.Read(p[:min(int64(len(p)), f.left)])
	if f.left -= int64(n); errors.Is(err, io.EOF) {
		f.err = io.ErrUnexpectedEOF
		if n == 0 {
			return 0, f.err
		}
	} else if err != nil {
		f.err = err
	}
	return n, nil
}

// nextChunk reads the line before a chunk. After the last chunk it reads the trailer, and returns io.EOF.
func (f *frames) nextChunk() error {
	if f.begun {
		line, err := f.line()
		if err != nil {
			return early(err)
		}
		if line != "" {
			return errFrame
		}
	}
	f.begun = true
	line, err := f.line()
	if err != nil {
		return early(err)
	}
	size, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(size, 16, 32)
	if err != nil {
		return errFrame
	}
	if f.left = int64(n); n > 0 {
		return nil
	}
	for {
		// Some senders leave out the empty line at the end.
		if line, err := f.line(); err != nil || line == "" {
			return cmp.Or(err, io.EOF)
		}
	}
}

// early returns an error in the middle of the data.
func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line reads a line that ends in CRLF.
func (f *frames) line() (string, error) {
	var b strings.Builder
	for b.Len() <= maxFrameLine {
		c, err := f.src.ReadByte()
		switch {
		case err != nil && b.Len() > 0:
			return "", early(err)
		case err != nil:
			return "", err
		case c == '\n':
			text, ok := strings.CutSuffix(b.String(), "\r")
			if !ok {
				return "", errFrame
			}
			return text, nil
		}
		b.WriteByte(c)
	}
	return "", errFrame
}
