// Package file appends events to a file on a local disk, which is rotated by size and age: an archive, or the hand-over to
// whatever reads files.
//
// # Delivery
//
// At least once. Deliver returns when the events are synced to the disk, and so is the folder after a file was made or
// renamed. After a failed write the file is cut back to the last event that is durable. After a failed sync nothing that the
// system says about the file's tail is believed: the file is cut back in the same way and set aside as if rotated, and the
// events are written anew, to a new file. Open cuts a record that a crash has torn off the file's end; see [Open].
//
// The file is synced once a Deliver, so larger batches are cheaper. Between events Deliver looks at its context; a write or
// a sync that the system is busy with cannot be ended, and is waited for. When a Deliver ends early, what it has written by then
// is synced and counted.
//
// # Ordering
//
// That of the log: within a file, and across files in the order of their names, the active file last. After a failure a
// suffix may be there twice.
//
// # Errors
//
// An event that is empty, larger than [sinks.LargestEvent], or no protobuf message is refused for good; in [JSONL] also one
// that JSON cannot hold, such as a time after the year 9999. All that the disk may answer (no space, a
// read-only file system, a folder that is gone) may pass, and is to be tried again.
//
// # Configuration
//
// [Config]; docs/sinks/file.md describes formats and names for readers of the files.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/webhook-bridge/bridge/sinks"
)

// Format is how an event is written.
type Format string

const (
	// JSONL is JSON Lines: an event a line, in protobuf's JSON without spaces. It is the default.
	JSONL Format = "jsonl"
	// Protobuf is an event's length as a varint and then the encoded event, as protodelim and Java's parseDelimitedFrom
	// read it.
	Protobuf Format = "protobuf"
)

// Compression is how a file is compressed.
type Compression string

const (
	// None is the default.
	None Compression = ""
	// Zstd is a sequence of zstd frames with checksums, each of whole events.
	Zstd Compression = "zstd"
)

const (
	// DefaultRotateSize is Config.RotateSize unless it is set.
	DefaultRotateSize = 256 << 20
	// DefaultRotateAge is Config.RotateAge unless it is set.
	DefaultRotateAge = 24 * time.Hour
)

// chunk is how much is written, or compressed to a frame, at once; it bounds memory, but for a single larger event.
const chunk = 1 << 20

// Config of a sink. All but Path has a good zero value.
type Config struct {
	// Path of the active file. Its folder must exist: a disk that is not mounted is better noticed than written around.
	Path string
	// Format of events. Empty is JSONL.
	Format Format
	// Compression of the file.
	Compression Compression
	// RotateSize is the size on disk, in bytes, from which on a file is rotated before the next Deliver writes. 0 is
	// DefaultRotateSize.
	RotateSize int64
	// RotateAge is the age from which on a file is rotated before the next Deliver writes, counted from the file's
	// beginning, also across restarts. 0 is DefaultRotateAge.
	RotateAge time.Duration
}

// withDefaults returns c as it is meant, or all that is wrong with it.
func (c Config) withDefaults() (Config, error) {
	var wrong []error
	if c.Path == "" {
		wrong = append(wrong, errors.New("path is empty"))
	}
	if c.Format == "" {
		c.Format = JSONL
	}
	if c.Format != JSONL && c.Format != Protobuf {
		wrong = append(wrong, fmt.Errorf("format %q is neither %q nor %q", c.Format, JSONL, Protobuf))
	}
	if c.Compression != None && c.Compression != Zstd {
		wrong = append(wrong, fmt.Errorf("compression %q is not %q", c.Compression, Zstd))
	}
	if c.RotateSize < 0 {
		wrong = append(wrong, fmt.Errorf("rotation size %d is negative", c.RotateSize))
	}
	if c.RotateAge < 0 {
		wrong = append(wrong, fmt.Errorf("rotation age %s is negative", c.RotateAge))
	}
	if c.RotateSize == 0 {
		c.RotateSize = DefaultRotateSize
	}
	if c.RotateAge == 0 {
		c.RotateAge = DefaultRotateAge
	}
	return c, errors.Join(wrong...)
}

// Sink implements [sinks.Sink].
type Sink struct {
	config  Config
	disk    disk
	lock    *os.File
	encoder *zstd.Encoder // Nil without compression.
	closed  atomic.Bool

	mu     sync.Mutex // Held by Deliver, and by Close once no Deliver is under way.
	active            // See there.

	plain, packed []byte // What is to be written next, and its compressed form.
}

