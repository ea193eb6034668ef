package pebble

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestCannotOpenSaysWhy opens a folder on a disk that is full, read-only, not permitted or out of descriptors, from each operation of
// opening on. The error is that of the operating system, and speaks of nothing else. Nothing is harmed: once the disk is right, the
// folder opens with everything.
func TestCannotOpenSaysWhy(t *testing.T) {
	l := leave(t)
	writes := func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt ||
			op.Kind == errorfs.OpReuseForWrite || op.Kind == errorfs.OpMkdirAll
	}
	syncs := func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	}
	opens := func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpOpen || op.Kind == errorfs.OpOpenDir || op.Kind == errorfs.OpReuseForWrite ||
			op.Kind == errorfs.OpList
	}
	for _, c := range []struct {
		errno  syscall.Errno
		breaks func(errorfs.Op) bool
	}{
		{syscall.ENOSPC, func(op errorfs.Op) bool { return writes(op) || syncs(op) || op.Kind == errorfs.OpRename }},
		{syscall.EDQUOT, writes},
		{syscall.EROFS, func(op errorfs.Op) bool { return writes(op) || op.Kind == errorfs.OpRename }},
		{syscall.EACCES, opens},
		{syscall.EMFILE, opens},
		{syscall.ENFILE, opens},
		{syscall.EIO, func(op errorfs.Op) bool {
			return writes(op) || syncs(op) || op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpFileReadAt
		}},
	} {
		t.Run(c.errno.Error(), func(t *testing.T) {
			n := int64(0)
			for step := int64(2); ; n += step {
				if testing.Short() {
					step = 7
				}
				disk := l.disk.CrashClone(vfs.CrashCloneCfg{})
				var count atomic.Int64
				var failed atomic.Bool
				cfg := testConfig(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
					if !c.breaks(op) || count.Add(1)-1 < n {
						return nil
					}
					failed.Store(true)
					return c.errno
				})))
				cfg.tune = smallTables
				j, err := Open(t.Context(), cfg)
				if err == nil {
					// The first failure came when the folder was open.
					_ = j.Close()
				} else {
					text := err.Error()
					for _, wrong := range []string{"invalid table", "corrupt", "malformed", "lost", "damaged", "in use"} {
						if strings.Contains(text, wrong) {
							t.Errorf("operation %d: %v speaks of %q", n, err, wrong)
						}
					}
					if !errors.Is(err, c.errno) || !strings.Contains(text, c.errno.Error()) {
						t.Errorf("operation %d: %v", n, err)
					}
				}
				left := disk.CrashClone(vfs.CrashCloneCfg{})
				cfg.FS = left
				again := open(t, cfg)
				diff(t, fmt.Sprintf("events after operation %d failed", n), decoded(t, readAll(t, again)), events(l.entries...))
				shut(t, again)
				if t.Failed() {
					return
				}
				if err == nil || !failed.Load() {
					t.Logf("%d operations", n)
					return
				}
			}
		})
	}
}
