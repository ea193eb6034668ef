package file

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// zstdMagic is the start of a frame.
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// layout is how the records of a file are written.
type layout struct {
	format      Format
	compression Compression
}

func (s *Sink) layout() layout { return layout{s.config.Format, s.config.Compression} }

// inspection is the result of reading a file.
type inspection struct {
	whole       int64   // Number of bytes, from the start, that are whole records.
	last        int64   // Size of the last whole record, or of the last frame of records.
	reached     reached // What the sink had reached with it.
	damaged     bool    // After the whole records there is more than an incomplete record.
	otherFormat bool    // The file has another format. All its bytes then count as whole.
}

// errDamaged means that the bytes after the last whole record are not just an incomplete record.
var errDamaged = errors.New("damaged")

// inspect reads a file of size bytes.
func (s *Sink) inspect(ctx context.Context, f io.ReaderAt, size int64) (*inspection, error) {
	l, err := s.layoutOf(f, size)
	if err != nil {
		return nil, err
	}
	found, err := s.scan(ctx, l, f, size)
	if err != nil {
		return nil, err
	}
	if found.reached, err = l.lastReached(f, found.whole-found.last, found.last); err != nil {
		return nil, err
	}
	if l != s.layout() {
		found.whole, found.damaged, found.otherFormat = size, false, true
	}
	return found, nil
}

// scan reads the records of a file with this layout.
func (s *Sink) scan(ctx context.Context, l layout, f io.ReaderAt, size int64) (*inspection, error) {
	next, done, err := l.records(f, size)
	if err != nil {
		return nil, err
	}
	defer done()
	found := &inspection{}
	for {
		if err := s.interrupted(ctx); err != nil {
			return nil, err
		}
		n, err := next()
		switch {
		case err == nil:
			found.whole, found.last = found.whole+n, n
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return found, nil
		case errors.Is(err, errDamaged):
			found.damaged = true
			return found, nil
		default:
			return nil, err
		}
	}
}

// layoutOf returns the layout of a file. It is another one than the sink's after a change of the configuration.
func (s *Sink) layoutOf(f io.ReaderAt, size int64) (layout, error) {
	l := s.layout()
	head := make([]byte, min(size, int64(len(zstdMagic))))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return l, err
	}
	switch {
	case bytes.Equal(head, zstdMagic):
		l.compression = Zstd
	case !bytes.HasPrefix(zstdMagic, head):
		l.compression = None
	}
	if l.compression == Zstd {
		head = firstPlain(f, size)
	}
	switch {
	// A crash may leave zeros in a file of any format.
	case l.format == JSONL && len(head) > 0 && head[0] != '{' && head[0] != 0:
		l.format = Protobuf
	// As a protobuf record, this would have 123 bytes and start with another field than the event's id.
	case bytes.HasPrefix(head, []byte(`{"`)):
		l.format = JSONL
	}
	return l, nil
}

// lastReached returns what the sink had reached with the last record, or frame of records.
func (l layout) lastReached(f io.ReaderAt, at, size int64) (reached, error) {
	if size == 0 {
		return reached{}, nil
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, at); n < len(b) {
		return reached{}, err
	}
	if l.compression == Zstd {
		decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return reached{}, err
		}
		defer decoder.Close()
		if b, err = decoder.DecodeAll(b, nil); err != nil {
			return reached{}, err
		}
	}
	return l.reachedBy(b), nil
}

// firstPlain returns the first decompressed bytes of a compressed file, or nil if it cannot read them.
func firstPlain(f io.ReaderAt, size int64) []byte {
	decoder, err := zstd.NewReader(io.NewSectionReader(f, 0, size), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil
	}
	defer decoder.Close()
	head := make([]byte, 2)
	if _, err := io.ReadFull(decoder, head); err != nil {
		return nil
	}
	return head
}

// records returns a function that returns the size of the next whole record, or frame of records. After the last one the
// function returns io.EOF; io.ErrUnexpectedEOF if there is an incomplete record with nothing whole after it; or errDamaged.
func (l layout) records(f io.ReaderAt, size int64) (next func() (int64, error), done func(), err error) {
	if l.compression == Zstd {
		decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		frames := &frames{f: f, size: size, decoder: decoder}
		return frames.next, decoder.Close, nil
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 256<<10)
	if l.format == JSONL {
		return func() (int64, error) { return nextLine(r) }, func() {}, nil
	}
	var record []byte
	return func() (n int64, err error) {
		n, record, err = nextDelimited(r, record)
		return n, err
	}, func() {}, nil
}

// nextLine checks a line. Pages that a crash kept from the disk read as zeros, which JSON does not contain.
func nextLine(r *bufio.Reader) (size int64, err error) {
	var first, last byte
	zeros := false
	for {
		part, err := r.ReadSlice('\n')
		if size == 0 && len(part) > 0 {
			first = part[0]
		}
		size += int64(len(part))
		zeros = zeros || bytes.IndexByte(part, 0) >= 0
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			last = part[len(part)-1]
			continue
		case errors.Is(err, io.EOF) && size > 0:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		}
		if len(part) > 1 {
			last = part[len(part)-2]
		}
		if zeros || first != '{' || last != '}' {
			return 0, errDamaged
		}
		return size, nil
	}
}

