package pebble

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
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
	released, err = wasReleased(v)
	if err := errors.Join(err, closer.Close()); err != nil {
		return false, false, err
	}
	_, left := c.left[id]
	return !released && !left, released, nil
}

// releasedAt is the field that tells a released webhook.
var releasedAt = (*journalv1.Webhook)(nil).ProtoReflect().Descriptor().Fields().ByName("released_at").Number()

// wasReleased reads that of a stored webhook and nothing else: the committer has no time to decode it.
func wasReleased(v []byte) (bool, error) {
	if len(v) < webhookHeaderLen {
		return false, errCorrupt
	}
	for v = v[webhookHeaderLen:]; len(v) > 0; {
		number, _, n := protowire.ConsumeField(v)
		if n < 0 {
			return false, errCorrupt
		}
		if number == releasedAt {
			return true, nil
		}
		v = v[n:]
	}
	return false, nil
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
