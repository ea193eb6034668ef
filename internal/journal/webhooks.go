package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
)

// Webhook returns the stored webhook with this id. Errors: ErrNotFound, ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) Webhook(ctx context.Context, id string) (*journalv1.Webhook, error) {
	u, err := parseID(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
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
		return ErrNotFound
	})
	return w, err
}

// Webhooks returns up to limit stored webhooks, quarantined ones among them, in order of their ids, which is that of their
// receipt. It starts after the id given, "" being before the first. Errors: ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) Webhooks(ctx context.Context, after string, limit int) ([]*journalv1.Webhook, error) {
	from := func(prefix byte) ([]byte, error) {
		if after == "" {
			return []byte{prefix}, nil
		}
		u, err := parseID(after)
		return append(webhookKey(prefix, u), 0), err
	}
	var all []*journalv1.Webhook
	err := j.view(ctx, func(st *store) error {
		for _, prefix := range []byte{prefixWebhook, prefixQuarantine} {
			lower, err := from(prefix)
			if err != nil {
				return err
			}
			some, err := st.webhooks(lower, []byte{prefix + 1}, limit, false)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *journalv1.Webhook) int { return bytes.Compare([]byte(a.GetId()), []byte(b.GetId())) })
	return all[:min(limit, len(all))], nil
}

// Quarantined returns up to limit quarantined webhooks, the newest first. It starts before the id given, "" being after
// the last. Errors: ErrUnavailable, ErrClosed, ctx's.
func (j *Journal) Quarantined(ctx context.Context, before string, limit int) ([]*journalv1.Webhook, error) {
	lower, upper := span(prefixQuarantine)
	if before != "" {
		u, err := parseID(before)
		if err != nil {
			return nil, fmt.Errorf("journal: quarantined: %w", err)
		}
		upper = webhookKey(prefixQuarantine, u)
	}
	var all []*journalv1.Webhook
	err := j.view(ctx, func(st *store) (err error) {
		all, err = st.webhooks(lower, upper, limit, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// view reads from the store, then waits until all that may have been seen is durable.
func (j *Journal) view(ctx context.Context, read func(*store) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st, release, err := j.use()
	if err != nil {
		return err
	}
	err = read(st)
	release() // not held while waiting: the store may be lost meanwhile
	if err != nil {
		return err
	}
	return j.barrier(ctx, st)
}

func (s *store) webhooks(lower, upper []byte, limit int, backwards bool) (all []*journalv1.Webhook, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	first, next := it.First, it.Next
	if backwards {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok && len(all) < limit; ok = next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		w, err := decodeWebhook(v)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, it.Error()
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
