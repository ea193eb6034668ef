package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/journal/pebble"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// draft is a webhook on its way into the journal.
type draft struct {
	source *Source
	entry  journal.Entry
	events []*eventv1.Event
	id     identity
	// fault is why it is quarantined; nil if it is not.
	fault *Fault
	// revised: the key was taken by another body, so that it has one of its own.
	revised bool
}

// commit makes a translated webhook durable.
func (in *Intake) commit(ctx context.Context, d *Delivery, t connectors.Translation, drift []vendorjson.Drift) (Outcome, error) {
	w, err := newWebhook(d, drift)
	if err != nil {
		return 0, err
	}
	id := identify(d, t.Key)
	if d.array != nil {
		w.Quarantine, w.ReleasedAt = d.array.GetQuarantine(), d.array.GetReleasedAt()
	}
	fill(t.Events, w)
	id.name(t.Events, w.GetId())
	return in.put(ctx, d.Batch, newDraft(d.Source, w, t.Events, id))
}

// setAside makes a webhook durable without events, or returns the fault where the source refuses such webhooks. One that may
// be fine is not refused: its sender could do nothing about it.
func (in *Intake) setAside(ctx context.Context, d *Delivery, f *Fault, drift []vendorjson.Drift) (Outcome, error) {
	in.logPanic(d.Source, d.Event, f)
	if d.Source.Reject && !f.Ours() {
		return 0, f
	}
	return in.keep(ctx, d, f, drift)
}

// keep puts a webhook into quarantine.
func (in *Intake) keep(ctx context.Context, d *Delivery, f *Fault, drift []vendorjson.Drift) (Outcome, error) {
	w, err := newWebhook(d, drift)
	if err != nil {
		return 0, err
	}
	held := draft{source: d.Source}
	held.hold(w, d, f)
	return in.put(ctx, d.Batch, held)
}

// hold makes the draft that of a webhook in quarantine.
func (w *draft) hold(webhook *journalv1.Webhook, d *Delivery, f *Fault) {
	webhook.Quarantine = f.quarantine()
	w.id, w.fault = identifyQuarantined(d), f
	*w = *setEntry(w, webhook, nil)
}

// unencodable holds a draft whose events the journal cannot write down, and says whether it is such a one.
func (w *draft) unencodable() bool {
	f := encodable(w.events)
	if f == nil {
		return false
	}
	d := storedDelivery(w.source, w.entry.Webhook, w.entry.Webhook.GetVendorEvent())
	d.stored = "" // it is being received
	w.hold(w.entry.Webhook, d, f)
	return true
}

func newDraft(src *Source, w *journalv1.Webhook, events []*eventv1.Event, id identity) draft {
	return *setEntry(&draft{source: src, id: id}, w, events)
}

func setEntry(d *draft, w *journalv1.Webhook, events []*eventv1.Event) *draft {
	d.events = events
	d.entry = journal.Entry{Webhook: w, Keys: []journal.Key{{Hash: d.id.key, Window: d.id.window}}, Bytes: d.id.body}
	return d
}

// encode writes the events down. It is called once their ids are final.
func (w *draft) encode() journal.Entry {
	w.entry.Events = w.entry.Events[:0]
	for _, e := range w.events {
		encoded, _ := proto.Marshal(e) // checked before
		w.entry.Events = append(w.entry.Events, encoded)
	}
	return w.entry
}

// put makes a draft durable, or a part of a batch.
func (in *Intake) put(ctx context.Context, batch *Batch, w draft) (Outcome, error) {
	if batch != nil {
		batch.add(w)
		return Collected, nil
	}
	w.unencodable()
	r, err := in.append(ctx, &w)
	if err != nil {
		return 0, unavailable(err)
	}
	return in.settle(&w, r), nil
}

