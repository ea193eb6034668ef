package file

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/webhook-bridge/bridge/sinks"
)

// written returns the bytes that a sink writes in a few Delivers, and the ends of whole records, or frames, with the event of
// each.
func written(t *testing.T, c Config) (content []byte, ends map[int]int) {
	t.Helper()
	c = c.in(t.TempDir())
	s := mustOpen(t, c)
	ends = map[int]int{0: 0}
	step := 1
	if c.Compression == Zstd {
		step = 3
	}
	for n := 0; n < 12; n += step {
		mustDeliver(t, s, numbers(t, n, n+step))
		ends[int(s.durable)] = n + step
	}
	content, err := os.ReadFile(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	return content, ends
}

// damaged returns the bytes in the ".damaged" files.
func damaged(t *testing.T, c Config) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(c.Path), "*.damaged"))
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// If a crash cuts the file at any byte, Open truncates it to the last whole record and continues there.
func TestTornAnywhere(t *testing.T) {
	for _, c := range variants {
		t.Run(c.String(), func(t *testing.T) {
			content, ends := written(t, c)
			c := c.in(t.TempDir())
			whole := 0
			for at := range len(content) + 1 {
				if n, ok := ends[at]; ok {
					whole = n
				}
				if err := os.WriteFile(c.Path, content[:at], 0o600); err != nil {
					t.Fatal(err)
				}
				s, err := open(t.Context(), c, origin, unsynced{})
				if err != nil {
					t.Fatal(err)
				}
				mustDeliver(t, s, numbers(t, 100, 101))
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(append(sequence(0, whole), 100), mustRead(t, c)); diff != "" {
					t.Fatalf("torn after %d of %d bytes: %s", at, len(content), diff)
				}
			}
			if kept := damaged(t, c); len(kept) > 0 {
				t.Errorf("a torn record was taken for damage: %q", kept)
			}
		})
	}
}

// unsynced is a disk without syncs, for tests without crashes.
type unsynced struct{ local }

func (unsynced) open(name string, flag int) (handle, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	return unsyncedFile{f}, err
}

func (unsynced) syncDir(string) error { return nil }

type unsyncedFile struct{ *os.File }

func (unsyncedFile) Sync() error { return nil }

// Damaged bytes are moved to a separate file, with all bytes after them.
func TestDamageIsKept(t *testing.T) {
	for _, c := range variants {
		t.Run(c.String(), func(t *testing.T) {
			content, ends := written(t, c)
			from := 0
			for end, n := range ends {
				if n == 6 {
					from = end
				}
			}
			for name, harm := range harms {
				c := c.in(t.TempDir())
				b := bytes.Clone(content)
				harm(c, b[from:])
				if err := os.WriteFile(c.Path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				mustDeliver(t, mustOpen(t, c), numbers(t, 100, 101))
				if diff := cmp.Diff(append(sequence(0, 6), 100), mustRead(t, c)); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
				if kept := damaged(t, c); !bytes.Equal(kept, b[from:]) {
					t.Errorf("%s: %d bytes were kept, want %d", name, len(kept), len(b)-from)
				}
			}
		})
	}
}

// harms returns damaged forms of the first record, or frame, of b.
var harms = map[string]func(c Config, b []byte){
	"zeros":  func(_ Config, b []byte) { clear(b[:len(b)/2]) },
	"inside": func(_ Config, b []byte) { clear(b[12:20]) },
	"noise": func(_ Config, b []byte) {
		for i := range b[:32] {
			b[i] = byte(255 - 7*i)
		}
	},
	// Its end is past the end of the file.
	"reaches over others": func(c Config, b []byte) {
		var h zstd.Header
		switch {
		case c.Compression == None && c.Format == JSONL:
			b[bytes.IndexByte(b, '\n')] = 0
		case c.Compression == None:
			b[0], b[1] = 0xff, 0x7f
		case h.Decode(b) == nil:
			b[h.HeaderSize+2] |= 1
		}
	},
}

// A process that ended between two steps leaves names and records without a sync. The next process syncs them.

func TestUnfinishedFileGetsItsName(t *testing.T) {
	c := Config{}.in(t.TempDir())
	d := newFragile()
	d.set(func(op string) error {
		if op == "syncDir" || op == "remove" {
			return errDisk
		}
		return nil
	}, -1)
	if _, err := open(t.Context(), c, origin, d); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	d.set(nil, -1)
	s, err := open(t.Context(), c, origin, d)
	if err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 0, 3))
	if err := errors.Join(s.Close(), d.crash(lost)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sequence(0, 3), mustRead(t, c)); diff != "" {
		t.Error(diff)
	}
}

