package encoding

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// layer undoes one encoding. It reads its source to the end, so that the layer below is checked to its end too.
type layer struct {
	src source
	// r is the format's own reader.
	r io.Reader
	// pool is where r goes when the layer is closed.
	pool *sync.Pool
}

// maxZstdWindow is the largest window of zstd in HTTP, see RFC 9659.
const maxZstdWindow = 8 << 20

// Pools of the formats' readers. One in a pool reads from empty.
var (
	gzips     sync.Pool
	zlibs     sync.Pool
	raws      sync.Pool
	brotlies  sync.Pool
	zstds     sync.Pool
	empty     = bytes.NewReader(nil)
	errFollow = errors.New("bytes follow the end of the data")
)

// open prepares the layer. head has the first bytes of src.
func (l *layer) open(c coding, src source, head []byte) error {
	l.src = src
	switch c {
	case flated, rawFlated:
		return l.openFlate(c, head)
	case brotlied:
		return l.openBrotli()
	case zstded:
		return l.openZstd()
	}
	return ErrUnknown
}

func (l *layer) openFlate(c coding, head []byte) (err error) {
	switch {
	case c == rawFlated && !isGzip(head) && !isZlib(head):
		if z, ok := raws.Get().(io.ReadCloser); ok {
			l.use(z, &raws)
			return z.(flate.Resetter).Reset(l.src, nil)
		}
		l.use(flate.NewReader(l.src), &raws)
	case isZlib(head):
		if z, ok := zlibs.Get().(io.ReadCloser); ok {
			l.use(z, &zlibs)
			return z.(zlib.Resetter).Reset(l.src, nil)
		}
		z, err := zlib.NewReader(l.src)
		if err != nil {
			return err
		}
		l.use(z, &zlibs)
	default:
		z, ok := gzips.Get().(*gzip.Reader)
		if !ok {
			z = new(gzip.Reader)
		}
		l.use(z, &gzips)
		return z.Reset(l.src)
	}
	return nil
}

func (l *layer) openBrotli() error {
	z, ok := brotlies.Get().(*brotli.Reader)
	if !ok {
		z = new(brotli.Reader)
	}
	l.use(z, &brotlies)
	return z.Reset(l.src)
}

func (l *layer) openZstd() (err error) {
	z, ok := zstds.Get().(*zstd.Decoder)
	if !ok {
		// With a concurrency of 1 it has no goroutines, so it need not be closed.
		if z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow)); err != nil {
			return err
		}
	}
	l.use(z, &zstds)
	return z.Reset(l.src)
}

func (l *layer) openFrames(src source) {
	l.src = src
	l.use(&frames{src: src}, nil)
}

func (l *layer) use(r io.Reader, pool *sync.Pool) { l.r, l.pool = r, pool }

// close gives the format's reader back, which lets go of the data.
func (l *layer) close() {
	if l.pool == nil {
		return
	}
	switch z := l.r.(type) {
	case *gzip.Reader:
		_ = z.Reset(empty) // only an error of the empty data
	case *brotli.Reader:
		_ = z.Reset(empty)
	case *zstd.Decoder:
		_ = z.Reset(nil)
	case flate.Resetter:
		_ = z.Reset(empty, nil)
	}
	l.pool.Put(l.r)
}

// Read returns io.EOF only if the data end where they should.
func (l *layer) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		return n, corrupt(err)
	}
	switch _, after := l.src.ReadByte(); {
	case after == nil:
		return n, corrupt(errFollow)
	case !errors.Is(after, io.EOF):
		return n, corrupt(after)
	}
	return n, io.EOF
}

func isGzip(head []byte) bool { return len(head) > 1 && head[0] == 0x1f && head[1] == 0x8b }

// isZlib reports whether data begin with the header of RFC 1950.
func isZlib(head []byte) bool {
	return len(head) > 1 && head[0]&0xf == 8 && head[0]>>4 <= 7 && (uint(head[0])<<8|uint(head[1]))%31 == 0
}

// isEncoded reports whether data may be encoded. JSON text is not, nor is white space or no data. No encoding makes so many bytes of which none
// is a control character, and which are valid UTF-8 after a bracket.
func isEncoded(head []byte) bool {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\uFEFF")), " \t\r\n")
	if len(text) == 0 {
		return false
	}
	if text[0] != '{' && text[0] != '[' {
		return true
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1 && utf8.FullRune(text):
			return true
		case r < ' ' && r != '\t' && r != '\r' && r != '\n':
			return true
		}
		text = text[size:]
	}
	return false
}
