package journal

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
)

// locate finds the webhook that an entry is of, by asking Pebble: what comes here is rare. An entry that discards gets its
// verdict: fresh if the webhook is in quarantine. Errors: ErrNotFound, ErrUnavailable.
func (c *committer) locate(p *pending) error {
	held, released, err := c.quarantined(p.id)
	if err != nil {
		return fmt.Errorf("%w: webhook: %w", ErrUnavailable, err)
	}
	switch p.act {
	case discard:
		p.verdict = duplicate
		if held {
			p.verdict = fresh
		}
		return nil
	case Release:
		if !held {
			return ErrNotFound
		}
		return nil
	default:
		if p.prefix = prefixQuarantine; released {
			return nil
		}
		p.prefix = prefixWebhook
		return c.st.has(webhookKey(prefixWebhook, p.id))
	}
}

// quarantined looks for a webhook among the quarantined: whether it is held there, or was released.
func (c *committer) quarantined(id uuid.UUID) (held, released bool, err error) {
	v, closer, err := c.st.db.Get(webhookKey(prefixQuarantine, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	w, err := decodeWebhook(v)
	if err := errors.Join(err, closer.Close()); err != nil {
		return false, false, err
	}
	_, left := c.left[id]
	released = w.GetReleasedAt() != nil
	return !released && !left, released, nil
}

// has returns nil if there is such a webhook. Errors: ErrNotFound, ErrUnavailable.
func (s *store) has(webhook []byte) error {
	_, closer, err := s.db.Get(webhook)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("%w: webhook: %w", ErrUnavailable, err)
	}
	return closer.Close()
}