func TestUnfinishedRecordsAreSynced(t *testing.T) {
	c := Config{}.in(t.TempDir())
	d := newFragile()
	s, err := open(t.Context(), c, origin, d)
	if err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 0, 3))
	third := numbered(t, 3)
	at, _ := s.placeOf(&third, s.reached)
	line, err := s.encode(nil, &third, at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.file.WriteAt(line, s.end); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.RotateSize = 1
	if s, err = open(t.Context(), c, origin, d); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 4, 6))
	if err := errors.Join(s.Close(), d.crash(torn)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sequence(0, 6), mustRead(t, c)); diff != "" {
		t.Error(diff)
	}
}

// After a change of the settings for a path, the old file stays whole under another name.
func TestAnotherFormatIsSetAside(t *testing.T) {
	for _, before := range variants {
		for _, now := range variants {
			if before == now {
				continue
			}
			dir := t.TempDir()
			before, now := before.in(dir), now.in(dir)
			s := mustOpen(t, before)
			mustDeliver(t, s, numbers(t, 0, 5))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			mustDeliver(t, mustOpen(t, now), numbers(t, 5, 9))
			names, err := files(now)
			if err != nil || len(names) != 2 {
				t.Fatalf("%s, then %s: %q, %v", before, now, names, err)
			}
			for i, c := range []Config{before, now} {
				b, err := os.ReadFile(names[i])
				if err != nil {
					t.Fatal(err)
				}
				if events, err := decode(c, b); err != nil || len(events) != 5-i {
					t.Errorf("%s, then %s: %s holds %d events, %v", before, now, names[i], len(events), err)
				}
			}
		}
	}
}

// planned is the number of events that a plan delivers before the crash. The sink is moved over those from leftOut up to resumed.
const planned, leftOut, resumed = 48, 20, 25

// plan is a few Delivers and a MoveTo, to a disk on which the nth operation fails. Like a dispatcher, it asks the sink after a
// failure how far it is, and goes on from there.
type plan struct {
	config  Config
	fails   int // Counted from 1.
	lasting int // Number of operations after it that fail too.
	after   int // The state that the crash at the end leaves.
	counted int
	sink    *Sink // Nil: to be opened.
	next    int   // The next event. Negative: ask the sink.
}

var errDisk = errors.New("disk is broken")

// step does the next thing that there is to do, up to the event end.
func (p *plan) step(t *testing.T, d disk, end int) (err error) {
	if p.sink == nil {
		p.next = -1
		if p.sink, err = open(t.Context(), p.config, origin, d); err != nil {
			return err
		}
	}
	switch {
	case p.next < 0:
		r, known, err := p.sink.Resume(t.Context())
		if err != nil {
			return err
		}
		if p.next = 0; known {
			p.next = int(r.Mark.Position) - 1
		}
	case p.next == leftOut:
		p.next = -1
		if err := p.sink.MoveTo(t.Context(), resumed+1); err != nil {
			return err
		}
		p.next = resumed
	default:
		until := min(p.next+4, end)
		if p.next < leftOut {
			until = min(until, leftOut)
		}
		n, err := p.sink.Deliver(t.Context(), numbers(t, p.next, until))
		p.next += n
		if err != nil {
			p.next = -1
		}
		return err
	}
	return nil
}

func (p *plan) run(t *testing.T) error {
	t.Helper()
	d := newFragile()
	d.fail = func(string) error {
		p.counted++
		if p.fails > 0 && p.counted >= p.fails && p.counted <= p.fails+p.lasting {
			return errDisk
		}
		return nil
	}
	for tries := 0; p.next < planned && tries < 2*planned; tries++ {
		if err := p.step(t, d, planned); err != nil && !errors.Is(err, errDisk) {
			return err
		}
	}
	if p.next != planned {
		return fmt.Errorf("only the events up to %d were delivered", p.next)
	}
	// The crash happens after the last events are written and before Deliver returns.
	between := "sync"
	if p.after == killed {
		between = "write"
	}
	d.fail = func(op string) error {
		if op == between || op == "truncate" {
			return errDisk
		}
		return nil
	}
	if n, err := p.sink.Deliver(t.Context(), numbers(t, planned, planned+4)); n != 0 || err == nil {
		return fmt.Errorf("delivered %d in spite of the %s: %w", n, between, err)
	}
	if err := errors.Join(p.sink.lock.Close(), d.crash(p.after)); err != nil {
		return err
	}
	p.sink = nil
	for p.next < planned+4 {
		if err := p.step(t, unsynced{}, planned+4); err != nil {
			return err
		}
	}
	defer p.sink.Close()
	got, want := mustRead(t, p.config), append(sequence(0, leftOut), sequence(resumed, planned+4)...)
	if !slices.Equal(got, want) {
		return fmt.Errorf("events are %v", got)
	}
	return nil
}

