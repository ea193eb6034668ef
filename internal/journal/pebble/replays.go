package pebble

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/letters"
)

// prefixReplay is the prefix of replays: reader, NUL, id → bridge.journal.v1.Replay.
const prefixReplay = 'y'

func replayKey(name, id string) []byte {
	lower, _ := readerKeys(prefixReplay, name)
	return append(lower, id...)
}

// loadReplays reads the replays. They are kept in memory, since there are few, and holders ask for them often.
func (j *Journal) loadReplays(st *store) error {
	lower, upper := span(prefixReplay)
	return st.eachKey(lower, upper, func(k, v []byte) (bool, error) {
		name, _, ok := strings.Cut(string(k[1:]), "\x00")
		if !ok {
			return false, errCorrupt
		}
		one := new(journalv1.Replay)
		r := j.readers.get(name)
		r.replays = append(r.replays, one)
		return true, proto.Unmarshal(v, one)
	})
}

// replaysOf returns the replays of a reader. The messages never change.
func (rs *readers) replaysOf(r *reader) []*journalv1.Replay {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return slices.Clone(r.replays)
}

// setReplays replaces what memory knows of a reader's replays, after a write.
func (rs *readers) setReplays(r *reader, all []*journalv1.Replay) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.replays = all
}

// StartReplay implements [journal.ReaderReplays].
func (j *Journal) StartReplay(ctx context.Context, one *journalv1.Replay) error {
	r, err := j.readers.known(one.GetSink())
	if err != nil {
		return err
	}
	one = proto.CloneOf(one)
	return j.exclusively(ctx, r, func() error {
		all := j.readers.replaysOf(r)
		removed, err := letters.AddReplay(all)
		if err != nil {
			return err
		}
		err = j.update("start replay", func(_ *store, b *pebble.Batch) error {
			for _, id := range removed {
				if err := b.Delete(replayKey(r.name, id), nil); err != nil {
					return err
				}
			}
			return setMessage(b, replayKey(r.name, one.GetId()), one)
		})
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(k *journalv1.Replay) bool { return slices.Contains(removed, k.GetId()) })
		j.readers.setReplays(r, append(all, one))
		return nil
	})
}

// ListReplays implements [journal.ReaderReplays].
func (j *Journal) ListReplays(ctx context.Context, name string) (all []*journalv1.Replay, err error) {
	// What memory has is durable. The view waits, or fails, as all reads do.
	err = j.view(ctx, func(*store) error {
		j.readers.mu.Lock()
		defer j.readers.mu.Unlock()
		for _, r := range j.readers.named {
			if name != "" && r.name != name {
				continue
			}
			for _, one := range r.replays {
				all = append(all, proto.CloneOf(one))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *journalv1.Replay) int {
		if order := strings.Compare(a.GetSink(), b.GetSink()); order != 0 {
			return order
		}
		return letters.CompareReplays(a, b)
	})
	return all, nil
}

// CancelReplay implements [journal.ReaderReplays].
func (j *Journal) CancelReplay(ctx context.Context, name, id string) error {
	r := j.readers.find(name)
	return j.exclusively(ctx, r, func() error {
		all := j.readers.replaysOf(r)
		i := slices.IndexFunc(all, func(one *journalv1.Replay) bool { return one.GetId() == id })
		if i < 0 || letters.HasEnded(all[i]) {
			return errNoReplay(name, id)
		}
		return j.replaceReplay(r, letters.CancelReplay(all[i], j.cfg.Now()))
	})
}

func errNoReplay(name, id string) error {
	return fmt.Errorf("%w: no replay %q of %q goes on", journal.ErrNotFound, id, name)
}

// SaveReplay implements [journal.Claim].
func (c *claim) SaveReplay(ctx context.Context, one *journalv1.Replay) error {
	one = proto.CloneOf(one)
	return c.write(ctx, func() error { return c.j.replaceReplay(c.r, one) })
}

// replaceReplay replaces a replay that has not ended. The caller holds r.writing.
func (j *Journal) replaceReplay(r *reader, next *journalv1.Replay) error {
	all := j.readers.replaysOf(r)
	i := slices.IndexFunc(all, func(one *journalv1.Replay) bool { return one.GetId() == next.GetId() })
	if i < 0 || letters.HasEnded(all[i]) {
		return nil
	}
	err := j.update("save replay", func(_ *store, b *pebble.Batch) error {
		return setMessage(b, replayKey(r.name, next.GetId()), next)
	})
	if err == nil {
		all[i] = next
		j.readers.setReplays(r, all)
	}
	return err
}