// append makes a draft durable, as a revision where its key is taken by another body.
func (in *Intake) append(ctx context.Context, w *draft) (journal.Receipt, error) {
	r, err := in.journal.Append(ctx, w.encode())
	if errors.Is(err, pebble.ErrRevised) {
		w.revise()
		r, err = in.journal.Append(ctx, w.encode())
	}
	return r, err
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// revise gives a draft whose key is taken by another body a key of its own, and its events the ids that go with it.
func (w *draft) revise() {
	w.id, w.revised = w.id.revised(), true
	w.id.name(w.events, w.entry.Webhook.GetId())
	w.entry.Keys[0].Hash = w.id.key
}

// settle counts what has become durable.
func (in *Intake) settle(w *draft, r journal.Receipt) Outcome {
	if r.Duplicate {
		w.source.duplicates.Inc()
		return Duplicate
	}
	w.source.drift.count(w.entry.Webhook)
	if w.revised || r.Revised {
		w.source.revisions.Inc()
	}
	if w.fault == nil {
		return Accepted
	}
	w.source.quarantine.Inc()
	w.source.complaints.Do(func() {
		in.log.Warn("quarantined webhook", "source", w.entry.Webhook.GetSource(), "event", w.entry.Webhook.GetVendorEvent(),
			"webhook", w.entry.Webhook.GetId(), "fault", w.fault)
	})
	return Quarantined
}

// newWebhook is what is stored of a delivery. It shares the delivery's memory.
func newWebhook(d *Delivery, drift []vendorjson.Drift) (*journalv1.Webhook, error) {
	id, err := d.newID()
	if err != nil {
		return nil, unavailable(fmt.Errorf("webhook id: %w", err))
	}
	w := &journalv1.Webhook{
		Id:          id.String(),
		Source:      d.Source.Name,
		Connector:   d.Source.Connector.Name,
		VendorEvent: clean(d.Event, maxName),
		PathEvent:   clean(d.PathEvent, 2*maxName), // still too long for a name if it was
		ReceivedAt:  timestamppb.New(d.ReceivedAt),
		Encoding:    d.Encoding,
		Body:        d.Body,
		Headers:     d.Headers,
		Element:     uint32(d.Element),
	}
	w.Drift = storedDrift(drift)
	return w, nil
}

func (d *Delivery) newID() (uuid.UUID, error) {
	if d.array != nil {
		return elementID(d.array.GetId(), d.Element)
	}
	return uuid.NewV7()
}

// storedDrift is the drift that is stored, counted and shown. Nothing in it is personal, since counts are kept for ever; and
// where a vendor uses addresses for names, those are one difference and not one each.
func storedDrift(drift []vendorjson.Drift) []*journalv1.Drift {
	var stored []*journalv1.Drift
	for _, x := range drift {
		kind, path := driftKind(x.Kind), mask.Path(x.Path)
		known := func(d *journalv1.Drift) bool { return d.GetKind() == kind && d.GetPath() == path }
		if !slices.ContainsFunc(stored, known) {
			stored = append(stored, &journalv1.Drift{Kind: kind, Path: path, Sample: []byte(mask.Shape(x.Sample))})
		}
	}
	return stored
}

// fill completes what the connector left to us, but for the ids.
func fill(events []*eventv1.Event, w *journalv1.Webhook) {
	for _, e := range events {
		e.Source = w.GetSource()
		e.Connector = w.GetConnector()
		e.VendorEvent = w.GetVendorEvent()
		e.ReceivedAt = w.GetReceivedAt()
		e.WebhookId = w.GetId()
	}
}

func driftKind(k vendorjson.Kind) journalv1.DriftKind {
	switch k {
	case vendorjson.Unknown:
		return journalv1.DriftKind_DRIFT_KIND_UNKNOWN
	case vendorjson.Type:
		return journalv1.DriftKind_DRIFT_KIND_TYPE
	case vendorjson.Missing:
		return journalv1.DriftKind_DRIFT_KIND_MISSING
	}
	return journalv1.DriftKind_DRIFT_KIND_UNSPECIFIED
}

// clean makes a string of a sender's fit to be stored: valid UTF-8 of at most limit bytes.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
