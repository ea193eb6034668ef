package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Verification is the result of Verify.
type Verification struct {
	// ID is the journal's, empty if the folder could not be opened.
	ID string
	// Bounds are the log's.
	Bounds sinks.Bounds
	// Records counts the records by their kind, and Bytes is the size of their keys and values.
	Records map[string]uint64
	Bytes   uint64
	// Files counts Pebble's files that were read.
	Files int
	// LostEvents and LostCommits are losses that an operator accepted.
	LostEvents, LostCommits uint64
	// Problems counts what is wrong.
	Problems int
}

// Damaged reports whether anything is wrong.
func (v Verification) Damaged() bool { return v.Problems > 0 }

// Verify reads everything in a folder that no process has open, and calls report for everything that is wrong, with its place. It writes
// nothing but the lock. Its memory does not grow with the folder. Errors: ErrLocked, ErrNewerFormat, fs.ErrNotExist for a
// folder without a journal, ctx's, and the disk's where it does not permit to read.
func Verify(ctx context.Context, cfg Config, report func(problem string)) (Verification, error) {
	dir, err := absolute(cfg)
	if err != nil {
		return Verification{}, fmt.Errorf("journal: verify: %w", err)
	}
	cfg.Dir = dir
	cfg = cfg.withDefaults()
	cfg.Logger = slog.New(slog.DiscardHandler) // Pebble's words for what is reported here
	if _, err := cfg.FS.Stat(dir); err != nil {
		return Verification{}, fmt.Errorf("journal: verify: %w", err)
	}
	v := &verifier{j: &Journal{cfg: cfg}, found: Verification{Records: map[string]uint64{}}, report: report}
	if err := v.j.lockFolder(); err != nil {
		return v.found, err
	}
	err = v.run(ctx)
	if err := errors.Join(err, v.j.lock.Close()); err != nil {
		return v.found, fmt.Errorf("journal: verify %s: %w", dir, err)
	}
	return v.found, nil
}

// verifier reads a folder.
type verifier struct {
	j      *Journal
	s      *store
	found  Verification
	report func(string)
}

// problem reports something that is wrong.
func (v *verifier) problem(format string, args ...any) {
	v.found.Problems++
	v.report(fmt.Sprintf(format, args...))
}

// run reads the folder. Errors: ctx's, and the disk's where it is no damage.
func (v *verifier) run(ctx context.Context) error {
	files, dir := v.j.cfg.FS, v.j.cfg.Dir
	f := newIsolatingFS(files, dir, func(error) {})
	if err := refuseNewerPebble(f, dir); err != nil {
		return err
	}
	mark, err := readWatermark(files, dir)
	marked := err == nil
	switch {
	case errors.Is(err, errWatermark):
		v.problem("%v", err)
	case err != nil && !isMissing(err):
		return err
	}
	empty, err := v.j.isNewFolder()
	if err != nil {
		v.problem("%v", err)
		return nil
	}
	if empty {
		return fmt.Errorf("there is no journal: %w", fs.ErrNotExist)
	}
	if err := v.checkLogs(); err != nil {
		return err
	}
	o := v.j.pebbleOptions(f)
	o.ReadOnly = true
	db, err := pebble.Open(dir, o)
	if err != nil {
		if errno := cannotRead(err); errno != nil {
			return err
		}
		v.problem("the store cannot be opened: %v", err)
		return nil
	}
	v.s = &store{db: db, fs: f}
	err = v.checkStore(ctx, mark, marked)
	if closed := v.s.close(); !isDamage(closed) { // damage was reported where it was read
		err = errors.Join(err, closed)
	}
	return err
}

// checkLogs reads Pebble's log files. The last one may end in the middle of a record.
func (v *verifier) checkLogs() error {
	damaged, err := damagedLogs(v.j.cfg.FS, v.j.cfg.Dir)
	if err != nil {
		return err
	}
	for _, d := range damaged {
		v.problem("log file %v", d)
	}
	names, err := logFiles(v.j.cfg.FS, v.j.cfg.Dir)
	v.found.Files += len(names)
	return err
}

// checkStore reads the store: its files, then its records.
func (v *verifier) checkStore(ctx context.Context, mark watermark, marked bool) error {
	if err := v.checkTables(ctx); err != nil {
		return err
	}
	if err := checkValueFiles(v.j.cfg.FS, v.j.cfg.Dir, v.s.db); err != nil {
		v.problem("%v", err)
	} else if err := v.s.db.CheckLevels(nil); err != nil {
		v.problem("order of the tables: %v", err)
	}
	version, err := v.s.identify()
	if err != nil {
		if errors.Is(err, ErrNewerFormat) || errors.Is(err, journal.ErrMoved) || errors.Is(err, journal.ErrIncomplete) {
			return err
		}
		v.problem("identity: %v", err)
		return nil
	}
	if version == 0 {
		v.problem("the tables hold no journal")
		return nil
	}
	v.found.ID = v.s.id
	if err := v.checkEnd(mark, marked); err != nil {
		return nil //nolint:nilerr // it was reported
	}
	return v.checkRecords(ctx)
}

// checkEnd compares the log's end with the watermark. It returns an error if the end cannot be read.
func (v *verifier) checkEnd(mark watermark, marked bool) error {
	end, err := v.s.ending()
	if err == nil {
		v.s.lost, err = v.s.loadLosses()
	}
	if err == nil {
		v.s.retained = retained{earliest: 1}
		var k []byte
		if k, err = v.s.get(keyRetained); err == nil {
			v.s.retained, err = parseRetained(k)
		} else if errors.Is(err, pebble.ErrNotFound) {
			err = nil
		}
	}
	if err != nil {
		v.problem("the log's end cannot be read: %v", err)
		return err
	}
	v.s.next = v.s.lost.pass(end.next)
	v.found.Bounds = sinks.Bounds{Earliest: v.s.retained.earliest, Next: v.s.next}
	v.found.LostEvents, v.found.LostCommits = v.s.lost.count()
	loss := &lossError{dir: v.j.cfg.Dir, found: end, mark: mark}
	switch {
	case marked && mark.journal != end.id:
		v.problem("the file %s belongs to another journal", watermarkName)
	case !marked && end.marked:
		v.problem("the file %s is missing, or damaged", watermarkName)
	case loss.short() || len(end.missing) > 0:
		v.problem("%v", loss)
	}
	return nil
}

// checkTables reads every block of every table.
func (v *verifier) checkTables(ctx context.Context) error {
	levels, err := v.s.db.SSTables()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, level := range levels {
		for _, table := range level {
			name := fmt.Sprintf("%s.sst", table.BackingSSTNum)
			if seen[name] {
				continue
			}
			seen[name] = true
			if err := ctx.Err(); err != nil {
				return err
			}
			v.found.Files++
			if err := checkTable(ctx, v.j.cfg.FS, v.j.cfg.FS.PathJoin(v.j.cfg.Dir, name)); err != nil {
				if cannotRead(err) != nil {
					return err
				}
				v.problem("table %s: %v", name, err)
			}
		}
	}
	return nil
}

// checkTable checks the checksums of a table's blocks.
func checkTable(ctx context.Context, files vfs.FS, name string) (err error) {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, sstable.ReaderOptions{})
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}
