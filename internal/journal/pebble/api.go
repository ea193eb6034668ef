package pebble

import (
	"errors"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

type (
	Position   = sinks.Position
	Record     = sinks.Record
	Bounds     = sinks.Bounds
	Hash       = journal.Hash
	Entry      = journal.Entry
	Receipt    = journal.Receipt
	Query      = journal.Query
	Page       = journal.Page
	Correction = journal.Correction
	WhenFull   = journal.WhenFull
)

const (
	Receive = journal.Receive
	Release = journal.Release
	Correct = journal.Correct
	Hold    = journal.Hold
	Skip    = journal.Skip
)

var (
	ErrUnavailable = journal.ErrUnavailable
	ErrNotFound    = journal.ErrNotFound
	ErrClosed      = sinks.ErrClosed
	ErrExpired     = sinks.ErrExpired
	ErrFuture      = sinks.ErrFuture
)

var (
	// ErrLocked means that another process has the folder open.
	ErrLocked = errors.New("journal: folder is in use by another process")
	// ErrNewerFormat means that the folder was written by a newer version of this program.
	ErrNewerFormat = errors.New("journal: folder has a newer format")
)

// ErrRevised and RevisedError are no longer returned. They go with the code of intake that reads them.
var ErrRevised = errors.New("journal: same key, other body")

// RevisedError lists the entries that were revisions.
type RevisedError struct{ Entries []int }

func (e *RevisedError) Error() string { return ErrRevised.Error() }

// Unwrap returns ErrRevised.
func (e *RevisedError) Unwrap() error { return ErrRevised }
