package pebble

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damagedLog is a file of Pebble's log that is readable up to an offset only.
type damagedLog struct {
	name string
	good int64
	err  error
}

func (d damagedLog) String() string {
	return fmt.Sprintf("%s cannot be read behind byte %d: %v", d.name, d.good, d.err)
}

// logFiles returns the names of Pebble's log files, in the order in which they were written.
func logFiles(files vfs.FS, dir string) ([]string, error) {
	all, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range all {
		if _, ok := logNumber(name); ok {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		m, _ := logNumber(a)
		n, _ := logNumber(b)
		return int(int64(m) - int64(n))
	})
	return names, nil
}

// logNumber returns the number of a file of Pebble's log.
func logNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// damagedLogs reads all of Pebble's log files. The last one may end in the middle of a record: a crash leaves it so.
func damagedLogs(files vfs.FS, dir string) (damaged []damagedLog, err error) {
	names, err := logFiles(files, dir)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		good, err := readLog(files, dir, name, func(int64) error { return nil })
		switch {
		case err == nil, i == len(names)-1 && errors.Is(err, record.ErrUnexpectedEOF):
		case isDamage(err):
			damaged = append(damaged, damagedLog{name, good, err})
		default:
			return nil, err
		}
	}
	return damaged, nil
}

// readLog reads one log file, and calls each before every record. It returns the offset behind the last record that is good.
func readLog(files vfs.FS, dir, name string, each func(offset int64) error) (good int64, err error) {
	number, _ := logNumber(name)
	f, err := files.Open(files.PathJoin(dir, name), vfs.SequentialReadsOption)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := numbered(record.NewReader, f, number)
	for {
		good = r.Offset()
		if err := each(good); err != nil {
			return good, err
		}
		one, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		if errors.Is(err, io.EOF) {
			return good, nil
		}
		if err != nil {
			return good, err
		}
	}
}

// numbered calls Pebble's function with a file number. The number's type has no name outside of Pebble.
func numbered[N ~uint64](open func(io.Reader, N) *record.Reader, r io.Reader, n uint64) *record.Reader {
	return open(r, N(n))
}

// cutLogs replaces damaged log files by their good beginning, durably. The damaged file stays beside it.
func (j *Journal) cutLogs(damaged []damagedLog) error {
	files, dir := j.cfg.FS, j.cfg.Dir
	for _, d := range damaged {
		name, aside := files.PathJoin(dir, d.name), files.PathJoin(dir, d.name+".damaged")
		if err := copyStart(files, name, name+".cut", d.good); err != nil {
			return fmt.Errorf("cut %s: %w", d.name, err)
		}
		if err := files.Rename(name, aside); err != nil {
			return err
		}
		if err := files.Rename(name+".cut", name); err != nil {
			return err
		}
		j.cfg.Logger.Error("journal: a damaged log file was cut", "file", d.name, "bytes", d.good, "kept", d.name+".damaged")
	}
	folder, err := files.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// copyStart copies the first n bytes of a file to a new one, durably.
func copyStart(files vfs.FS, from, to string, n int64) (err error) {
	in, err := files.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := files.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, n)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// explainCorruption finds out whether a folder that Pebble calls corrupt has a damaged log. That is a loss that can be accepted.
func (j *Journal) explainCorruption(cause error) error {
	if !pebble.IsCorruptionError(cause) {
		return cause
	}
	damaged, err := damagedLogs(j.cfg.FS, j.cfg.Dir)
	if err != nil || len(damaged) == 0 {
		return errors.Join(cause, err)
	}
	var parts []string
	for _, d := range damaged {
		parts = append(parts, d.String())
	}
	return &lossError{dir: j.cfg.Dir, logs: damaged, cause: strings.Join(parts, "; ")}
}

// lookAgain is examine for a folder whose damaged logs were cut because the operator accepts the loss.
func (j *Journal) lookAgain(loss *lossError) (ending, *lossError, error) {
	if err := j.cutLogs(loss.logs); err != nil {
		return ending{}, nil, err
	}
	found, err := j.examine()
	var more *lossError
	switch {
	case errors.As(err, &more) && len(more.logs) == 0:
		return found, more, nil
	case err != nil:
		return found, nil, err
	}
	loss.found = found
	return found, loss, nil
}
