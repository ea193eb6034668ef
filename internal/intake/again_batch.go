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

// storedArray returns a stored webhook's delivery if it is an array that could not be taken apart when it came, and that today's
// connector may take apart. Else it is nil.
func storedArray(src *Source, w *journalv1.Webhook) *Delivery {
	e := w.GetEncoding()
	text := e == journalv1.Encoding_ENCODING_JSON || e == journalv1.Encoding_ENCODING_FORM
	if !text || !src.Connector.Batches || w.GetElement() != 0 {
		return nil
	}
	document, fault := Document(src.Connector, e, w.GetBody())
	if fault != nil || !IsList(document) {
		return nil
	}
	d := storedDelivery(src, w, w.GetVendorEvent())
	d.Text = document
	return d
}

// releaseArray takes an array out of quarantine, whose webhooks then stand by themselves: each is accepted, quarantined or a
// duplicate. All that becomes durable at once.
func (in *Intake) releaseArray(
	ctx context.Context, array *Delivery, w *journalv1.Webhook, o ReleaseOptions,
) (Released, error) {
	src := array.Source
	r := Released{Outcome: Quarantined, Event: array.Event}
	var elements []Element
	if elements, r.Fault = array.Elements(); r.Fault != nil {
		return r, nil //nolint:nilerr // the fault is the answer
	}
	released := proto.CloneOf(w)
	released.ReleasedAt = timestamppb.Now()
	id := identity{key: hash(scoped(keyReleased, array, array.stored)), body: hash(w.GetBody()), window: src.Window}
	whole := newDraft(src, released, nil, id)
	whole.entry.Operation = journal.Release
	var batch Batch
	batch.add(whole)
	for i, e := range elements {
		d := *array
		d.Body, d.Text, d.Encoding, d.Element, d.Batch = e.Body, e.Text, journalv1.Encoding_ENCODING_JSON, i+1, &batch
		d.array, d.stored = released, fmt.Sprintf("%s[%d]", w.GetId(), i)
		if err := in.addElement(ctx, &d, o.Event); err != nil {
			return Released{}, err
		}
		if batch.Events() > MaxEvents {
			r.Fault = NewFault(TooManyEvents, fmt.Errorf("the array's webhooks make more than %d events", MaxEvents))
			return r, nil
		}
	}
	if n := batch.held(); n > 0 {
		r.Fault = NewFault(HeldElements, fmt.Errorf("%d of the array's %d webhooks stay in quarantine", n, len(elements)))
	}
	r.Outcome, r.Events = Accepted, batch.Events()
	if o.DryRun {
		return r, nil
	}
	var err error
	switch r.Events, err = in.commitBatch(ctx, &batch); {
	case errors.Is(err, journal.ErrNotFound):
		return Released{}, fmt.Errorf("intake: release: %w", err)
	case err != nil:
		return Released{}, err
	}
	src.released.Inc()
	return r, nil
}

// addElement adds an array's webhook to its batch: translated, or with the reason why it is not. It is never refused: the
// array has been taken in.
func (in *Intake) addElement(ctx context.Context, d *Delivery, event string) error {
	decoded, t, fault := d.Source.translateAgain(&journalv1.Webhook{
		Body: d.Text, Encoding: d.Encoding, Headers: d.Headers, PathEvent: d.PathEvent, Quarantine: &journalv1.Quarantine{},
	}, event)
	d.Event = decoded.Event
	var err error
	if fault == nil {
		_, err = in.commit(ctx, d, t, decoded.Drift)
	} else {
		in.logPanic(d.Source, d.Event, fault)
		_, err = in.keep(ctx, d, fault, decoded.Drift)
	}
	return err
}
