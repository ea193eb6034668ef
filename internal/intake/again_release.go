package intake

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// ReleaseOptions say how to release a webhook.
type ReleaseOptions struct {
	// Event, if set, is the vendor's event that the webhook is taken for, whatever it says. The connector must have it.
	Event string
	// DryRun changes nothing. That a webhook is a duplicate then does not show.
	DryRun bool
}

// Released is what became of a quarantined webhook.
type Released struct {
	// Outcome is Accepted; Duplicate if the fact was published meanwhile; or Quarantined, as it was, for the reason that Fault
	// says.
	Outcome Outcome
	// Event is the vendor's name for it.
	Event string
	// Events is how many were published, or would be. None of a duplicate.
	Events int
	// Fault says why it stays in quarantine; or, of an array that was accepted, that some of its webhooks do: [HeldElements].
	Fault *Fault
}

// Release translates a quarantined webhook with today's connector, and publishes what it becomes under the time at which
// it was received. It blocks until that is durable, or ctx ends. w is not changed.
//
// A natural key counts as at receipt: the fact is published once, however often it was sent, before or after, within
// [NaturalWindow]; later it would be published again, under the same ids. Under a content hash, a webhook that was kept apart
// is a fact of its own, so the key is the webhook's. An array that the connector can take apart today is left without
// events; its webhooks become released ones of their own, by the same rules, all at once.
//
// Errors: [journal.ErrNotFound] if it is not in quarantine, or not any more; else [ErrUnavailable].
func (in *Intake) Release(ctx context.Context, src *Source, w *journalv1.Webhook, o ReleaseOptions) (Released, error) {
	if array := storedArray(src, w); array != nil {
		return in.releaseArray(ctx, array, w, o)
	}
	decoded, t, fault := src.translateAgain(w, o.Event)
	r := Released{Outcome: Quarantined, Event: decoded.Event, Fault: fault}
	if fault != nil {
		in.logPanic(src, decoded.Event, fault)
		return r, nil
	}
	r.Outcome, r.Events = Accepted, len(t.Events)
	if o.DryRun {
		return r, nil
	}
	released := proto.CloneOf(w)
	released.VendorEvent = clean(decoded.Event, maxName)
	released.ReleasedAt = timestamppb.Now()
	if decoded.Document != nil { // a typed call's drift showed when it was received
		released.Drift = storedDrift(decoded.Drift)
	}
	fill(t.Events, released)
	id := identify(storedDelivery(src, w, decoded.Event), t.Key)
	id.name(t.Events, w.GetId())
	release := newDraft(src, released, t.Events, id)
	release.entry.Operation = journal.Release
	receipt, err := in.append(ctx, &release)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return Released{}, fmt.Errorf("intake: release: %w", err)
	case err != nil:
		return Released{}, unavailable(err)
	case receipt.Duplicate:
		r.Outcome, r.Events = Duplicate, 0
	case release.revised:
		src.revisions.Inc()
	}
	src.released.Inc()
	return r, nil
}
