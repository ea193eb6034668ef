package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/epoch"
	"github.com/webhook-bridge/bridge/internal/journal/move"
	"github.com/webhook-bridge/bridge/sinks"
)

// Transfer is a folder as the source or as the target of a move. It holds the folder's lock.
type Transfer struct {
	j *Journal
	s *store
	// note is that of the folder, or nil.
	note *move.Note
	// log describes the folder as of the last look.
	log move.Log
	// drift counts the counts of drift that were written.
	drift uint32
}

var (
	_ move.Origin = (*Transfer)(nil)
	_ move.Target = (*Transfer)(nil)
)

// refuseMoving is the error for a folder that a move has closed.
func (s *store) refuseMoving() error {
	n, err := s.moveNote()
	if err != nil {
		return err
	}
	return n.Refusal()
}

func (s *store) moveNote() (*move.Note, error) {
	v, err := s.get(keyMove)
	if err != nil {
		return nil, err
	}
	n, err := move.ParseNote(string(v))
	if err == nil && n == nil {
		err = errCorrupt
	}
	return n, err
}

// OpenOrigin opens a folder, or a backup of one, to read it. It changes nothing until the folder is marked. Only cfg's Dir, FS, Logger and Now count.
// Errors: ErrLocked, ErrNewerFormat, fs.ErrNotExist, journal.ErrDataLoss, journal.ErrIncomplete, the disk's.
func OpenOrigin(cfg Config) (*Transfer, error) {
	t, err := openTransfer(cfg, func(t *Transfer) error {
		if empty, err := t.j.isNewFolder(); err != nil || empty {
			return errors.Join(err, fs.ErrNotExist)
		}
		if err := t.open(true); err != nil {
			return err
		}
		version, err := t.identify()
		switch {
		case err != nil || t.note != nil:
			return err
		case version != format:
			return fmt.Errorf("the folder has format %d, and must have %d: let this program serve it once", version, format)
		}
		if err := t.shut(); err != nil {
			return err
		}
		if _, err := t.j.examine(); err != nil {
			return err
		}
		if err := t.open(true); err != nil {
			return err
		}
		return t.refuseHoles()
	})
	if err != nil {
		return nil, fmt.Errorf("journal: move from %s: %w", cfg.Dir, err)
	}
	return t, nil
}

// OpenTarget opens an empty folder, or one that holds a part of a copy. Errors: move.ErrOccupied, ErrLocked, ErrNewerFormat, the disk's.
func OpenTarget(cfg Config) (*Transfer, error) {
	t, err := openTransfer(cfg, func(t *Transfer) error {
		empty, err := t.j.isNewFolder()
		if err == nil && !empty {
			err = t.examineTarget()
		}
		if err != nil {
			return err
		}
		return t.open(false)
	})
	if err != nil {
		return nil, fmt.Errorf("journal: move to %s: %w", cfg.Dir, err)
	}
	return t, nil
}

