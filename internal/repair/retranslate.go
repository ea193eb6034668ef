package repair

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/sinks"
)

// Change is how one event differs from the one that today's connector makes.
type Change struct {
	// Index of the event among its webhook's, counted from 0.
	Index uint32
	// Published is the event as it counts today: corrected, if it was. Nil if none was made before.
	Published *eventv1.Event
	// Made corrects it, with its id, and says what it supersedes. Nil if no such event is made any more; then nothing is
	// published, and the published event stays.
	Made *eventv1.Event
}

// Retranslated describes the differences between a webhook's events and the events that the connector makes now.
type Retranslated struct {
	// Changes in order of their indexes. Empty if nothing differs.
	Changes []Change
	// Fault says why the webhook cannot be translated today. Nothing is published then.
	Fault *intake.Fault
	// Expired: one of its events is no longer kept, so there is nothing to compare with.
	Expired bool
}

// Retranslates says whether a stored webhook has events to correct.
func Retranslates(w *journalv1.Webhook) bool { return w.GetEventCount() > 0 && !w.GetDuplicate() }

// Retranslate translates a webhook that became events with today's connector, compares the result with the published events,
// and unless it is a dry run publishes corrections, all of a webhook's at once. It blocks until those are durable, or ctx
// ends. w is not changed.
//
// It compares what the connector says: type, subject, its version, time and data. The same corrections are published once,
// however often they are found.
//
// Errors: those of [intake.Intake.Commit]; [journal.ErrNotFound] if the webhook is no longer kept; the journal's.
func (p *Repairer) Retranslate(ctx context.Context, src *intake.Source, w *journalv1.Webhook, dryRun bool) (Retranslated, error) {
	published, err := p.current(ctx, w)
	switch {
	case errors.Is(err, sinks.ErrExpired):
		return Retranslated{Expired: true}, nil
	case err != nil:
		return Retranslated{}, err
	}
	reading := src.Read(src.Redelivery(w, ""))
	if reading.Fault != nil {
		p.intake.LogPanic(src, reading.Event, reading.Fault)
		return Retranslated{Fault: reading.Fault}, nil //nolint:nilerr // the fault is the answer
	}
	r := Retranslated{Changes: compare(published, reading.Translation.Events)}
	var corrections []intake.Correction
	for _, c := range r.Changes {
		if c.Made != nil {
			corrections = append(corrections, intake.Correction{Index: c.Index, Event: c.Made, Supersedes: c.Published.GetId()})
		}
	}
	draft := src.Correct(w, corrections)
	if draft.Fault != nil {
		return Retranslated{Fault: draft.Fault}, nil //nolint:nilerr // the fault is the answer
	}
	if dryRun || len(corrections) == 0 {
		return r, nil
	}
	if err := p.intake.Commit(ctx, draft); err != nil {
		return Retranslated{}, fmt.Errorf("repair: retranslate: %w", err)
	}
	return r, nil
}

// current returns a webhook's events as they count today, by index: the latest corrections in place of the events that they
// correct.
func (p *Repairer) current(ctx context.Context, w *journalv1.Webhook) ([]*eventv1.Event, error) {
	places, err := p.Places(ctx, w)
	if err != nil {
		return nil, err
	}
	var latest []sinks.Position
	for _, at := range places {
		if int(at.Index) >= intake.MaxEvents {
			return nil, errors.New("repair: a correction is of an event that no webhook has")
		}
		for len(latest) <= int(at.Index) {
			latest = append(latest, 0)
		}
		latest[at.Index] = at.Position
	}
	events := make([]*eventv1.Event, 0, len(latest))
	for _, position := range latest {
		e, err := p.journal.EventAt(ctx, position)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// Places returns the positions of a webhook's events, and then those of their corrections.
func (p *Repairer) Places(ctx context.Context, w *journalv1.Webhook) ([]journal.Correction, error) {
	corrections, err := p.journal.Corrections(ctx, w.GetId())
	if err != nil {
		return nil, err
	}
	places := make([]journal.Correction, 0, int(w.GetEventCount())+len(corrections))
	for i := range w.GetEventCount() {
		places = append(places, journal.Correction{Index: i, Position: sinks.Position(w.GetFirstPosition()) + sinks.Position(i)})
	}
	return append(places, corrections...), nil
}

// compare pairs events by their index, and returns the pairs that differ.
func compare(published, made []*eventv1.Event) []Change {
	var changes []Change
	for i := range max(len(published), len(made)) {
		c := Change{Index: uint32(i)}
		if i < len(published) {
			c.Published = published[i]
		}
		if i < len(made) {
			c.Made = intake.Canonical(made[i]) // [intake.Source.Correct] sets its other fields
		}
		if c.Published == nil || c.Made == nil || !proto.Equal(intake.Canonical(c.Published), c.Made) {
			changes = append(changes, c)
		}
	}
	return changes
}