// nextDelimited checks a record of length and message. It reads into the buffer and returns it.
func nextDelimited(r *bufio.Reader, buffer []byte) (int64, []byte, error) {
	prefix, err := r.Peek(binary.MaxVarintLen64)
	if err != nil && !errors.Is(err, io.EOF) || len(prefix) == 0 {
		return 0, buffer, err
	}
	length, n := binary.Uvarint(prefix)
	switch {
	case n == 0 && len(prefix) < binary.MaxVarintLen64:
		return 0, buffer, io.ErrUnexpectedEOF
	case n <= 0 || length == 0 || length > largestRecord:
		return 0, buffer, errDamaged
	}
	if _, err := r.Discard(n); err != nil {
		return 0, buffer, err
	}
	if uint64(cap(buffer)) < length {
		buffer = make([]byte, length)
	}
	read, err := io.ReadFull(r, buffer[:length])
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !cut {
		return 0, buffer, err
	}
	if !cut && checkRecord(buffer[:read]) != nil {
		return 0, buffer, errDamaged
	}
	// A wrong length may also reach past the end of the file, and over whole records. The fields then do not add up.
	if cut && errors.Is(checkFields(buffer[:read]), errFields) {
		return 0, buffer, errDamaged
	}
	if cut {
		return 0, buffer, io.ErrUnexpectedEOF
	}
	return int64(n) + int64(length), buffer, nil
}

// frames iterates over zstd frames.
type frames struct {
	f       io.ReaderAt
	at      int64
	size    int64
	decoder *zstd.Decoder
}

func (z *frames) next() (int64, error) {
	if z.at == z.size {
		return 0, io.EOF
	}
	end, err := z.end()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, z.incompleteOrDamaged()
	}
	if err != nil {
		return 0, err
	}
	// The frame has its full length. Its checksum tells whether its bytes are as they were written.
	if err := z.decoder.Reset(io.NewSectionReader(z.f, z.at, end-z.at)); err != nil {
		return 0, errDamaged
	}
	if _, err := io.Copy(io.Discard, z.decoder); err != nil {
		return 0, errDamaged
	}
	n := end - z.at
	z.at = end
	return n, nil
}

// end returns the end of the frame: RFC 8878, 3.1.1.
func (z *frames) end() (int64, error) {
	head := make([]byte, min(zstd.HeaderMaxSize, z.size-z.at))
	if err := z.read(head, z.at); err != nil {
		return 0, err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		return 0, errDamaged
	}
	if h.Skippable {
		return 0, errDamaged
	}
	at := z.at + int64(h.HeaderSize)
	for last := false; !last; {
		var block [4]byte
		if err := z.read(block[:3], at); err != nil {
			return 0, err
		}
		bits := binary.LittleEndian.Uint32(block[:])
		last = bits&1 == 1
		length := int64(bits >> 3)
		if kind := bits >> 1 & 3; kind == 1 { // One byte, repeated.
			length = 1
		}
		at += 3 + length
	}
	if h.HasCheckSum {
		at += 4
	}
	if at > z.size {
		return 0, io.ErrUnexpectedEOF
	}
	return at, nil
}

// incompleteOrDamaged returns io.ErrUnexpectedEOF for an incomplete last frame, and errDamaged for a frame with a wrong length
// that has other frames after it.
func (z *frames) incompleteOrDamaged() error {
	if z.size-z.at > 2*chunk {
		return errDamaged // It may be incomplete only. Keeping it costs nothing but space.
	}
	rest := make([]byte, z.size-z.at)
	if err := z.read(rest, z.at); err != nil {
		return err
	}
	if bytes.LastIndex(rest, zstdMagic) > 0 {
		return errDamaged
	}
	return io.ErrUnexpectedEOF
}

// read fills b. If the file ends before, the error is io.ErrUnexpectedEOF.
func (z *frames) read(b []byte, at int64) error {
	if at+int64(len(b)) > z.size {
		return io.ErrUnexpectedEOF
	}
	_, err := z.f.ReadAt(b, at)
	if errors.Is(err, io.EOF) {
		err = nil // Exactly at the end.
	}
	return err
}

// moveDamaged copies the bytes of f from an offset on to a separate file. The caller truncates f next.
func (s *Sink) moveDamaged(f io.ReaderAt, from, size int64) error {
	name, err := s.rotatedName()
	if err != nil {
		return err
	}
	name += ".damaged"
	kept, err := s.disk.open(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(kept, 0), io.NewSectionReader(f, from, size-from))
	if err == nil {
		err = kept.Sync()
	}
	err = errors.Join(err, kept.Close())
	if err == nil {
		err = s.disk.syncDir(filepath.Dir(name))
	}
	if err != nil {
		return errors.Join(err, s.disk.remove(name))
	}
	return nil
}