// openTransfer locks the folder and calls open.
func openTransfer(cfg Config, open func(*Transfer) error) (*Transfer, error) {
	dir, err := absolute(cfg)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir
	t := &Transfer{j: &Journal{cfg: cfg.withDefaults()}}
	if err := t.j.lockFolder(); err != nil {
		return nil, err
	}
	if err := open(t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// open opens the store.
func (t *Transfer) open(readOnly bool) error {
	f := newIsolatingFS(t.j.cfg.FS, t.j.cfg.Dir, func(error) {})
	if err := refuseNewerPebble(f, t.j.cfg.Dir); err != nil {
		return err
	}
	o := t.j.pebbleOptions(f)
	o.ReadOnly = readOnly
	db, err := openIdle(t.j.cfg.Dir, o)
	if err != nil {
		return f.because(err)
	}
	t.s = &store{db: db, fs: f, epochs: &t.j.epochs, noteDurable: func(uint64, int) {}}
	if _, err := t.identify(); err != nil {
		return err
	}
	end, err := t.s.ending()
	t.s.number.Store(end.commit)
	t.s.numbering.position = end.next
	return err
}

// identify reads the folder's identity. A folder with a note is no error.
func (t *Transfer) identify() (version uint32, err error) {
	version, err = t.s.identify()
	if errors.Is(err, journal.ErrMoved) || errors.Is(err, journal.ErrIncomplete) {
		t.note, err = t.s.moveNote()
	}
	return version, err
}

// reopen opens the store for writing.
func (t *Transfer) reopen() error {
	if err := t.shut(); err != nil {
		return err
	}
	return t.open(false)
}

// shut closes the store, and keeps the lock.
func (t *Transfer) shut() error {
	if t.s == nil {
		return nil
	}
	err := t.s.close()
	t.s = nil
	return err
}

// examineTarget refuses a folder that holds anything but a part of a copy, without writing to it.
func (t *Transfer) examineTarget() error {
	if err := t.open(true); err != nil {
		return err
	}
	version, err := t.identify()
	switch {
	case err != nil:
		return err
	case t.note == nil && version != 0:
		return fmt.Errorf("%w: it holds the log %s", move.ErrOccupied, t.s.id)
	case t.note != nil && t.note.State == move.Moved:
		return fmt.Errorf("%w: it held the log %s, which moved to %s", move.ErrOccupied, t.s.id, t.note.Place)
	}
	return t.shut()
}

// refuseHoles refuses a log that has lost positions which readers may still reach.
func (t *Transfer) refuseHoles() error {
	log, err := t.Log(context.Background())
	if err != nil {
		return err
	}
	lost, err := t.s.loadLosses()
	if err != nil {
		return err
	}
	if h, ok := lost.next(log.Bounds.Earliest); ok {
		return fmt.Errorf("%w: positions %d to %d are lost; a log can be moved once retention has passed its losses", journal.ErrDataLoss, h.from, h.to-1)
	}
	return nil
}

// Log implements [move.Source].
func (t *Transfer) Log(context.Context) (move.Log, error) {
	l := move.Log{ID: t.s.id}
	end, err := t.s.ending()
	if err != nil {
		return l, err
	}
	r := retained{earliest: 1}
	switch v, err := t.s.get(keyRetained); {
	case err == nil:
		if r, err = parseRetained(v); err != nil {
			return l, err
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return l, err
	}
	l.Bounds = sinks.Bounds{Earliest: r.earliest, Next: max(end.next, r.earliest)}
	l.WebhooksFrom, l.QuarantinedFrom = r.webhooks, r.quarantine
	if l.Epochs, err = t.s.loadEpochs(); err != nil {
		return l, err
	}
	l.Stamp, err = t.stamp(l.Bounds.Next, l.Epochs)
	t.log = l
	return l, err
}

// stamp is the log's end. The time is a lower bound of the last commit's: that of the last event, or the beginning of the epoch.
func (t *Transfer) stamp(next sinks.Position, epochs []epoch.Epoch) (s move.Stamp, err error) {
	s.Next = next
	if len(epochs) == 0 {
		return s, nil
	}
	last := epochs[len(epochs)-1]
	s.Epoch, s.At = last.Number, last.Floor
	if next <= last.First {
		return s, nil
	}
	v, err := t.s.get(eventKey(next - 1))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return s, nil
	case err != nil:
		return s, err
	case len(v) < eventHeaderLen:
		return s, errCorrupt
	}
	s.At = max(s.At, int64(binary.BigEndian.Uint64(v)))
	return s, nil
}

// Note implements [move.Origin] and [move.Target].
func (t *Transfer) Note(context.Context) (*move.Note, error) { return t.note, nil }

// MarkMoved implements [move.Origin].
func (t *Transfer) MarkMoved(_ context.Context, n move.Note) error {
	if err := t.reopen(); err != nil {
		return err
	}
	n.Format = format
	if err := t.write(func(b *pebble.Batch) error { return setFormat(b, formatMoving, &n) }); err != nil {
		return err
	}
	t.note = &n
	return nil
}

// Unmark makes a folder usable again whose log moved away. Errors: move.ErrOccupied for a folder that is not marked.
func (t *Transfer) Unmark(context.Context) error {
	if t.note == nil || t.note.State != move.Moved {
		return fmt.Errorf("%w as moved", errNotMarked)
	}
	if err := t.reopen(); err != nil {
		return err
	}
	return t.write(func(b *pebble.Batch) error { return setFormat(b, t.note.Format, nil) })
}

var errNotMarked = errors.New("journal: the folder is not marked")

// setFormat sets the folder's format and its note.
func setFormat(b *pebble.Batch, version uint32, n *move.Note) error {
	err := b.Set(keyFormat, binary.BigEndian.AppendUint32(nil, version), nil)
	if n == nil {
		return errors.Join(err, b.Delete(keyMove, nil))
	}
	return errors.Join(err, b.Set(keyMove, []byte(n.Encode()), nil))
}

// write commits what fill adds to a batch.
func (t *Transfer) write(fill func(*pebble.Batch) error) error { return t.writeUpTo(0, fill) }

// writeUpTo is write for a batch with events, up to a position.
func (t *Transfer) writeUpTo(next sinks.Position, fill func(*pebble.Batch) error) error {
	b := t.s.db.NewBatch()
	if err := fill(b); err != nil {
		return errors.Join(err, b.Close())
	}
	if _, err := t.s.apply(b, next); err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return err
	}
	return errors.Join(t.s.fs.err(), b.Close())
}

// Close releases the folder.
func (t *Transfer) Close() error { return errors.Join(t.shut(), t.j.lock.Close()) }
