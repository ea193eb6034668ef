package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Receive reads a delivery and commits what it becomes: one webhook, or each of an array. It blocks until that is durable, or
// ctx ends. Where the source rejects what cannot be read, one such webhook has the whole delivery rejected, and the error is
// its [*Fault]. Other errors are those of [Intake.Commit]. Nothing of the delivery is used afterwards.
func (in *Intake) Receive(ctx context.Context, d *Delivery) error {
	s := d.Source
	document, fault := s.document(d)
	if fault == nil && s.splits(d, document) {
		reading := d.Span.Child("read array")
		all := s.draftArray(d, document)
		reading.End()
		if err := in.rejected(all...); err != nil {
			return err
		}
		return in.traceCommit(ctx, d.Span, all...)
	}
	r := s.read(d, document, fault)
	draft := drafts.Get().(*Draft).fill(d, &r)
	err := in.rejected(draft)
	if err == nil {
		err = in.traceCommit(ctx, d.Span, draft)
	}
	if p := draft.Ping; p != nil && err == nil {
		d.Ping, d.Challenge = p, challengeOf(p, r.Document)
	}
	draft.release()
	return err
}

// rejected returns why a received delivery is not stored. A webhook that may be fine is not rejected: its sender could do
// nothing about it.
func (in *Intake) rejected(all ...*Draft) error {
	for _, d := range all {
		if d.Fault != nil && d.source.Reject && !d.Fault.Ours() {
			return d.Fault
		}
	}
	return nil
}

// Commit makes drafts durable, all at once or none, and sets their outcomes. It blocks until they are durable, or ctx ends.
// Nothing of the drafts is used by the journal afterwards.
//
// Errors: [journal.ErrNotFound] if a stored webhook is not where its draft needs it; [ErrUnavailable]; and an internal error
// if an entry breaks the journal's rules.
func (in *Intake) Commit(ctx context.Context, all ...*Draft) error {
	var one [1]journal.Receipt
	receipts := one[:]
	var err error
	if len(all) == 1 {
		one[0], err = in.journal.Append(ctx, all[0].entry)
	} else {
		entries := make([]journal.Entry, len(all))
		for i, d := range all {
			entries[i] = d.entry
		}
		receipts, err = in.journal.AppendAll(ctx, entries)
	}
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrUnavailable), errors.Is(err, sinks.ErrClosed), isContext(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		return fmt.Errorf("intake: %w", err)
	}
	for i, d := range all {
		d.Outcome = in.count(d, receipts[i])
	}
	return nil
}

// count counts what has become durable, and returns the outcome.
func (in *Intake) count(d *Draft, r journal.Receipt) Outcome {
	s := d.source
	if d.entry.Operation == journal.Release {
		s.released.Inc()
	}
	received := d.entry.Operation == journal.Receive
	if received && (!r.Duplicate || r.Kept) { // as the journal does: each stored webhook once
		s.drift.count(d.entry.Webhook, d.entry.Webhook.GetDrift())
	} else if !r.Duplicate {
		s.drift.count(d.entry.Webhook, d.entry.NewDrift)
	}
	if d.Ping != nil {
		in.countPing(d, r)
		return Ping
	}
	if r.Duplicate {
		if received {
			s.duplicates.Inc()
		}
		return Duplicate
	}
	if r.Stale > 0 {
		s.stale.Add(float64(r.Stale))
	}
	if r.Revised && d.Fault == nil {
		s.revisions.Inc()
	}
	if d.Fault == nil {
		return Accepted
	}
	in.LogPanic(s, d.Event, d.Fault)
	s.quarantine.Inc()
	s.complaints.Do(func() {
		w := d.entry.Webhook
		what := []any{"source", w.GetSource(), "event", w.GetVendorEvent(), "webhook", w.GetId(), "fault", d.Fault}
		in.log.Warn("quarantined webhook", append(what, traceAttributes(w)...)...)
	})
	return Quarantined
}

// countPing counts a ping, and logs it if it was stored.
func (in *Intake) countPing(d *Draft, r journal.Receipt) {
	d.source.pings[d.Ping.Name].Inc()
	if w := d.entry.Webhook; !r.Duplicate {
		in.log.Info("received a ping", "source", w.GetSource(), "ping", w.GetPing(), "webhook", w.GetId())
	}
}

// isContext reports whether an error is that of a context that ended.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// LogPanic logs the stack, within reason, if a fault is a panic. Commit calls it for drafts that it commits.
func (in *Intake) LogPanic(s *Source, event string, f *Fault) {
	if f == nil || f.stack == nil {
		return
	}
	s.panics.Do(func() {
		in.log.Error("connector panicked", "source", s.Name, "event", clean(event, maxName), "problem", f.Problem, "stack", string(f.stack))
	})
}
