package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/journal/postgres"
)

// JournalPlace is where a journal is: a folder, or a database.
type JournalPlace struct {
	// Dir is the folder, empty for a database.
	Dir string
	// URL, Schema and ReplicatedBy are those of a database.
	URL, Schema, ReplicatedBy string
}

// String names the place without secrets.
func (p JournalPlace) String() string {
	if p.Dir != "" {
		if dir, err := filepath.Abs(p.Dir); err == nil {
			return dir
		}
		return p.Dir
	}
	return p.database().Place()
}

func (p JournalPlace) database() postgres.Config {
	return postgres.Config{URL: p.URL, Schema: p.Schema, ReplicatedBy: postgres.Replication(p.ReplicatedBy), Replica: "move", Version: Version()}
}

// JournalMove says which journal goes where.
type JournalMove struct {
	From, To JournalPlace
	// CopyOnly leaves the move to a later run, also if no instance uses the source.
	CopyOnly bool
	// Backup asks the server that uses the source's folder for a copy of it in another folder.
	Backup func(ctx context.Context, dir string) error
	// Progress is told how far the run is, after every page.
	Progress func(move.Progress)
}

// MoveProgress says how far a run is.
type MoveProgress = move.Progress

// MoveResult describes a run.
type MoveResult struct {
	move.Result

	// InUse reports whether the source was in use, so that the move is not complete.
	InUse bool
	// Took is how long the run took. For a run that completes the move it is how long the journal stood still, at least.
	Took time.Duration
}

// origin and target are open places.
type origin interface {
	move.Origin
	io.Closer
	Unmark(ctx context.Context) error
}

type target interface {
	move.Target
	io.Closer
}

// MoveJournal copies what the target lacks. If no instance uses the source, it completes the move.
func MoveJournal(ctx context.Context, m JournalMove) (result MoveResult, err error) {
	began := time.Now()
	from, final, release, err := m.openOrigin(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, release()) }()
	to, err := m.openTarget(ctx)
	if err != nil {
		return result, explainOccupied(ctx, from, err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	result.InUse = !final
	result.Result, err = move.Run(ctx, from, to, move.Options{
		Final: final && !m.CopyOnly, From: m.From.String(), To: m.To.String(), Progress: m.Progress,
	})
	result.Took = time.Since(began)
	return result, err
}

// explainOccupied says where the source's log went, if it is not the target that refuses but the source that is empty of use.
func explainOccupied(ctx context.Context, from origin, err error) error {
	if n, noteErr := from.Note(ctx); noteErr == nil && n != nil && errors.Is(err, move.ErrOccupied) {
		return fmt.Errorf("%w; %w", n.Refusal(), err)
	}
	return err
}

// openOrigin opens the source, or a copy of it if it is in use. final is whether it is the source itself, and in use by nobody else.
func (m *JournalMove) openOrigin(ctx context.Context) (from origin, final bool, release func() error, err error) {
	if m.From.Dir != "" {
		return m.openFolder(ctx)
	}
	t, err := postgres.OpenOrigin(ctx, m.From.database(), !m.CopyOnly)
	if errors.Is(err, move.ErrInUse) {
		t, err = postgres.OpenOrigin(ctx, m.From.database(), false)
		return t, false, t.Close, err
	}
	return t, true, t.Close, err
}

func (m *JournalMove) openFolder(ctx context.Context) (from origin, final bool, release func() error, err error) {
	t, err := pebble.OpenOrigin(pebble.Config{Dir: m.From.Dir})
	if !errors.Is(err, pebble.ErrLocked) {
		return t, true, t.Close, err
	}
	if m.Backup == nil {
		return nil, false, nil, err
	}
	dir, err := filepath.Abs(m.From.Dir)
	if err != nil {
		return nil, false, nil, err
	}
	// Beside the folder, so that the copy is made of links.
	dir = fmt.Sprintf("%s.moving-%d", dir, os.Getpid())
	if err := m.Backup(ctx, dir); err != nil {
		return nil, false, nil, fmt.Errorf("the folder is in use, and its server makes no copy of it: %w", err)
	}
	remove := func() error { return os.RemoveAll(dir) }
	if t, err = pebble.OpenOrigin(pebble.Config{Dir: dir}); err != nil {
		return nil, false, nil, errors.Join(err, remove())
	}
	return t, false, func() error { return errors.Join(t.Close(), remove()) }, nil
}

func (m *JournalMove) openTarget(ctx context.Context) (target, error) {
	if m.To.Dir != "" {
		return pebble.OpenTarget(pebble.Config{Dir: m.To.Dir})
	}
	return postgres.OpenTarget(ctx, m.To.database())
}

// ReopenJournal makes a journal usable again whose log was moved away.
func ReopenJournal(ctx context.Context, p JournalPlace) (err error) {
	var t origin
	if p.Dir != "" {
		t, err = pebble.OpenOrigin(pebble.Config{Dir: p.Dir})
	} else {
		t, err = postgres.OpenOrigin(ctx, p.database(), false)
	}
	if err != nil {
		return err
	}
	return errors.Join(t.Unmark(ctx), t.Close())
}
