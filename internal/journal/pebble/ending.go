package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/blob"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// ending is the end of a folder's log, as a look found it that writes nothing.
type ending struct {
	// id is the journal's. It is empty for a folder without a journal.
	id string
	// first and commit are the first commit that must be there, and the last that is.
	first, commit uint64
	// next is the position after the last event.
	next sinks.Position
	// missing are the commits between first and commit that are not there.
	missing []missingCommits
	// marked says that the folder has had a watermark.
	marked bool
}

// missingCommits are commits that are not there, between two that are.
type missingCommits struct {
	from, to uint64 // to is excluded
	// after and before are the positions after the commit before them, and after the one behind them.
	after, before sinks.Position
}

// lossError describes data that the storage lost.
type lossError struct {
	dir   string
	found ending
	// mark is the watermark, or the zero value if there is none that can be read.
	mark watermark
	// cause says what is wrong where no counts do, and logs are the damaged log files.
	cause string
	logs  []damagedLog
}

func (e *lossError) Is(target error) bool {
	return target == journal.ErrDataLoss || target == journal.ErrAcceptableLoss
}

func (e *lossError) Error() string {
	var parts []string
	if e.cause != "" {
		parts = append(parts, e.cause)
	}
	if e.short() {
		parts = append(parts, fmt.Sprintf("the log ends at commit %d, position %d; the watermark of %s says commit %d, position %d: "+
			"at least %d commits and %d events are missing", e.found.commit, e.found.next-1, e.mark.at.UTC().Format(time.RFC3339),
			e.mark.commit, e.mark.next-1, less(e.mark.commit, e.found.commit), less(e.mark.next, e.found.next)))
	}
	for i, m := range e.found.missing {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("and %d more holes", len(e.found.missing)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("commits %d to %d are missing, after position %d", m.from, m.to-1, m.after-1))
	}
	return fmt.Sprintf("%v: %s: %s", journal.ErrDataLoss, e.dir, strings.Join(parts, "; "))
}

// short reports whether the log ends before the watermark.
func (e *lossError) short() bool { return e.found.commit < e.mark.commit || e.found.next < e.mark.next }

func less[T ~uint64](a, b T) T { return max(a, b) - b }

// examine looks at the end of the folder's log without writing. Errors: a *lossError, together with what was found; the disk's.
func (j *Journal) examine() (found ending, err error) {
	mark, err := readWatermark(j.cfg.FS, j.cfg.Dir)
	unreadable := errors.Is(err, errWatermark)
	missing := isMissing(err)
	if err != nil && !unreadable && !missing {
		return found, fmt.Errorf("watermark: %w", err)
	}
	if empty, err := j.isNewFolder(); err != nil || empty {
		return ending{first: 1, next: 1}, err
	}
	if found, err = j.readEnding(); err != nil {
		return found, j.explainCorruption(err)
	}
	if found.id == "" && mark.journal != "" {
		return found, fmt.Errorf("the manifest no longer names the tables: %w: put it back, or restore a backup", journal.ErrDataLoss)
	}
	loss := &lossError{dir: j.cfg.Dir, found: found, mark: mark}
	switch {
	case unreadable:
		loss.cause = errWatermark.Error()
	case missing && found.marked:
		loss.cause = "the file " + watermarkName + " is missing"
	case missing:
		if found.id != "" {
			j.cfg.Logger.Warn("journal: the folder has no watermark yet; what is there is taken for complete",
				"commit", found.commit, "position", uint64(found.next-1))
		}
	case mark.journal != found.id:
		loss.cause = "the file " + watermarkName + " belongs to another journal"
		loss.mark = watermark{}
	}
	// What this process has seen durable counts too: the folder may be opened again after a failed write.
	if j.durableCommit.Load() > 0 && (j.id == found.id) {
		loss.mark.commit = max(loss.mark.commit, j.durableCommit.Load())
		loss.mark.next = max(loss.mark.next, sinks.Position(j.durable.Load()))
	}
	if loss.cause == "" && !loss.short() && len(found.missing) == 0 {
		return found, nil
	}
	return found, loss
}