// For every failing operation, length of the failure and crash: all events are in the files, once and in order, and there are
// only whole records.
func TestEveryOperationFails(t *testing.T) {
	for _, c := range variants {
		t.Run(c.String(), func(t *testing.T) {
			c.RotateSize = 800
			good := &plan{config: c.in(t.TempDir())}
			if err := good.run(t); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d operations", good.counted)
			if good.counted < 40 {
				t.Fatalf("only %d operations", good.counted)
			}
			for fails := 1; fails <= good.counted; fails++ {
				for _, lasting := range []int{0, 1, 4} {
					p := &plan{config: c.in(t.TempDir()), fails: fails, lasting: lasting, after: (fails + lasting) % crashes}
					if err := p.run(t); err != nil {
						t.Errorf("operation %d and the %d after it fail, crash %d: %v", fails, lasting, p.after, err)
					}
				}
			}
		})
	}
}

// Bytes of a failed sync do not become durable because a later sync succeeds.
func TestFailedSyncIsNotBelieved(t *testing.T) {
	c := Config{}.in(t.TempDir())
	d := newFragile()
	s, err := open(t.Context(), c, origin, d)
	if err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 0, 3))
	once := true
	d.set(func(op string) error {
		if op == "sync" && once {
			once = false
			return syscall.EIO
		}
		return nil
	}, -1)
	if n, err := s.Deliver(t.Context(), numbers(t, 3, 6)); n != 0 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("delivered %d: %v", n, err)
	}
	if diff := cmp.Diff(sequence(0, 3), mustRead(t, c)); diff != "" {
		t.Errorf("after the failure: %s", diff)
	}
	mustDeliver(t, s, numbers(t, 3, 6))
	names, err := files(c)
	if err != nil || len(names) != 2 {
		t.Errorf("files are %q, %v, want the one that failed and a new one", names, err)
	}
	if err := errors.Join(s.Close(), d.crash(lost)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sequence(0, 6), mustRead(t, c)); diff != "" {
		t.Error(diff)
	}
}

// A full disk accepts a part of a write. The sink truncates it, and continues when there is space again.
func TestFullDisk(t *testing.T) {
	c := Config{}.in(t.TempDir())
	d := newFragile()
	s, err := open(t.Context(), c, origin, d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d.set(nil, 5)
	mustDeliver(t, s, numbers(t, 0, 3))
	for range 3 {
		if n, err := s.Deliver(t.Context(), numbers(t, 3, 9)); n != 0 || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, sinks.ErrPermanent) {
			t.Errorf("delivered %d: %v", n, err)
		}
		if diff := cmp.Diff(sequence(0, 3), mustRead(t, c)); diff != "" {
			t.Error(diff)
		}
	}
	d.set(nil, -1)
	mustDeliver(t, s, numbers(t, 3, 9))
	if diff := cmp.Diff(sequence(0, 9), mustRead(t, c)); diff != "" {
		t.Error(diff)
	}
}

// In a read-only folder no file can rotate. The sink continues when the folder is writable again.
func TestReadOnlyFolder(t *testing.T) {
	bindToPermissions(t)
	c := Config{RotateSize: 1}.in(t.TempDir())
	s := mustOpen(t, c)
	mustDeliver(t, s, numbers(t, 0, 3))
	dir := filepath.Dir(c.Path)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	for range 3 {
		if n, err := s.Deliver(t.Context(), numbers(t, 3, 6)); n != 0 || !errors.Is(err, os.ErrPermission) {
			t.Errorf("delivered %d: %v", n, err)
		}
	}
	if _, err := Open(t.Context(), Config{Path: filepath.Join(dir, "other")}, origin); !errors.Is(err, os.ErrPermission) {
		t.Errorf("open: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mustDeliver(t, s, numbers(t, 3, 6))
	if diff := cmp.Diff(sequence(0, 6), mustRead(t, c)); diff != "" {
		t.Error(diff)
	}
	if names, err := files(c); err != nil || !slices.Contains(names, c.Path) || len(names) != 2 {
		t.Errorf("files are %q, %v", names, err)
	}
}
