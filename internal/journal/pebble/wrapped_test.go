package pebble

import (
	"context"
	"time"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/journaltest"
	"github.com/webhook-bridge/bridge/sinks"
)

// broken is the embedded engine with a fault on purpose. Its functions take the place of the engine's where they are set.
type broken struct {
	journal.Journal
	// change changes an entry before it is appended.
	change      func(e *journal.Entry)
	append      func(ctx context.Context, e journal.Entry) (journal.Receipt, error)
	appendAll   func(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error)
	discard     func(ctx context.Context, ids []string) (int, error)
	bounds      func() sinks.Bounds
	resolve     func(ctx context.Context, m sinks.Mark) error
	find        func(ctx context.Context, q journal.Query) (journal.Page, error)
	webhook     func(ctx context.Context, id string) (*journalv1.Webhook, error)
	drift       func(ctx context.Context) ([]*journalv1.DriftCount, error)
	claim       func(c journal.Claim) journal.Claim
	replicas    func(r *journal.Replica)
	committedAt func(ctx context.Context, p sinks.Position) (time.Time, error)
}

func (b *broken) Append(ctx context.Context, e journal.Entry) (journal.Receipt, error) {
	if b.change != nil {
		b.change(&e)
	}
	if b.append != nil {
		return b.append(ctx, e)
	}
	return b.Journal.Append(ctx, e)
}

func (b *broken) AppendAll(ctx context.Context, entries []journal.Entry) ([]journal.Receipt, error) {
	if b.change != nil {
		for i := range entries {
			b.change(&entries[i])
		}
	}
	if b.appendAll != nil {
		return b.appendAll(ctx, entries)
	}
	return b.Journal.AppendAll(ctx, entries)
}

func (b *broken) Discard(ctx context.Context, ids []string) (int, error) {
	if b.discard != nil {
		return b.discard(ctx, ids)
	}
	return b.Journal.Discard(ctx, ids)
}

func (b *broken) Bounds() sinks.Bounds {
	if b.bounds != nil {
		return b.bounds()
	}
	return b.Journal.Bounds()
}

func (b *broken) Resolve(ctx context.Context, m sinks.Mark) error {
	if b.resolve != nil {
		return b.resolve(ctx, m)
	}
	return b.Journal.Resolve(ctx, m)
}

func (b *broken) Find(ctx context.Context, q journal.Query) (journal.Page, error) {
	if b.find != nil {
		return b.find(ctx, q)
	}
	return b.Journal.Find(ctx, q)
}

func (b *broken) Webhook(ctx context.Context, id string) (*journalv1.Webhook, error) {
	if b.webhook != nil {
		return b.webhook(ctx, id)
	}
	return b.Journal.Webhook(ctx, id)
}

func (b *broken) Drift(ctx context.Context) ([]*journalv1.DriftCount, error) {
	if b.drift != nil {
		return b.drift(ctx)
	}
	return b.Journal.Drift(ctx)
}

func (b *broken) CommittedAt(ctx context.Context, p sinks.Position) (time.Time, error) {
	if b.committedAt != nil {
		return b.committedAt(ctx, p)
	}
	return b.Journal.CommittedAt(ctx, p)
}

func (b *broken) Claim(ctx context.Context, name string) (journal.Claim, error) {
	c, err := b.Journal.Claim(ctx, name)
	if err == nil && b.claim != nil {
		c = b.claim(c)
	}
	return c, err
}

func (b *broken) Replicas(ctx context.Context) ([]journal.Replica, error) {
	all, err := b.Journal.Replicas(ctx)
	if b.replicas != nil {
		for i := range all {
			b.replicas(&all[i])
		}
	}
	return all, err
}

// wrap breaks all journals of a harness.
func wrap(h journaltest.Harness, fault func(b *broken)) journaltest.Harness {
	one := func(j journal.Journal) journal.Journal {
		b := &broken{Journal: j}
		fault(b)
		return b
	}
	all := func(js []journal.Journal) (wrapped []journal.Journal) {
		for _, j := range js {
			wrapped = append(wrapped, one(j))
		}
		return wrapped
	}
	reopen, crash, backup := h.Reopen, h.Crash, h.Backup
	h.Instances = all(h.Instances)
	h.Reopen = func(i int) journal.Journal { return one(reopen(i)) }
	h.Crash = func(n int, during func()) []journal.Journal { return all(crash(n, during)) }
	h.Backup = func(j journal.Journal) func() journal.Journal {
		b, ok := j.(*broken)
		if !ok {
			panic("a journal that is not broken")
		}
		restore := backup(b.Journal)
		return func() journal.Journal { return one(restore()) }
	}
	return h
}
