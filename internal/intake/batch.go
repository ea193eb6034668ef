package intake

import (
	"context"
	"errors"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
)

// Batch collects webhooks that came in one body, to be made durable at once. The zero value is empty. It is not safe for
// concurrent use.
type Batch struct {
	drafts []draft
	events int
}

func (b *Batch) add(w draft) {
	b.drafts = append(b.drafts, w)
	b.events += len(w.events)
}

// Events is how many events the webhooks have made so far.
func (b *Batch) Events() int { return b.events }

// maxRevisions is how often a batch is appended again because some of its keys are taken by other bodies, or some of its
// events cannot be encoded. Once is enough, unless others take the same keys at the same time.
const maxRevisions = 8

// Commit makes all webhooks of a batch durable, or none. Each is accepted, quarantined or a duplicate by itself, also of
// another in the batch. It blocks until they are durable, or ctx ends; errors are [ErrUnavailable]. The batch is not to be used
// again.
func (in *Intake) Commit(ctx context.Context, b *Batch) error {
	_, err := in.commitBatch(ctx, b)
	return err
}

// commitBatch returns how many events were added.
func (in *Intake) commitBatch(ctx context.Context, b *Batch) (events int, err error) {
	for i := range b.drafts {
		b.drafts[i].unencodable()
	}
	receipts, err := in.journal.AppendAll(ctx, b.entries())
	for range maxRevisions {
		if !b.amend(err) {
			break
		}
		receipts, err = in.journal.AppendAll(ctx, b.entries())
	}
	if err != nil {
		return 0, unavailable(err)
	}
	for i := range b.drafts {
		if in.settle(&b.drafts[i], receipts[i]) == Accepted {
			events += len(b.drafts[i].events)
		}
	}
	return events, nil
}

func (b *Batch) entries() []journal.Entry {
	entries := make([]journal.Entry, len(b.drafts))
	for i := range b.drafts {
		entries[i] = b.drafts[i].encode()
	}
	return entries
}

// amend changes the drafts for which the journal refused the batch. It returns false if there are none.
func (b *Batch) amend(err error) (changed bool) {
	var revised *pebble.RevisedError
	if !errors.As(err, &revised) {
		return false
	}
	for _, i := range revised.Entries {
		b.drafts[i].revise()
	}
	return true
}

// held is how many of the webhooks go into quarantine.
func (b *Batch) held() (n int) {
	for i := range b.drafts {
		if b.drafts[i].fault != nil {
			n++
		}
	}
	return n
}
