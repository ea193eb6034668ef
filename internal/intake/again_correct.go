package intake

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// Change is how one event differs from what today's connector makes.
type Change struct {
	// Index of the event among its webhook's, counted from 0.
	Index uint32
	// Published is the event as it counts today: corrected, if it was. nil if none was made before.
	Published *eventv1.Event
	// Made is what corrects it, with its id, and what it supersedes. nil if no such event is made any more; then nothing is
	// published, and what is published stays.
	Made *eventv1.Event
}

// Retranslated is how a webhook's events differ from what today's connector makes.
type Retranslated struct {
	// Changes in order of their indexes. Empty if nothing differs.
	Changes []Change
	// Fault says why the webhook cannot be translated today. Nothing is published then.
	Fault *Fault
}

// Retranslate translates a webhook that became events with today's connector, compares the result with the events
// published, and unless it is a dry run publishes corrections, all of a webhook's at once. It blocks until those are
// durable, or ctx ends. Neither w nor published is changed.
//
// published are the webhook's events as they count today, by index, the corrected ones in place of the first. Compared is
// what the connector says: type, subject, its version, time and data. Ids follow from what is superseded and what is
// made, so that the same corrections are published once, whoever finds them however often.
//
// Errors: [journal.ErrNotFound] if the webhook is no longer kept; else [ErrUnavailable].
func (in *Intake) Retranslate(
	ctx context.Context, src *Source, w *journalv1.Webhook, published []*eventv1.Event, dryRun bool,
) (Retranslated, error) {
	decoded, t, fault := src.translateAgain(w, "")
	if fault != nil {
		in.logPanic(src, decoded.Event, fault)
		return Retranslated{Fault: fault}, nil
	}
	fill(t.Events, w)
	r := Retranslated{Changes: compare(published, t.Events)}
	entry := journal.Entry{Operation: journal.Correct, Webhook: w}
	var made []*eventv1.Event
	d := storedDelivery(src, w, decoded.Event)
	for i := range r.Changes {
		c := &r.Changes[i]
		if c.Made == nil {
			continue
		}
		if c.Published != nil {
			c.Made.Supersedes = c.Published.GetId()
			c.Made.Id = correctionID(c.Made)
		} else {
			c.Made.Id = additionID(d, t.Key, w.GetId(), published, c.Index)
		}
		entry.Indexes = append(entry.Indexes, c.Index)
		encoded, err := proto.Marshal(c.Made)
		if err != nil {
			return Retranslated{Fault: NewFault(BadEvents, err)}, nil
		}
		made = append(made, c.Made)
		entry.Events = append(entry.Events, encoded)
	}
	if dryRun || len(entry.Events) == 0 {
		return r, nil
	}
	entry.Bytes = correctionKey(d, w.GetId(), made)
	entry.Keys = []journal.Key{{Hash: entry.Bytes, Window: NaturalWindow}}
	switch _, err := in.journal.Append(ctx, entry); {
	case errors.Is(err, journal.ErrNotFound):
		return Retranslated{}, fmt.Errorf("intake: retranslate: %w", err)
	case err != nil:
		return Retranslated{}, unavailable(err)
	}
	return r, nil
}

// compare pairs events by their index.
func compare(published, made []*eventv1.Event) []Change {
	var changes []Change
	for i := range max(len(published), len(made)) {
		c := Change{Index: uint32(i)}
		if i < len(published) {
			c.Published = published[i]
		}
		if i < len(made) {
			c.Made = made[i]
		}
		if c.Published == nil || c.Made == nil || !proto.Equal(Canonical(c.Published), Canonical(c.Made)) {
			changes = append(changes, c)
		}
	}
	return changes
}

// Canonical is the part of an event that its connector made: what happened, without ids and what is known of the webhook.
// It shares the event's data.
func Canonical(e *eventv1.Event) *eventv1.Event {
	return &eventv1.Event{
		Type:           e.GetType(),
		Subject:        e.GetSubject(),
		SubjectVersion: e.GetSubjectVersion(),
		OccurredAt:     e.GetOccurredAt(),
		Data:           e.GetData(),
	}
}
