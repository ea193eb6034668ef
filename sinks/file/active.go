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

// active is the file that is being written. When a write or a sync fails, the file is closed, and what is known of it stays.
type active struct {
	file handle      // Nil: to be opened again.
	info os.FileInfo // Its identity. Nil: nothing is known.

	// The first durable bytes are whole records and synced. Up to end they are written; what is there beyond durable is
	// part of the Deliver under way, or has to go.
	durable, end int64

	suspect bool      // A sync has failed: it's cut to what is durable, and nothing is added any more.
	began   time.Time // When it was made.
}

// ready sees to it that there is an active file to add to: the one that is open, unless somebody else has moved or removed it,
// or it is due.
func (s *Sink) ready(ctx context.Context) error {
	if s.file != nil {
		switch info, err := os.Lstat(s.config.Path); {
		case err != nil && exists(err):
			return err
		case err != nil || !os.SameFile(info, s.info) || info.Size() != s.durable:
			// What is durable in it stays so, wherever it is now. One that was cut or added to is looked at anew.
			_ = s.file.Close()
			s.active = active{began: s.began}
		}
	}
	if s.file == nil {
		if err := s.reopen(ctx); err != nil {
			return err
		}
	}
	if s.durable > 0 && (s.durable >= s.config.RotateSize || time.Since(s.began) >= s.config.RotateAge) {
		return s.rotate()
	}
	return nil
}

// fail gives the file up after a write or a sync of it has failed. Readers should not see a torn record for longer than need
// be, so it is cut at once if that can be done; reopen relies on nothing here.
func (s *Sink) fail(sync bool) {
	s.suspect = s.suspect || sync
	_ = s.file.Truncate(s.durable)
	_ = s.file.Close()
	s.file = nil
}

// reopen opens the file that is there, mended, or makes one. Its folder is synced then, also for what was renamed or made
// before a failure.
func (s *Sink) reopen(ctx context.Context) error {
	f, err := s.disk.open(s.config.Path, os.O_RDWR)
	if err != nil {
		if exists(err) {
			return err
		}
		return s.begin()
	}
	if err := s.mend(ctx, f); err != nil {
		return errors.Join(err, f.Close())
	}
	if s.file = f; s.suspect {
		return s.rotate()
	}
	return nil
}

// mend cuts f to whole and durable records, and makes that durable.
func (s *Sink) mend(ctx context.Context, f handle) error {
	info, err := s.identify(f)
	if err != nil {
		return err
	}
	if s.info == nil || !os.SameFile(info, s.info) || info.Size() < s.durable {
		found, err := s.inspect(ctx, f, info.Size())
		if err != nil {
			return err
		}
		s.active = active{info: info, durable: found.whole, began: s.began, suspect: found.foreign}
		if found.damaged {
			if err := s.keepDamaged(f, found.whole, info.Size()); err != nil {
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
	return s.disk.syncDir(filepath.Dir(s.config.Path))
}

// identify makes sure that f is the regular file at the path itself. A device or a pipe cannot be cut; behind a link is a
// file that another lock may guard.
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

// rotate sets the active file aside under a name of its own and begins a new one. What is in it is durable already.
func (s *Sink) rotate() error {
	err := s.file.Close()
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
	s.active = active{began: s.began}
	return s.begin()
}

// stamp is when a file was rotated, in UTC. Names sort as it does.
const stamp = "20060102T150405.000000000Z"

// rotatedName returns a name that is new and sorts after all that are there: the time, or, when the clock was set back, just
// after the last.
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

// splitName splits a file's name before its extension, or both of two such as ".jsonl.zst".
func splitName(base string) (stem, ext string) {
	ext = filepath.Ext(base)
	if ext == ".zst" {
		ext = filepath.Ext(strings.TrimSuffix(base, ext)) + ext
	}
	return strings.TrimSuffix(base, ext), ext
}
