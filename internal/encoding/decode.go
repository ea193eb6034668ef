package encoding

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

var (
	// ErrCorrupt means that the data are not what their encoding says.
	ErrCorrupt = errors.New("the content encoding is corrupt")
	// ErrTooLarge means that the result of an encoding is larger than allowed.
	ErrTooLarge = errors.New("the body is too large when its encoding is undone")
	// ErrBusy means that too many bodies are decoded at this time.
	ErrBusy = errors.New("too many bodies are decoded at this time")
)

// Result says what [Chain.Decode] did.
type Result struct {
	// Decoded: fill has read the body. Otherwise the data are the body, and fill was not called.
	Decoded bool
	// Ignored: the header has a name that encodes no bytes, or an encoding that the data do not have.
	Ignored bool
}

// large limits how many bodies with a large window are decoded at the same time, in this process.
var large = semaphore.NewWeighted(int64(max(4, runtime.GOMAXPROCS(0))))

// Decode undoes the encodings of data. fill reads the body to its end, and returns the reader's error or its own. limit is the
// largest result of each encoding, and wait is how long to wait for a turn.
//
// Errors are [ErrCorrupt], [ErrTooLarge], [ErrBusy] and those of fill.
func (c Chain) Decode(data []byte, limit int64, wait time.Duration, fill func(io.Reader) error) (Result, error) {
	result := Result{Ignored: c.ignored || c.framed && !isFramed(data)}
	if c.n == 0 && !c.shown && (!c.framed || result.Ignored) {
		return result, nil
	}
	if c.largeWindow(data) {
		if !acquire(wait) {
			return result, ErrBusy
		}
		defer large.Release(1)
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	if err := d.open(c, data, limit, &result); err != nil || !result.Decoded {
		return result, err
	}
	return result, fill(d.body)
}

// acquire waits for a turn of large.
func acquire(wait time.Duration) bool {
	if large.TryAcquire(1) {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return large.Acquire(ctx, 1) == nil
}

func (c Chain) largeWindow(data []byte) bool {
	if c.shown {
		coding, _ := shownCoding(data)
		return coding == zstded
	}
	for _, layer := range c.layers[:c.n] {
		if layer == brotlied || layer == zstded {
			return true
		}
	}
	return false
}

// decoder undoes one body's encodings. It is pooled.
type decoder struct {
	data bytes.Reader
	// layers read from each other: the first one from data.
	layers [MaxLayers + 1]layer
	n      int
	// body is where to read what the layers make.
	body io.Reader
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// release puts the decoder into the pool, without the data.
func (d *decoder) release() {
	d.reset()
	decoders.Put(d)
}

// reset closes the layers, and lets go of the data.
func (d *decoder) reset() {
	for i := range d.layers[:d.n] {
		d.layers[i].close()
		d.layers[i] = layer{}
	}
	d.n, d.body = 0, nil
	d.data.Reset(nil)
}

// headSize is how many bytes show whether data are text.
const headSize = 512

// open opens a layer for each encoding that the data have.
func (d *decoder) open(c Chain, data []byte, limit int64, result *Result) error {
	d.data.Reset(data)
	var src source = &d.data
	head := data[:min(len(data), headSize)]
	if c.shown {
		return d.openShown(src, head, limit, result)
	}
	if c.framed && isFramed(head) {
		d.push().openFrames(src)
		result.Decoded = true
		if c.n == 0 {
			return nil
		}
		var err error
		if src, head, err = d.next(limit); err != nil {
			return err
		}
	}
	for i := c.n - 1; i >= 0; i-- {
		if !isEncoded(head) {
			result.Ignored = true
			continue
		}
		if err := d.push().open(c.layers[i], src, head); err != nil {
			return corrupt(err)
		}
		result.Decoded = true
		if i == 0 {
			return nil
		}
		var err error
		if src, head, err = d.next(limit); err != nil {
			return err
		}
	}
	return nil
}

// push adds a layer, which has the body unless there are more.
func (d *decoder) push() *layer {
	l := &d.layers[d.n]
	d.n++
	d.body = l
	return l
}

// next returns the source of the next layer, and its first bytes.
func (d *decoder) next(limit int64) (source, []byte, error) {
	buffered := bufio.NewReaderSize(&limited{r: d.body, left: limit}, headSize)
	d.body = buffered
	head, err := buffered.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	return buffered, head, nil
}

// source is a layer's input. Decoders read no byte too many from it.
type source interface {
	io.Reader
	io.ByteReader
}

// limited is a reader that fails with ErrTooLarge.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}

// corrupt returns a decoder's error as ErrCorrupt. It never wraps io.EOF: that could be read as the end of good data.
func corrupt(err error) error {
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the data end early", ErrCorrupt)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
