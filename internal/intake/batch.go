package intake

import (
	"context"
	"errors"

	"github.com/webhook-bridge/bridge/internal/journal"
)

// Batch collects webhooks that came in one body, to be made durable at once. The zero value is empty. It is not safe for
// concurrent use.
type Batch struct {
	drafts []draft
	events int
}

func (b *Batch) add(w draft) {
	b.drafts = append(b.drafts, w)
	b.events += len(w.entry.Events)
}

// Events is how many events the webhooks have made so far.
func (b *Batch) Events() int { return b.events }

// maxRevisions is how often a batch is appended again because some of its keys are taken by other bodies. Once is enough,
// unless others take the same keys at the same time.
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
	entries := make([]journal.Entry, len(b.drafts))
	for i := range b.drafts {
		entries[i] = b.drafts[i].entry
	}
	receipts, err := in.journal.AppendAll(ctx, entries)
	for range maxRevisions {
		var revised *journal.RevisedError
		if !errors.As(err, &revised) {
			break
		}
		for _, i := range revised.Entries {
			b.drafts[i].revise()
			entries[i] = b.drafts[i].entry
		}
		receipts, err = in.journal.AppendAll(ctx, entries)
	}
	if err != nil {
		return 0, unavailable(err)
	}
	for i := range b.drafts {
		if in.settle(&b.drafts[i], receipts[i]) == Accepted {
			events += len(b.drafts[i].entry.Events)
		}
	}
	return events, nil
}
