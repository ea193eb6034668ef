package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/page"
	"github.com/webhook-bridge/bridge/sinks"
)

// Webhook implements [journal.Archive].
func (j *Journal) Webhook(ctx context.Context, id string) (*journalv1.Webhook, error) {
	u, err := journal.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", journal.ErrNotFound, err)
	}
	var w *journalv1.Webhook
	err = j.view(ctx, func(st *store) error {
		for _, prefix := range []byte{prefixWebhook, prefixQuarantine} {
			v, err := st.get(webhookKey(prefix, u))
			if errors.Is(err, pebble.ErrNotFound) {
				continue
			}
			if err == nil {
				w, err = decodeWebhook(v)
			}
			return err
		}
		return journal.ErrNotFound
	})
	return w, err
}

// Corrections implements [journal.Archive].
func (j *Journal) Corrections(ctx context.Context, webhookID string) (all []journal.Correction, err error) {
	u, err := journal.ParseID(webhookID)
	if err != nil {
		return nil, nil //nolint:nilerr // there is no such webhook
	}
	err = j.view(ctx, func(st *store) error {
		for _, prefix := range []byte{prefixWebhook, prefixQuarantine} {
			some, err := st.corrections(prefix, u)
			if err != nil {
				return fmt.Errorf("journal: corrections: %w", err)
			}
			all = append(all, some...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (s *store) corrections(prefix byte, id uuid.UUID) (all []journal.Correction, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: correctionKey(prefix, id, 0),
		UpperBound: correctionKey(prefix, id, math.MaxUint64),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		c := new(journalv1.Correction)
		if err := proto.Unmarshal(v, c); err != nil {
			return nil, err
		}
		first := sinks.Position(binary.BigEndian.Uint64(it.Key()[correctionKeyLen-8:]))
		for i, index := range c.GetIndexes() {
			all = append(all, journal.Correction{Index: index, Position: first + sinks.Position(i)})
		}
	}
	return all, it.Error()
}

// Newest implements [journal.Archive].
func (j *Journal) Newest(ctx context.Context, sources []string) (map[string]time.Time, error) {
	return page.Newest(ctx, j.cfg.Now(), sources, j.Find)
}

// view reads from the store, then waits until everything that read may have seen is durable, also when it returns an error: what it did not
// find was perhaps removed by a write that fails still, and a store that lost a write may look damaged.
func (j *Journal) view(ctx context.Context, read func(*store) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st, release, err := j.borrowStore()
	if err != nil {
		return err
	}
	err = readSafely(st, read)
	release() // not held while waiting: the store may be lost meanwhile
	if unconfirmed := j.barrier(ctx, st); unconfirmed != nil {
		return unconfirmed
	}
	if errors.Is(err, journal.ErrNotFound) {
		return err
	}
	return j.viewError(err)
}

func readSafely(st *store, read func(*store) error) (err error) {
	defer recoverDamage(&err)
	return read(st)
}

func decodeWebhook(v []byte) (*journalv1.Webhook, error) {
	if len(v) < webhookHeaderLen {
		return nil, errCorrupt
	}
	w := new(journalv1.Webhook)
	if err := proto.Unmarshal(v[webhookHeaderLen:], w); err != nil {
		return nil, err
	}
	w.FirstPosition, w.EventCount = 0, binary.BigEndian.Uint32(v[8:])
	if w.EventCount > 0 {
		w.FirstPosition = binary.BigEndian.Uint64(v)
	}
	return w, nil
}
