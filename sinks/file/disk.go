package file

import (
	"io"
	"os"
)

// disk has the file operations of the sink, so that tests can make them fail.
type disk interface {
	open(name string, flag int) (handle, error)
	rename(from, to string) error
	remove(name string) error
	syncDir(name string) error
}

// handle is an open file. *os.File is one.
type handle interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (os.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// local is the system's own file system.
type local struct{}

// open makes files that only their owner can read: events are personal data.
func (local) open(name string, flag int) (handle, error) { return os.OpenFile(name, flag, 0o600) }
func (local) rename(from, to string) error               { return os.Rename(from, to) }
func (local) remove(name string) error                   { return os.Remove(name) }
func (local) syncDir(name string) error                  { return syncDir(name) }