var _ sinks.Sink = (*Sink)(nil)

// Open opens the active file, or makes it, with permissions 0600, and takes the lock that keeps other processes from writing
// it: the file Path with ".lock" added. The lock file stays; its modification time is when the active file was begun.
//
// What a crash has torn off the end of an existing file is cut, back to the last whole record. Anything else that is not a
// whole record is damage: it is moved, with all that follows, to a file of its own, whose name ends in ".damaged". A file of
// another format is set aside as if rotated. To see all this the whole active file is read; ctx ends that.
//
// All problems of the configuration are reported at once.
func Open(ctx context.Context, c Config) (*Sink, error) { return open(ctx, c, local{}) }

func open(ctx context.Context, c Config, d disk) (*Sink, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
	// What the path means must not change with the working folder.
	if c.Path, err = filepath.Abs(c.Path); err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
	s := &Sink{config: c, disk: d}
	if c.Compression == Zstd {
		if s.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(chunk)); err != nil {
			return nil, fmt.Errorf("file: open: %w", err)
		}
	}
	if s.lock, err = lockFile(c.Path + ".lock"); err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
	info, err := s.lock.Stat()
	if err == nil {
		s.began = info.ModTime()
		err = s.reopen(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("file: open: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// Deliver implements [sinks.Sink].
func (s *Sink) Deliver(ctx context.Context, events []sinks.Record) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.interrupted(ctx); err != nil {
		return 0, err
	}
	if len(events) == 0 {
		return 0, nil
	}
	if err := s.ready(ctx); err != nil {
		return 0, fmt.Errorf("file: deliver: %w", err)
	}
	n, stopped, err := s.write(ctx, events)
	if err != nil {
		s.fail(false)
		return 0, fmt.Errorf("file: deliver: %w", err)
	}
	if n == 0 {
		return 0, stopped
	}
	if err := s.file.Sync(); err != nil {
		s.fail(true)
		return 0, fmt.Errorf("file: deliver: %w", err)
	}
	s.durable = s.end
	return n, stopped
}

// Close implements [sinks.Sink]. It waits for a write or sync that is under way.
func (s *Sink) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	if err = errors.Join(err, s.lock.Close()); err != nil {
		return fmt.Errorf("file: close: %w", err)
	}
	return nil
}

func (s *Sink) interrupted(ctx context.Context) error {
	if s.closed.Load() {
		return sinks.ErrClosed
	}
	return ctx.Err()
}

// write writes events, in chunks, up to the first that it must not, and returns how many it has written and why no more.
// After a failure to write, err, some of them are there, perhaps one in part.
func (s *Sink) write(ctx context.Context, events []sinks.Record) (n int, stopped, err error) {
	s.plain = s.plain[:0]
	for n < len(events) && err == nil {
		if stopped = s.interrupted(ctx); stopped != nil {
			break
		}
		if s.plain, stopped = s.encode(s.plain, events[n]); stopped != nil {
			break
		}
		n++
		if len(s.plain) >= chunk {
			err = s.flush()
		}
	}
	if err == nil {
		err = s.flush()
	}
	return n, stopped, err
}

// flush writes what is encoded, and keeps the buffers unless a large event has made them large.
func (s *Sink) flush() error {
	if len(s.plain) == 0 {
		return nil
	}
	b := s.plain
	if s.encoder != nil {
		s.packed = s.encoder.EncodeAll(s.plain, s.packed[:0])
		b = s.packed
	}
	n, err := s.file.WriteAt(b, s.end)
	s.end += int64(n)
	s.plain = s.plain[:0]
	if cap(s.plain) > 4*chunk {
		s.plain, s.packed = nil, nil
	}
	return err
}

// begin makes a new active file.
func (s *Sink) begin() error {
	f, err := s.disk.open(s.config.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = s.disk.syncDir(filepath.Dir(s.config.Path))
	}
	if err != nil {
		// Its name may not last, so the next attempt starts over.
		return errors.Join(err, f.Close(), s.disk.remove(s.config.Path))
	}
	s.active = active{file: f, info: info, began: time.Now()}
	// At worst its age counts from another time after a restart.
	_ = os.Chtimes(s.lock.Name(), s.began, s.began)
	return nil
}

// exists reports whether the error of opening a file says that there is one.
func exists(err error) bool { return !errors.Is(err, fs.ErrNotExist) }
