package pebble

import (
	"errors"
	"io"
	"os"
	"path"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// isolatingFS is the file system as one opening of the store sees it. At the first write that fails it isolates the folder,
// as if the machine had lost power there. From then on the store writes to memory, and removes nothing from the disk. The
// store is then closed, and a new one recovers from what is on disk.
//
// Pebble cannot be told of such an error: a log that cannot be synced ends the process at its next rotation, and so does
// an error in its manifest. Nor may it go on writing, since a log that continues after a hole counts as corrupt.
type isolatingFS struct {
	vfs.FS
	dir string
	// report is called once, by the goroutine that met the error, which may hold locks of Pebble: it must not wait.
	report func(error)

	mu sync.RWMutex
	// cause is the error that isolated the folder. Once set it stays.
	cause error
	// overlay holds the files that were created since then.
	overlay *vfs.MemFS
}

func newIsolatingFS(fs vfs.FS, dir string, report func(error)) *isolatingFS {
	return &isolatingFS{FS: fs, dir: dir, report: report}
}

// err returns the error that isolated the folder. A sync that ended while it was nil has reached the disk.
func (f *isolatingFS) err() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.cause
}

// because returns the reason of a failure: the write that failed, if one did. What Pebble makes of the folder then, such as
// a table that was not written and cannot be read, would mislead.
func (f *isolatingFS) because(err error) error {
	if cause := f.err(); cause != nil {
		return cause
	}
	return err
}

func (f *isolatingFS) isolate(cause error) {
	f.mu.Lock()
	first := f.cause == nil
	if first {
		f.cause = cause
		f.overlay = vfs.NewMem()
		_ = f.overlay.MkdirAll(f.dir, 0o755) // cannot fail in memory
	}
	f.mu.Unlock()
	if first {
		f.report(cause)
	}
}

// write writes to the folder, unless that is isolated, and isolates it when the write fails. It reports whether the write
// took place.
func (f *isolatingFS) write(op func() error) bool {
	if f.err() != nil {
		return false
	}
	if err := op(); err != nil {
		f.isolate(err)
		return false
	}
	return true
}

// outside reports whether a file lies outside of the folder, in a checkpoint for example. Errors there go to the caller alone.
func (f *isolatingFS) outside(name string) bool {
	return path.Clean(f.PathDir(name)) != path.Clean(f.dir)
}

func (f *isolatingFS) memory() *vfs.MemFS {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.overlay
}

func (f *isolatingFS) create(name string, category vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	if f.outside(name) {
		return open()
	}
	var file vfs.File
	if f.write(func() (err error) { file, err = open(); return err }) {
		return &isolatedFile{File: file, fs: f}, nil
	}
	return f.memory().Create(name, category)
}

func (f *isolatingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(name, category, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

func (f *isolatingFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.create(name, category, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

func (f *isolatingFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(newname, category, func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, category) })
}

func (f *isolatingFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if m := f.memory(); m != nil {
		if file, err := m.Open(name, opts...); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

func (f *isolatingFS) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil || path.Clean(name) != path.Clean(f.dir) {
		return dir, err
	}
	return &isolatedFile{File: dir, fs: f}, nil
}

func (f *isolatingFS) Stat(name string) (vfs.FileInfo, error) {
	if m := f.memory(); m != nil {
		if info, err := m.Stat(name); err == nil {
			return info, nil
		}
	}
	return f.FS.Stat(name)
}

func (f *isolatingFS) Rename(oldname, newname string) error {
	if f.outside(newname) {
		return f.FS.Rename(oldname, newname)
	}
	if !f.write(func() error { return f.FS.Rename(oldname, newname) }) {
		_ = f.memory().Rename(oldname, newname) // a file of the disk stays where it is
	}
	return nil
}

// Remove does nothing in an isolated folder. A file that cannot be removed does no harm: Pebble tries again when it is opened.
func (f *isolatingFS) Remove(name string) error {
	if f.err() != nil && !f.outside(name) {
		return nil
	}
	return f.FS.Remove(name)
}

func (f *isolatingFS) RemoveAll(name string) error {
	if f.err() != nil && !f.outside(name) {
		return nil
	}
	return f.FS.RemoveAll(name)
}

func (f *isolatingFS) MkdirAll(dir string, perm os.FileMode) error {
	if f.err() != nil && path.Clean(dir) == path.Clean(f.dir) {
		return nil
	}
	return f.FS.MkdirAll(dir, perm)
}

func (f *isolatingFS) Lock(string) (io.Closer, error) {
	return nil, errors.New("journal: the folder is locked by the journal")
}

func (f *isolatingFS) Unwrap() vfs.FS { return f.FS }

// isolatedFile is an open file, or the folder itself, of an isolatingFS.
type isolatedFile struct {
	vfs.File
	fs *isolatingFS
}

func (f *isolatedFile) Write(p []byte) (int, error) {
	f.fs.write(func() error { _, err := f.File.Write(p); return err })
	return len(p), nil
}

func (f *isolatedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.write(func() error { _, err := f.File.WriteAt(p, off); return err })
	return len(p), nil
}

func (f *isolatedFile) Sync() error {
	f.fs.write(f.File.Sync)
	return nil
}

func (f *isolatedFile) SyncData() error {
	f.fs.write(f.File.SyncData)
	return nil
}

func (f *isolatedFile) SyncTo(length int64) (full bool, err error) {
	f.fs.write(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, nil
}

// Preallocate may fail: not every file system can.
func (f *isolatedFile) Preallocate(offset, length int64) error {
	if f.fs.err() != nil {
		return nil //nolint:nilerr // memory needs no preallocation
	}
	return f.File.Preallocate(offset, length)
}

// Close closes the file on disk in any case. Data that was not synced before was not promised.
func (f *isolatedFile) Close() error {
	_ = f.File.Close()
	return nil
}
