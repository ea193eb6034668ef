package file

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
)

// fragile is a disk that fails on demand. In a crash it keeps only synced bytes, as disks do. Bytes of a failed sync are never
// written, also if a later sync succeeds.
type fragile struct {
	mu sync.Mutex
	// fail is called before each operation. If it returns an error, the operation fails; a write is then half done, unless the
	// file system is read-only.
	fail func(op string) error
	// room is the number of newlines that can still be written. The write that exceeds it is short. Negative means no limit.
	room int

	files []*platter
	undo  []func() error // Undoes renames that no sync of the folder has covered.
}

// platter has the bytes of a file that are on the disk itself.
type platter struct {
	name  string // Empty: removed.
	info  os.FileInfo
	bytes []byte
	dirty [][2]int64 // Written but not synced: from, to.
}

func newFragile() *fragile { return &fragile{room: -1} }

// set sets the failures from now on; nil means none.
func (d *fragile) set(fail func(op string) error, room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.room = fail, room
}

// away makes every operation fail, as a read-only file system does.
func away(string) error { return syscall.EROFS }

func (d *fragile) ask(op string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(op)
}

func (d *fragile) open(name string, flag int) (handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask("open"); err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(d.files, func(p *platter) bool { return p.name != "" && os.SameFile(p.info, info) })
	if i < 0 {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		i = len(d.files)
		p := &platter{name: name, info: info, bytes: content}
		d.files = append(d.files, p)
		if flag&os.O_CREATE != 0 {
			d.undo = append(d.undo, func() error { return d.drop(p) })
		}
	}
	return &fragileFile{File: f, disk: d, platter: d.files[i]}, nil
}

func (d *fragile) drop(p *platter) error {
	name := p.name
	p.name = ""
	return os.Remove(name)
}

// at returns the file with this name, or nil.
func (d *fragile) at(name string) *platter {
	i := slices.IndexFunc(d.files, func(p *platter) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return d.files[i]
}

func (d *fragile) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask("rename"); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	if _, err := os.Lstat(to); err == nil {
		if err := d.unlink(to); err != nil {
			return err
		}
	}
	p := d.at(from)
	move := func(from, to string) error {
		p.name = to
		return os.Rename(from, to)
	}
	d.undo = append(d.undo, func() error { return move(to, from) })
	return move(from, to)
}

func (d *fragile) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask("remove"); err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	return d.unlink(name)
}

func (d *fragile) unlink(name string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	p := d.at(name)
	if p != nil {
		p.name, content = "", p.bytes
	}
	d.undo = append(d.undo, func() error {
		if p != nil {
			p.name = name
		}
		return os.WriteFile(name, content, 0o600)
	})
	return os.Remove(name)
}

func (d *fragile) syncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.ask("syncDir"); err != nil {
		return err
	}
	d.undo = nil
	return nil
}

// The unsynced bytes that a crash leaves.
const (
	killed = iota // All: the process has ended, not the system.
	lost          // Nothing.
	torn          // The first half.
	holes         // The second half; the first reads as zeros.
	crashes
)

// crash leaves the files in their state after a crash. Open handles must not be used any more.
func (d *fragile) crash(kind int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind != killed {
		for _, undo := range slices.Backward(d.undo) {
			if err := undo(); err != nil {
				return err
			}
		}
	}
	for _, p := range d.files {
		if p.name == "" || kind == killed {
			continue
		}
		written, err := os.ReadFile(p.name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(p.name, p.after(kind, written), 0o600); err != nil {
			return err
		}
	}
	d.files, d.undo = nil, nil
	return nil
}

func (p *platter) after(kind int, written []byte) []byte {
	left := bytes.Clone(p.bytes)
	for _, r := range p.dirty {
		if r[1] > int64(len(written)) {
			continue // Cut again since.
		}
		middle := (r[0] + r[1]) / 2
		switch kind {
		case torn:
			left = overwrite(left, written[r[0]:middle], r[0])
		case holes:
			left = overwrite(left, written[middle:r[1]], middle)
		}
	}
	return left
}

func overwrite(b, with []byte, at int64) []byte {
	if grow := int(at) + len(with) - len(b); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[at:], with)
	return b
}

// fragileFile is an open file of a fragile disk.
type fragileFile struct {
	*os.File
	disk    *fragile
	platter *platter
}

func (f *fragileFile) WriteAt(b []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	failed := f.disk.ask("write")
	switch {
	case errors.Is(failed, syscall.EROFS):
		b = nil
	case failed != nil:
		b = b[:len(b)/2]
	}
	if room := f.disk.room; room >= 0 {
		for i, c := range b {
			if c != '\n' {
				continue
			}
			if room--; room < 0 {
				b, failed = b[:i], syscall.ENOSPC
				break
			}
		}
		f.disk.room = max(room, 0)
	}
	n, err := f.File.WriteAt(b, at)
	f.platter.dirty = append(f.platter.dirty, [2]int64{at, at + int64(n)})
	return n, errors.Join(failed, err)
}

func (f *fragileFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.ask("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *fragileFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	failed := f.disk.ask("sync")
	if failed == nil {
		written, err := os.ReadFile(f.platter.name)
		if err != nil {
			return err
		}
		for _, r := range f.platter.dirty {
			if to := min(r[1], int64(len(written))); r[0] < to {
				f.platter.bytes = overwrite(f.platter.bytes, written[r[0]:to], r[0])
			}
		}
		f.platter.bytes = overwrite(f.platter.bytes, nil, int64(len(written)))[:len(written)]
	}
	f.platter.dirty = nil
	return failed
}
