package pebble

import (
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// switchFS is a disk that loses power, or the data that were not synced, between two operations. Files that were open before
// fail afterwards.
type switchFS struct {
	vfs.FS // reads

	gate    sync.RWMutex
	current *vfs.MemFS
	// dead disks have no power: every write fails.
	dead bool
}

func newSwitchFS() *switchFS {
	mem := vfs.NewCrashableMem()
	return &switchFS{FS: mem, current: mem}
}

// crash returns the disk as a power cut would leave it.
func (s *switchFS) crash(cfg vfs.CrashCloneCfg) *vfs.MemFS {
	s.gate.Lock()
	defer s.gate.Unlock()
	return s.current.CrashClone(cfg)
}

// die cuts the power, and returns the disk afterwards.
func (s *switchFS) die(cfg vfs.CrashCloneCfg) *vfs.MemFS {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.dead = true
	return s.current.CrashClone(cfg)
}

func (s *switchFS) isDead() bool {
	s.gate.RLock()
	defer s.gate.RUnlock()
	return s.dead
}

// drop loses the data that were not synced.
func (s *switchFS) drop() {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.current = s.current.CrashClone(vfs.CrashCloneCfg{})
}

func (s *switchFS) do(op func(*vfs.MemFS) error) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.dead {
		return errorfs.ErrInjected
	}
	return op(s.current)
}

func (s *switchFS) open(op func(*vfs.MemFS) (vfs.File, error)) (vfs.File, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.dead {
		return nil, errorfs.ErrInjected
	}
	f, err := op(s.current)
	if err != nil {
		return nil, err
	}
	return &switchFile{File: f, disk: s, opened: s.current}, nil
}

func (s *switchFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.open(func(m *vfs.MemFS) (vfs.File, error) { return m.Create(name, c) })
}

func (s *switchFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return s.open(func(m *vfs.MemFS) (vfs.File, error) { return m.Open(name, opts...) })
}

func (s *switchFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return s.open(func(m *vfs.MemFS) (vfs.File, error) { return m.OpenReadWrite(name, c, opts...) })
}

func (s *switchFS) OpenDir(name string) (vfs.File, error) {
	return s.open(func(m *vfs.MemFS) (vfs.File, error) { return m.OpenDir(name) })
}

func (s *switchFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.open(func(m *vfs.MemFS) (vfs.File, error) { return m.ReuseForWrite(oldname, newname, c) })
}

func (s *switchFS) Link(oldname, newname string) error {
	return s.do(func(m *vfs.MemFS) error { return m.Link(oldname, newname) })
}

func (s *switchFS) Remove(name string) error {
	return s.do(func(m *vfs.MemFS) error { return m.Remove(name) })
}

func (s *switchFS) RemoveAll(name string) error {
	return s.do(func(m *vfs.MemFS) error { return m.RemoveAll(name) })
}

func (s *switchFS) Rename(oldname, newname string) error {
	return s.do(func(m *vfs.MemFS) error { return m.Rename(oldname, newname) })
}

func (s *switchFS) MkdirAll(dir string, perm os.FileMode) error {
	return s.do(func(m *vfs.MemFS) error { return m.MkdirAll(dir, perm) })
}

func (s *switchFS) Lock(name string) (c io.Closer, err error) {
	err = s.do(func(m *vfs.MemFS) (err error) { c, err = m.Lock(name); return err })
	return c, err
}

func (s *switchFS) List(dir string) (names []string, err error) {
	err = s.do(func(m *vfs.MemFS) (err error) { names, err = m.List(dir); return err })
	return names, err
}

func (s *switchFS) Stat(name string) (info vfs.FileInfo, err error) {
	err = s.do(func(m *vfs.MemFS) (err error) { info, err = m.Stat(name); return err })
	return info, err
}

// switchFile is a file of the disk as it was when the file was opened.
type switchFile struct {
	vfs.File
	disk   *switchFS
	opened *vfs.MemFS
}

func (f *switchFile) do(op func() error) error {
	return f.disk.do(func(m *vfs.MemFS) error {
		if m != f.opened {
			return errorfs.ErrInjected
		}
		return op()
	})
}

func (f *switchFile) Write(p []byte) (n int, err error) {
	err = f.do(func() (err error) { n, err = f.File.Write(p); return err })
	return n, err
}

func (f *switchFile) Sync() error     { return f.do(f.File.Sync) }
func (f *switchFile) SyncData() error { return f.do(f.File.SyncData) }

func (f *switchFile) SyncTo(length int64) (full bool, err error) {
	err = f.do(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full, err
}
