// Package file appends events to a file on a local disk and rotates it by size and age. Use it as an archive, or to hand events
// to programs that read files.
//
// # Delivery
//
// Exactly once: the sink is a [sinks.Resumer]. Every record has the event's position in the log, so the last whole record tells how
// far the file is. Where no record does, a small file beside it, the note, tells it: the sink was moved, or the file is new. The
// note holds for one state of the file. A file without positions, from an older version, tells nothing until the first Deliver.
//
// Deliver returns after the events are synced to the disk. After a file was created or renamed, its folder is synced too. After a
// failed write the file is truncated to the last durable event. After a failed sync the sink does not trust the tail of the
// file: it truncates the file in the same way, rotates it, and writes the events again, to a new file. Open truncates an incomplete
// record at the end of the file; see [Open].
//
// Each Deliver syncs the file once, so larger batches are cheaper. Deliver checks its context between events. It cannot
// interrupt a write or a sync, and waits for them. When a Deliver ends early, it syncs and counts the events that it has
// written.
//
// # Ordering
//
// The order of the log, within a file and across files in the order of their names, the active file last. Only events that an
// operator asked for again are repeated.
//
// # Errors
//
// An event is refused permanently if it is empty, larger than [sinks.LargestEvent], or not a protobuf message; with [JSONL]
// also if JSON cannot represent it, such as a time after the year 9999. All errors of the disk (no space, a read-only file
// system, a missing folder) may be retried.
//
// # Configuration
//
// [Config]. docs/sinks/file.md describes formats and names for readers of the files.
package file

import (
	"context"
	"encoding/json"
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
	// JSONL is JSON Lines: one event on each line, in protobuf's JSON without spaces. It is the default.
	JSONL Format = "jsonl"
	// Protobuf is the event's length as a varint, followed by the encoded event. protodelim and Java's parseDelimitedFrom read
	// it.
	Protobuf Format = "protobuf"
)

// Compression is how a file is compressed.
type Compression string

const (
	// None is the default.
	None Compression = ""
	// Zstd is a sequence of zstd frames with checksums. Each frame has whole events.
	Zstd Compression = "zstd"
)

const (
	// DefaultRotateSize is the default of Config.RotateSize.
	DefaultRotateSize = 256 << 20
	// DefaultRotateAge is the default of Config.RotateAge.
	DefaultRotateAge = 24 * time.Hour
)

// chunk is the number of bytes that are written, or compressed to a frame, at once. It limits memory, except for a single
// larger event.
const chunk = 1 << 20

// Config configures a sink. The zero value of every field but Path is useful.
type Config struct {
	// Path is the active file. Its folder must exist: if a disk is not mounted, an error is better than a file in another place.
	Path string
	// Format is the format of events. Empty means JSONL.
	Format Format
	// Compression is the compression of the file.
	Compression Compression
	// RotateSize is the size on disk, in bytes, at which a file is rotated before the next write. 0 means DefaultRotateSize.
	RotateSize int64
	// RotateAge is the age at which a file is rotated before the next write. It starts when the file is created and continues
	// across restarts. 0 means DefaultRotateAge.
	RotateAge time.Duration
}

// withDefaults returns c with its defaults, or all its problems.
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

// Sink implements [sinks.Resumer].
type Sink struct {
	config  Config
	from    sinks.Origin
	log     string // The id of from's log.
	disk    disk
	lock    *os.File
	encoder *zstd.Encoder // Nil without compression.
	closed  atomic.Bool

	mu     sync.Mutex // Held by Deliver, and by Close after the last Deliver.
	active            // See type active.

	// reached is what the sink has reached. The disk tells the same, by the last record of the active file or by the note.
	reached reached
	located bool // reached was read from the disk.
	doubt   bool // The disk may tell something else.

	plain, packed      []byte // The bytes of the next write, and their compressed form.
	quotedLog, scratch []byte // The log's id in JSON. The fields of a position.
}

var _ sinks.Resumer = (*Sink)(nil)

// Open opens or creates the active file, with permissions 0600. It takes a lock that keeps other processes from writing the
// file: the file Path with ".lock" added. The lock file stays. Its modification time is the creation time of the active file.
//
// Open truncates an incomplete record that a crash left at the end of an existing file. Any other bytes that are not a whole
// record are damage: Open moves them, with all bytes after them, to a separate file whose name ends in ".damaged". It rotates a
// file of another format. To do this it reads the whole active file; ctx ends that.
//
// The origin is of the events that the sink will get. Open reports all problems of the configuration at once.
func Open(ctx context.Context, c Config, from sinks.Origin) (*Sink, error) {
	return open(ctx, c, from, local{})
}