// isNewFolder reports whether the folder has no journal. Errors: a *lossError for one that has had one: without its manifest
// Pebble would take it for a new folder, and remove the tables.
func (j *Journal) isNewFolder() (bool, error) {
	names, err := j.cfg.FS.List(j.cfg.Dir)
	if err != nil {
		return false, err
	}
	var left string
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, "marker.manifest."):
			return false, nil
		case name == watermarkName, strings.HasSuffix(name, ".sst"), strings.HasSuffix(name, ".blob"), strings.HasSuffix(name, ".log"):
			left = name
		}
	}
	if left == "" {
		return true, nil
	}
	return false, fmt.Errorf("the folder has %s and no marker.manifest file, which names the tables: "+
		"put the missing file back, or restore a backup: %w", left, journal.ErrDataLoss)
}

// readEnding opens the folder without writing, and reads the end of its log.
func (j *Journal) readEnding() (found ending, err error) {
	f := newIsolatingFS(j.cfg.FS, j.cfg.Dir, func(error) {})
	o := j.pebbleOptions(f)
	o.ReadOnly = true
	db, err := pebble.Open(j.cfg.Dir, o)
	if err != nil {
		return found, errors.Join(err, f.err())
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := checkValueFiles(j.cfg.FS, j.cfg.Dir, db); err != nil {
		return found, err
	}
	s := &store{db: db, fs: f}
	version, err := s.identify()
	if err != nil || version == 0 {
		return ending{first: 1, next: 1}, err // an opening that a crash ended left a folder without a journal
	}
	return s.ending()
}

// checkValueFiles checks that the files of large values are there, as whole as Pebble wrote them, and that their ends can be read.
// Pebble checks the tables itself. For a value file that it cannot open it panics, at the first read.
func checkValueFiles(files vfs.FS, dir string, db *pebble.DB) error {
	var errs []error
	for f := range db.DebugCurrentVersion().BlobFiles.All() {
		name := fmt.Sprintf("%s.blob", f.Physical.FileNum)
		info, err := files.Stat(files.PathJoin(dir, name))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("value file %s: %w", name, err))
		case uint64(info.Size()) != f.Physical.Size:
			errs = append(errs, fmt.Errorf("value file %s has %d bytes, and had %d: %w", name, info.Size(), f.Physical.Size, errCorrupt))
		default:
			if err := openValueFile(files, files.PathJoin(dir, name)); err != nil {
				errs = append(errs, fmt.Errorf("value file %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// openValueFile reads the end of a value file.
func openValueFile(files vfs.FS, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := blob.NewFileReader(context.Background(), readable, blob.FileReaderOptions{})
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return r.Close()
}

// ending reads the end of the log.
func (s *store) ending() (found ending, err error) {
	found.id, found.first = s.id, 1
	if _, err := s.get(keyMarked); err == nil {
		found.marked = true
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return found, err
	}
	switch v, err := s.get(keyFirstCommit); {
	case err == nil && len(v) == 8:
		found.first = binary.BigEndian.Uint64(v)
	case err == nil:
		return found, errCorrupt
	case !errors.Is(err, pebble.ErrNotFound):
		return found, err
	}
	if found.next, err = s.nextPosition(); err != nil {
		return found, err
	}
	return found, s.readCommits(&found)
}

// readCommits finds the last commit, and the holes before it.
func (s *store) readCommits(found *ending) error {
	lower, upper := span(prefixCommit)
	want, after := found.first, sinks.Position(0)
	err := s.eachKey(lower, upper, func(k, v []byte) (bool, error) {
		n, next, err := parseCommit(k, v)
		if err != nil {
			return false, err
		}
		if n > want && len(found.missing) < maxHoles {
			found.missing = append(found.missing, missingCommits{from: want, to: n, after: max(after, 1), before: next})
		}
		want, after = max(n+1, want), next
		found.commit, found.next = n, max(found.next, next)
		return true, nil
	})
	return err
}

// maxHoles bounds the holes that are reported.
const maxHoles = 1000

// nextPosition returns the position after the last event that is or was there.
func (s *store) nextPosition() (sinks.Position, error) {
	earliest := sinks.Position(1)
	k, err := s.get(keyRetained)
	if err == nil {
		r, err := parseRetained(k)
		if err != nil {
			return 0, err
		}
		earliest = r.earliest
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return 0, err
	}
	last, err := s.lastPosition()
	return max(earliest, last+1), err
}
