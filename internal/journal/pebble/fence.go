package pebble

import (
	"errors"
	"io"
	"os"
	"path"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fence is the file system as one opening of the store sees it. At the first write that fails it freezes the folder as it
// is, as if the machine had lost power there, and from then on pretends: what the store writes goes to memory, what it
// removes stays. The store is then closed, and a new one recovers from what is on disk.
//
// Pebble cannot be told of such an error: a log that cannot be synced ends the process at its next rotation, and so does
// an error in its manifest. Nor may it go on writing, since a log that goes on after a hole counts as corrupt.
type fence struct {
	vfs.FS
	dir string
	// trip is called once, from whichever goroutine met the error, with whichever locks Pebble held: it must not wait.
	trip func(error)

	mu sync.RWMutex
	// cause is the error that froze the folder. Once set it stays.
	cause error
	// overlay holds the files that were created since.
	overlay *vfs.MemFS
}

func newFence(fs vfs.FS, dir string, trip func(error)) *fence {
	return &fence{FS: fs, dir: dir, trip: trip}
}

// err returns what froze the folder. A sync that ended while it was nil is one that took place.
func (f *fence) err() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.cause
}

func (f *fence) freeze(cause error) {
	f.mu.Lock()
	first := f.cause == nil
	if first {
		f.cause = cause
		f.overlay = vfs.NewMem()
		_ = f.overlay.MkdirAll(f.dir, 0o755) // cannot fail in memory
	}
	f.mu.Unlock()
	if first {
		f.trip(cause)
	}
}

// write does a write of the folder, unless that is frozen, and freezes it when the write fails. The result is whether
// the write took place.
func (f *fence) write(op func() error) bool {
	if f.err() != nil {
		return false
	}
	if err := op(); err != nil {
		f.freeze(err)
		return false
	}
	return true
}

// elsewhere is whether a file lies outside of the folder, such as in a checkpoint. Errors there are its caller's.
func (f *fence) elsewhere(name string) bool {
	return path.Clean(f.PathDir(name)) != path.Clean(f.dir)
}

func (f *fence) memory() *vfs.MemFS {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.overlay
}

func (f *fence) create(name string, category vfs.DiskWriteCategory, open func() (vfs.File, error)) (vfs.File, error) {
	if f.elsewhere(name) {
		return open()
	}
	var file vfs.File
	if f.write(func() (err error) { file, err = open(); return err }) {
		return &fencedFile{File: file, fence: f}, nil
	}
	return f.memory().Create(name, category)
}

func (f *fence) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(name, category, func() (vfs.File, error) { return f.FS.Create(name, category) })
}

func (f *fence) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.create(name, category, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, category, opts...) })
}

func (f *fence) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return f.create(newname, category, func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, category) })
}

func (f *fence) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if m := f.memory(); m != nil {
		if file, err := m.Open(name, opts...); err == nil {
			return file, nil
		}
	}
	return f.FS.Open(name, opts...)
}

func (f *fence) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil || path.Clean(name) != path.Clean(f.dir) {
		return dir, err
	}
	return &fencedFile{File: dir, fence: f}, nil
}

func (f *fence) Stat(name string) (vfs.FileInfo, error) {
	if m := f.memory(); m != nil {
		if info, err := m.Stat(name); err == nil {
			return info, nil
		}
	}
	return f.FS.Stat(name)
}

func (f *fence) Rename(oldname, newname string) error {
	if f.elsewhere(newname) {
		return f.FS.Rename(oldname, newname)
	}
	if !f.write(func() error { return f.FS.Rename(oldname, newname) }) {
		_ = f.memory().Rename(oldname, newname) // a file of the disk stays where it is
	}
	return nil
}

// Remove only spares a frozen folder: what cannot be removed does no harm, and Pebble tries again when it is opened.
func (f *fence) Remove(name string) error {
	if f.err() != nil && !f.elsewhere(name) {
		return nil
	}
	return f.FS.Remove(name)
}

func (f *fence) RemoveAll(name string) error {
	if f.err() != nil && !f.elsewhere(name) {
		return nil
	}
	return f.FS.RemoveAll(name)
}

func (f *fence) MkdirAll(dir string, perm os.FileMode) error {
	if f.err() != nil && path.Clean(dir) == path.Clean(f.dir) {
		return nil
	}
	return f.FS.MkdirAll(dir, perm)
}

func (f *fence) Lock(string) (io.Closer, error) {
	return nil, errors.New("journal: the folder's lock is the journal's")
}

func (f *fence) Unwrap() vfs.FS { return f.FS }

// fencedFile is an open file, or the folder itself, of a fence.
type fencedFile struct {
	vfs.File
	fence *fence
}

func (f *fencedFile) Write(p []byte) (int, error) {
	f.fence.write(func() error { _, err := f.File.Write(p); return err })
	return len(p), nil
}

func (f *fencedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fence.write(func() error { _, err := f.File.WriteAt(p, off); return err })
	return len(p), nil
}

func (f *fencedFile) Sync() error {
	f.fence.write(f.File.Sync)
	return nil
}

func (f *fencedFile) SyncData() error {
	f.fence.write(f.File.SyncData)
	return nil
}

func (f *fencedFile) SyncTo(length int64) (full bool, err error) {
	f.fence.write(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, nil
}

// Preallocate may fail: not every file system can.
func (f *fencedFile) Preallocate(offset, length int64) error {
	if f.fence.err() != nil {
		return nil //nolint:nilerr // what is preallocated in memory is nothing
	}
	return f.File.Preallocate(offset, length)
}

// Close closes the file of the disk in any case. What was not synced before was not promised.
func (f *fencedFile) Close() error {
	_ = f.File.Close()
	return nil
}
