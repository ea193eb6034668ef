package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// active is the file that the sink writes. When a write or a sync fails, the file is closed, but the sink keeps its facts.
type active struct {
	file handle      // Nil if the file must be opened again.
	info os.FileInfo // Its identity. Nil if the file is unknown.

	// The first durable bytes are whole records and synced. The bytes up to end are written. Those beyond durable belong to the
	// running Deliver, or must be truncated.
	durable, end int64

	suspect bool      // A sync failed: the file is truncated to its durable bytes, and gets no more events.
	created time.Time // Creation time.
}

// prepare opens a file for the next write: the open file, unless another program has moved or removed it, or its rotation is
// due.
func (s *Sink) prepare(ctx context.Context) error {
	if err := s.openActive(ctx); err != nil {
		return err
	}
	if s.durable > 0 && (s.durable >= s.config.RotateSize || time.Since(s.created) >= s.config.RotateAge) {
		return s.rotate()
	}
	return nil
}

// openActive opens the active file, if it is not open.
func (s *Sink) openActive(ctx context.Context) error {
	if s.file != nil {
		switch info, err := os.Lstat(s.config.Path); {
		case err != nil && exists(err):
			return err
		case err != nil || !os.SameFile(info, s.info) || info.Size() != s.durable:
			// Its durable bytes stay durable after a move. A file with another size is inspected again.
			_ = s.file.Close()
			s.active = active{created: s.created}
		}
	}
	if s.file == nil {
		return s.reopen(ctx)
	}
	return nil
}

// giveUpFile closes the file after a failed write or sync. It tries to truncate the file at once, so that readers see no
// incomplete record for long. reopen does not rely on that.
func (s *Sink) giveUpFile(sync bool) {
	s.suspect = s.suspect || sync
	_ = s.file.Truncate(s.durable)
	_ = s.file.Close()
	s.file = nil
}

// reopen opens the existing file and truncates it to its durable records, or creates one. It then syncs the folder, also for
// files that were renamed or created before a failure.
func (s *Sink) reopen(ctx context.Context) error {
	f, err := s.disk.open(s.config.Path, os.O_RDWR)
	if err != nil {
		if exists(err) {
			return err
		}
		s.active = active{created: s.created}
		if err := s.locate(nil, reached{}); err != nil {
			return err
		}
		if err := s.tell(nil, true); err != nil {
			return err
		}
		return s.createActive()
	}
	if err := s.truncateToDurable(ctx, f); err != nil {
		return errors.Join(err, f.Close())
	}
	if s.file = f; s.suspect {
		return s.rotate()
	}
	return nil
}

// truncateToDurable truncates f to whole records and makes that durable.
func (s *Sink) truncateToDurable(ctx context.Context, f handle) error {
	info, err := s.identify(f)
	if err != nil {
		return err
	}
	var found *inspection
	if s.info == nil || !os.SameFile(info, s.info) || info.Size() < s.durable {
		found, err = s.inspect(ctx, f, info.Size())
		if err != nil {
			return err
		}
		s.active = active{info: info, durable: found.whole, created: s.created, suspect: found.otherFormat}
		if found.damaged {
			if err := s.moveDamaged(f, found.whole, info.Size()); err != nil {
				return err
			}
		}
	}
	if info.Size() != s.durable {
		if err := f.Truncate(s.durable); err != nil {
			return err
		}
	}
	s.end = s.durable
	if err := f.Sync(); err != nil {
		return err
	}
	if err := s.disk.syncDir(filepath.Dir(s.config.Path)); err != nil || found == nil {
		return err
	}
	return s.locate(f, found.reached)
}

// identify checks that f is the regular file at the path itself. A device or a pipe cannot be truncated, and a linked file may
// have another lock.
func (s *Sink) identify(f handle) (os.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	at, err := os.Lstat(s.config.Path)
	if err != nil {
		return nil, err
	}
	if !at.Mode().IsRegular() || !os.SameFile(at, info) {
		return nil, fmt.Errorf("%s is not a regular file", s.config.Path)
	}
	return info, nil
}

// rotate renames the active file and creates a new one. All its events are already durable.
func (s *Sink) rotate() error {
	err := s.tell(s.file, true)
	err = errors.Join(err, s.file.Close())
	s.file = nil
	if err != nil {
		return err
	}
	if s.durable == 0 {
		err = s.disk.remove(s.config.Path)
	} else {
		var name string
		if name, err = s.rotatedName(); err == nil {
			err = s.disk.rename(s.config.Path, name)
		}
	}
	if err != nil {
		return err
	}
	s.active = active{created: s.created}
	return s.createActive()
}

// stamp is the time of a rotation in a file name, in UTC. Names sort by it.
const stamp = "20060102T150405.000000000Z"

// rotatedName returns a new name that sorts after all existing ones. It has the current time, or, if the clock was set back, a
// time just after the last name's.
func (s *Sink) rotatedName() (string, error) {
	dir, base := filepath.Split(s.config.Path)
	stem, ext := splitName(base)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	at := time.Now().UTC()
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), stem+"-")
		if !ok || len(rest) < len(stamp) {
			continue
		}
		if last, err := time.Parse(stamp, rest[:len(stamp)]); err == nil && !last.Before(at) {
			at = last.Add(1)
		}
	}
	return filepath.Join(dir, stem+"-"+at.Format(stamp)+ext), nil
}

// splitName splits a file's name before its extension, or before both extensions in names such as ".jsonl.zst".
func splitName(base string) (stem, ext string) {
	ext = filepath.Ext(base)
	if ext == ".zst" {
		ext = filepath.Ext(strings.TrimSuffix(base, ext)) + ext
	}
	return strings.TrimSuffix(base, ext), ext
}
