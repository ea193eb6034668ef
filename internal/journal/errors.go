package journal

import (
	"errors"

	"github.com/webhook-bridge/bridge/sinks"
)

// Errors of reading are those of package sinks: ErrExpired, ErrFuture, ErrForked, ErrDamaged, ErrClosed.
var (
	// ErrUnavailable means that the journal cannot commit now: a sync failed, the disk is full or nearly full, or the storage
	// is being opened. The entry may exist whole or not at all. Append it again later.
	// It is a [sinks.ErrUnavailable] too.
	ErrUnavailable error = &unavailableError{}
	// ErrNotFound means that there is no such webhook, or that it is no longer kept, or, where it is to leave the quarantine,
	// that it has left already.
	ErrNotFound = errors.New("journal: no such webhook")
	// ErrLost means that a claim is no longer held: another instance has it, or an operator moved or paused the reader. Stop,
	// and claim again.
	ErrLost = errors.New("journal: claim is lost")
	// ErrConflict means that a group was changed in the meantime. Read it, and decide again.
	ErrConflict = errors.New("journal: the group was changed in the meantime")
	// ErrLimit means that a group, a member or a share is too large, or has no valid name, or that there are too many of them, or of
	// replays. Nothing was changed.
	ErrLimit = errors.New("journal: a limit is exceeded")
	// ErrDataLoss means that the storage lost webhooks that the journal had confirmed. Nothing was changed. Put the missing
	// files back, or restore a backup. An operator who has neither accepts the loss, and the journal continues without them.
	ErrDataLoss = errors.New("journal: the storage lost data that was confirmed")
	// ErrAcceptableLoss is in the chain of an [ErrDataLoss] with which the journal opens once an operator accepts it. Without it,
	// only the missing files or a backup help.
	ErrAcceptableLoss = errors.New("journal: the loss can be accepted")
	// ErrMoved means that the log was moved to another place, which the message names. Use it there. An operator who is sure that nothing
	// used the log there can undo the move.
	ErrMoved = errors.New("journal: the log was moved")
	// ErrIncomplete means that a log is being moved to this place, and the move has not ended. Let it go on.
	ErrIncomplete = errors.New("journal: the move of a log to this place is not complete")
)

type unavailableError struct{}

func (*unavailableError) Error() string { return "journal: cannot commit" }

// Unwrap makes it the error that readers know.
func (*unavailableError) Unwrap() error { return sinks.ErrUnavailable }
