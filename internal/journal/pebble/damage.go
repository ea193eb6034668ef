package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/sinks"
)

// errHole is returned for events that are not there, though no loss of them is known.
var errHole = errors.New("the event is missing")

// readError returns the error of a read at a position. Damage is a [sinks.DamagedError], which is logged once for each place
// and counted. Another error stays what it is: a later read may succeed.
func (j *Journal) readError(p sinks.Position, err error) error {
	if !isDamage(err) {
		return fmt.Errorf("journal: position %d: %w", p, err)
	}
	j.damaged.Add(1)
	if j.damagedAt.Swap(uint64(p)) != uint64(p) {
		j.cfg.Logger.Error("journal: an event that was confirmed cannot be read; bridge verify lists all damage",
			"position", uint64(p), "error", err)
	}
	return &sinks.DamagedError{Position: p, Err: err}
}

// viewError is readError for stored webhooks and other records, which have no position.
func (j *Journal) viewError(err error) error {
	if err == nil || !isDamage(err) {
		return err
	}
	j.damaged.Add(1)
	return fmt.Errorf("%w: %w", sinks.ErrDamaged, err)
}

// isDamage reports whether an error says that data are not as they were written. A missing file and a disk that cannot read
// a sector are damage too; too many open files are not.
func isDamage(err error) bool {
	for _, damage := range []error{
		errCorrupt, errHole, fs.ErrNotExist, syscall.EIO, proto.Error,
		record.ErrInvalidChunk, record.ErrZeroedChunk, record.ErrUnexpectedEOF,
	} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return pebble.IsCorruptionError(err)
}

// recoverDamage turns a panic of Pebble into an error. Pebble panics when it cannot open a file of values.
func recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = errors.Join(*err, fmt.Errorf("%w: %v", errCorrupt, p))
	}
}

// cannotRead returns the error of the operating system that keeps a folder from being read now, or nil. It is no damage: once
// it is mended, the same bytes are there.
func cannotRead(err error) error {
	for _, errno := range []syscall.Errno{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, errno) {
			return errno
		}
	}
	return nil
}