func open(ctx context.Context, c Config, from sinks.Origin, d disk) (*Sink, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
	// A later change of the working folder must not change the path.
	if c.Path, err = filepath.Abs(c.Path); err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
	s := &Sink{config: c, disk: d, from: from, log: from.Log.ID()}
	if s.quotedLog, err = json.Marshal(s.log); err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
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
		s.created = info.ModTime()
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
	if err := s.prepare(ctx); err != nil {
		return 0, fmt.Errorf("file: deliver: %w", err)
	}
	n, after, stopped, err := s.write(ctx, events)
	if err != nil {
		s.giveUpFile(false)
		return 0, fmt.Errorf("file: deliver: %w", err)
	}
	if n == 0 {
		return 0, stopped
	}
	if err := s.file.Sync(); err != nil {
		s.giveUpFile(true)
		return 0, fmt.Errorf("file: deliver: %w", err)
	}
	s.durable, s.reached = s.end, after
	return n, stopped
}

// Resume implements [sinks.Resumer]. The lock of the file is the fence: while an earlier opening is alive, there is no other.
func (s *Sink) Resume(ctx context.Context) (sinks.Reached, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.interrupted(ctx); err != nil {
		return sinks.Reached{}, false, err
	}
	if err := s.askDisk(ctx); err != nil {
		return sinks.Reached{}, false, fmt.Errorf("file: resume: %w", err)
	}
	return s.reached.Reached, s.reached.known, nil
}

// askDisk makes the disk tell what the sink has reached. It syncs the file: a disk that does not answer is an error.
func (s *Sink) askDisk(ctx context.Context) error {
	if err := s.openActive(ctx); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		s.giveUpFile(true)
		return err
	}
	return s.settleNote(s.file)
}

// MoveTo implements [sinks.Resumer].
func (s *Sink) MoveTo(ctx context.Context, p sinks.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.interrupted(ctx); err != nil {
		return err
	}
	if err := s.openActive(ctx); err != nil {
		return fmt.Errorf("file: move: %w", err)
	}
	before := s.reached
	if s.reached = (reached{s.from.Reached(p), true}); s.reached == before && !s.doubt {
		return nil
	}
	if err := s.tell(s.file, false); err != nil {
		s.reached = before
		return fmt.Errorf("file: move: %w", err)
	}
	return nil
}

// Close implements [sinks.Sink]. It waits for a write or sync in progress.
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

// write writes events in chunks, up to the first that it must not write. It returns how many it has written, what the sink
// reaches with them, and why it stopped. If a write failed, err is set: some events may be in the file, and one of them in part.
func (s *Sink) write(ctx context.Context, events []sinks.Record) (n int, now reached, stopped, err error) {
	s.plain, now = s.plain[:0], s.reached
	for n < len(events) && err == nil {
		if stopped = s.interrupted(ctx); stopped != nil {
			break
		}
		at, after := s.placeOf(&events[n], now)
		if s.plain, stopped = s.encode(s.plain, &events[n], at); stopped != nil {
			break
		}
		n, now = n+1, after
		if len(s.plain) >= chunk {
			err = s.flush()
		}
	}
	if err == nil {
		err = s.flush()
	}
	return n, now, stopped, err
}

// flush writes the encoded events. It keeps the buffers unless a large event has made them large.
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

// createActive creates a new active file.
func (s *Sink) createActive() error {
	f, err := s.disk.open(s.config.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = s.disk.syncDir(filepath.Dir(s.config.Path))
	}
	if err == nil {
		err = s.tell(f, false)
	}
	if err != nil {
		// The file's name may not be durable, so the next attempt starts again.
		return errors.Join(err, f.Close(), s.disk.remove(s.config.Path))
	}
	s.active = active{file: f, info: info, created: time.Now()}
	// If this fails, the file's age is wrong after a restart.
	_ = os.Chtimes(s.lock.Name(), s.created, s.created)
	return nil
}

// exists reports whether an error of opening a file means that the file exists.
func exists(err error) bool { return !errors.Is(err, fs.ErrNotExist) }
