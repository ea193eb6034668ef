package intake

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// UnknownEvent is the fault of a stored webhook that is to be taken for an event which today's connector does not have. It
// is never stored.
const UnknownEvent Reason = "unknown_event"

// Decoded is what today's connector reads in a stored webhook.
type Decoded struct {
	// Event is the vendor's name for it.
	Event string
	// Document is the JSON that was read; nil if the webhook is no JSON. It may share the stored body.
	Document []byte
	// Message is the request message of the event's RPC; nil if nobody modelled the event.
	Message proto.Message
	// Drift is how the document differs from it.
	Drift []vendorjson.Drift
}

// Event returns the event of this name, if somebody modelled it.
func (s *Source) Event(name string) (connectors.Event, bool) {
	events, err := s.events()
	if err != nil {
		return connectors.Event{}, false
	}
	e, known := events[name]
	return e, known
}

// Decode reads a stored webhook with today's connector: as the event named, or, where that is empty, as the event it names
// itself. With a fault, what it returns is what could be read. It changes nothing.
func (s *Source) Decode(w *journalv1.Webhook, event string) (d Decoded, fault *Fault) {
	defer func() {
		if p := recover(); p != nil {
			fault = newPanic(p, debug.Stack())
		}
	}()
	events, err := s.events()
	if err != nil {
		return d, NewFault(BadEvents, err)
	}
	if _, known := events[event]; event != "" && !known {
		return Decoded{Event: event}, NewFault(UnknownEvent, errors.New("the connector has no such event"))
	}
	d.Event = event
	switch w.GetEncoding() {
	case journalv1.Encoding_ENCODING_JSON, journalv1.Encoding_ENCODING_FORM:
		return s.decodeText(w, d, events)
	case journalv1.Encoding_ENCODING_PROTOBUF:
		if d.Event == "" {
			d.Event = w.GetVendorEvent()
		}
		e, known := events[d.Event]
		if !known {
			return d, NewFault(UnknownEvent, errors.New("the connector has no such event, and only its message could say what a typed call means"))
		}
		m := e.New()
		if err := proto.Unmarshal(w.GetBody(), m); err != nil {
			return d, NewFault(Shape, errors.New("the typed call does not fit the event's message"))
		}
		d.Message = m
		return d, nil
	default:
		d.Event = w.GetVendorEvent()
		return d, storedFault(w)
	}
}

// decodeText reads a webhook that is JSON, or a form that holds it.
func (s *Source) decodeText(w *journalv1.Webhook, d Decoded, events map[string]connectors.Event) (Decoded, *Fault) {
	var fault *Fault
	if d.Document, fault = Document(s.Connector, w.GetEncoding(), w.GetBody()); fault != nil {
		return d, fault
	}
	if d.Event == "" {
		if d.Event, fault = s.nameOf(w, d.Document); fault != nil {
			return d, fault
		}
	}
	e, known := events[d.Event]
	if !known {
		return d, nil
	}
	m := e.New()
	drift, err := vendorjson.Unmarshal(d.Document, m)
	if err != nil {
		return d, NewFault(Malformed, err)
	}
	d.Message, d.Drift = m, drift
	return d, nil
}

// nameOf finds the event's name as at receipt. What became events keeps the name that it was given then.
func (s *Source) nameOf(w *journalv1.Webhook, document []byte) (string, *Fault) {
	if w.GetQuarantine() == nil || w.GetReleasedAt() != nil {
		return w.GetVendorEvent(), nil
	}
	named := Names{Path: w.GetPathEvent(), Header: HeaderOf(w.GetHeaders(), s.Connector.EventHeader)}
	name, fault := EventName(s.Connector, named, document)
	if fault != nil && fault.Reason == NoEvent && w.GetVendorEvent() != "" {
		// Kept by a version that did not keep the URL's name.
		return w.GetVendorEvent(), nil
	}
	if name == "" {
		name = w.GetVendorEvent()
	}
	return name, fault
}

// translateAgain is all that is done to a stored webhook before it is made durable.
func (s *Source) translateAgain(w *journalv1.Webhook, event string) (Decoded, connectors.Translation, *Fault) {
	d, fault := s.Decode(w, event)
	if fault != nil {
		return d, connectors.Translation{}, fault
	}
	var t connectors.Translation
	if d.Message != nil {
		t, fault = Translate(&s.SourceConfig, d.Event, d.Message)
	} else {
		t, fault = TranslateUnmapped(&s.SourceConfig, d.Event, d.Document)
	}
	return d, t, fault
}

// storedFault is the fault that a webhook was quarantined with.
func storedFault(w *journalv1.Webhook) *Fault {
	q := w.GetQuarantine()
	return &Fault{Reason: Reason(q.GetReason()), Problem: q.GetDetail(), Path: q.GetPath(), Offset: q.GetOffset()}
}

// ReleaseOptions say how to release a webhook.
type ReleaseOptions struct {
	// Event, if set, is the vendor's event that the webhook is taken for, whatever it says. The connector must have it.
	Event string
	// DryRun changes nothing. That a webhook is a duplicate then does not show.
	DryRun bool
}

// Released is what became of a quarantined webhook.
type Released struct {
	// Outcome is Accepted; Duplicate if the fact was published meanwhile; or Quarantined, as it was, if there is a Fault.
	Outcome Outcome
	// Event is the vendor's name for it.
	Event string
	// Events is how many were published, or would be. None of a duplicate.
	Events int
	// Fault says why it stays in quarantine.
	Fault *Fault
}

// Release translates a quarantined webhook with today's connector, and publishes what it becomes under the time at which
// it was received. It blocks until that is durable, or ctx ends. w is not changed.
//
// A natural key counts as at receipt: the fact is published once, however often it was sent, before or after. Under a
// content hash, a webhook that was kept apart is a fact of its own, so the key is the webhook's. An array that the connector
// can take apart today is left without events; its webhooks are taken in, at once, as they would have been at receipt.
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
	released.Drift = storedDrift(decoded.Drift)
	fill(t.Events, released)
	id := identifyStored(storedDelivery(src, w, decoded.Event), t.Key, w.GetId())
	id.name(t.Events, w.GetId())
	release := draft{source: src, entry: entryOf(released, t.Events, id), id: id}
	release.entry.Act = journal.Release
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

// storedDelivery is a stored webhook as it was delivered.
func storedDelivery(src *Source, w *journalv1.Webhook, event string) *Delivery {
	return &Delivery{
		Source:     src,
		Event:      event,
		PathEvent:  w.GetPathEvent(),
		Element:    int(w.GetElement()),
		ReceivedAt: w.GetReceivedAt().AsTime(),
		Headers:    w.GetHeaders(),
		Body:       w.GetBody(),
		Encoding:   w.GetEncoding(),
	}
}

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
	entry := journal.Entry{Act: journal.Correct, Webhook: w, Window: NaturalWindow}
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
		entry.Events = append(entry.Events, c.Made)
	}
	if dryRun || len(entry.Events) == 0 {
		return r, nil
	}
	entry.Key = correctionKey(d, w.GetId(), entry.Events)
	entry.Body = entry.Key
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

// logPanic logs the stack of a fault that is a panic's.
func (in *Intake) logPanic(src *Source, event string, f *Fault) {
	if f.stack != nil {
		in.log.Error("connector panicked", "source", src.Info.Name, "event", clean(event, maxName),
			"problem", f.Problem, "stack", string(f.stack))
	}
}
