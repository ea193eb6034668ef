package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Backup is a copy of the journal.
type Backup struct {
	// Position of the first event that may be missing from the copy.
	Position sinks.Position
	// Bytes is the size of the copy's files.
	Bytes uint64
}

// Backup copies the journal to a new folder while it runs, and describes the copy. The copy holds everything that was
// durable when Backup was called. It is a journal itself and has the same identity. On the same file system it is made of
// links, and takes hardly any room at first. A copy that may be wrong is removed.
//
// Errors: [fs.ErrExist] for a folder that exists, ErrUnavailable, ErrClosed, ctx's before it begins, the disk's.
func (j *Journal) Backup(ctx context.Context, dir string) (Backup, error) {
	if _, err := j.cfg.FS.Stat(dir); err == nil {
		return Backup{}, fmt.Errorf("journal: backup: %s: %w", dir, fs.ErrExist)
	}
	b := Backup{Position: j.Bounds().Next}
	err := j.checkpoint(ctx, dir)
	if err == nil {
		b.Bytes, err = j.sizeOf(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = errors.Join(err, j.cfg.FS.RemoveAll(dir))
	}
	return b, err
}

// sizeOf adds up the files in a folder.
func (j *Journal) sizeOf(dir string) (total uint64, err error) {
	names, err := j.cfg.FS.List(dir)
	if err != nil {
		return 0, fmt.Errorf("journal: backup: %w", err)
	}
	for _, name := range names {
		info, err := j.cfg.FS.Stat(j.cfg.FS.PathJoin(dir, name))
		if err != nil {
			return 0, fmt.Errorf("journal: backup: %w", err)
		}
		total += uint64(max(info.Size(), 0))
	}
	return total, nil
}

// checkpoint writes the copy, with a watermark that the copy reaches. Errors: ErrUnavailable, ErrClosed, the disk's.
func (j *Journal) checkpoint(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st, release, err := j.borrowStore()
	if err != nil {
		return err
	}
	defer release()
	mark := watermark{journal: j.id, commit: j.durableCommit.Load(), next: j.Bounds().Next, at: j.cfg.Now()}
	if err := st.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("journal: checkpoint: %w", err)
	}
	if err := writeWatermark(j.cfg.FS, dir, mark); err != nil {
		return fmt.Errorf("journal: checkpoint: watermark: %w", err)
	}
	// Events are personal data, and Pebble makes folders that everybody may read.
	if j.cfg.FS == vfs.Default {
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder must be searchable by its owner
			return fmt.Errorf("journal: checkpoint: %w", err)
		}
	}
	if st.fs.err() != nil {
		return journal.ErrUnavailable // the copy may have data that never reached the disk
	}
	return nil
}
