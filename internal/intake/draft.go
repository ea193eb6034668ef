package intake

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
	"github.com/webhook-bridge/bridge/internal/mask"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

// Draft is a webhook with everything that becomes durable with it. It shares the delivery's memory.
type Draft struct {
	// Event is the vendor's name for it.
	Event string
	// Fault is why it goes to quarantine, or stays there. Nil if it made events, or is a ping.
	Fault *Fault
	// Ping is which ping it is. Nil if it is none.
	Ping *connectors.Ping
	// Outcome is set by [Intake.Commit].
	Outcome Outcome

	source *Source
	scope  scope
	entry  journal.Entry

	// Memory of the entry.
	webhook    journalv1.Webhook
	receivedAt timestamppb.Timestamp
	keyMemory  [4]journal.Key
	keys       []journal.Key
	encoded    []byte
	versions   []journal.Version
}

// scratch is memory for canonical encodings.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// drafts are reused, since most webhooks come alone.
var drafts = sync.Pool{New: func() any { return new(Draft) }}

// pooledDraft is how much memory of a draft is kept for later, in bytes.
const pooledDraft = 64 << 10

// release gives the draft's memory back. Nothing may use the draft any more, nor its entry.
func (d *Draft) release() {
	if cap(d.encoded) > pooledDraft || cap(d.entry.Events) > 64 {
		return
	}
	d.webhook.Reset()
	d.receivedAt.Reset()
	d.Event, d.Fault, d.Ping, d.Outcome, d.source, d.scope = "", nil, nil, 0, nil, scope{}
	clear(d.entry.Events)
	clear(d.versions)
	d.versions = d.versions[:0]
	d.entry = journal.Entry{Events: d.entry.Events[:0]}
	drafts.Put(d)
}

// Events is how many events it adds, unless it is a duplicate.
func (d *Draft) Events() int { return len(d.entry.Events) }

// Drafts drafts what a delivery becomes: one webhook, or each of an array. A stored array comes first itself, without events.
// An array that cannot be split, or whose webhooks make too many events, is one draft with a fault.
func (s *Source) Drafts(d *Delivery) []*Draft {
	document, fault := s.document(d)
	if fault == nil && s.splits(d, document) {
		return s.draftArray(d, document)
	}
	r := s.read(d, document, fault)
	return []*Draft{s.Draft(d, &r)}
}

// Draft drafts a delivery as the one webhook that it was read as.
func (*Source) Draft(d *Delivery, r *Reading) *Draft { return new(Draft).fill(d, r) }

// draftArray drafts an array whose document is found.
func (s *Source) draftArray(d *Delivery, document []byte) (all []*Draft) {
	var fault *Fault
	if panicked := guard(func() { all, fault = s.draftElements(d, document) }); panicked != nil {
		fault = panicked
	}
	if fault == nil {
		return all
	}
	r := s.read(d, document, fault)
	return []*Draft{s.Draft(d, &r)}
}

func (s *Source) draftElements(array *Delivery, document []byte) ([]*Draft, *Fault) {
	elements, fault := array.split(document)
	if fault != nil {
		return nil, fault
	}
	all := make([]*Draft, 0, len(elements)+1)
	if array.Stored != nil {
		all = append(all, new(Draft).releaseArray(array))
	}
	memory, events, values := make([]Draft, len(elements)), 0, 0
	for i := range elements {
		e := &elements[i]
		r := s.Read(e)
		if values += valuesOf(&r, document); values > vendorjson.MaxValues {
			return nil, NewFault(Limit, fmt.Errorf("the array's webhooks have more than %d values that are declared", vendorjson.MaxValues))
		}
		draft := memory[i].fill(e, &r)
		if events += draft.Events(); events > MaxEvents {
			return nil, NewFault(TooManyEvents, fmt.Errorf("the array's webhooks make more than %d events", MaxEvents))
		}
		all = append(all, draft)
	}
	return all, nil
}

// valuesOf counts the declared values of an array's webhook, because their number bounds the memory of the array's events. An
// array that is too short for too many has none to count.
func valuesOf(r *Reading, array []byte) int {
	if r.Message == nil || len(array) < 2*vendorjson.MaxValues {
		return 0
	}
	return vendorjson.Values(r.Message, vendorjson.MaxValues)
}

// fill drafts a delivery as one webhook. The draft must be empty.
func (d *Draft) fill(delivery *Delivery, r *Reading) *Draft {
	d.source, d.Event, d.Fault = delivery.Source, r.Event, r.Fault
	d.scope = scope{source: d.source.Name, event: r.Event}
	d.entry.Bytes = digest(delivery.Body)
	panicked := guard(func() {
		d.fillWebhook(delivery, r)
		switch {
		case d.Fault != nil:
		case r.Ping != nil:
			d.setPing(delivery, r.Ping)
		default:
			d.Fault = d.addEvents(delivery, r)
		}
	})
	if panicked != nil {
		d.Fault = panicked
		d.webhook.Reset()
		d.fillWebhook(delivery, &Reading{Event: r.Event}) // without the drift
	}
	if d.Fault != nil {
		d.quarantine(delivery)
	}
	d.entry.Keys = d.keys
	return d
}

// addEvents encodes the events, and sets the keys and the meaning.
func (d *Draft) addEvents(delivery *Delivery, r *Reading) *Fault {
	pooled := scratch.Get().(*[]byte)
	defer scratch.Put(pooled)
	events := r.Translation.Events
	canonical, fault := appendCanonical((*pooled)[:0], events)
	if fault != nil {
		return fault
	}
	if cap(canonical) <= pooledDraft {
		*pooled = canonical
	}
	content := digest(canonical)
	if !r.Unmapped {
		d.entry.Meaning = content
	}
	var memory, nameMemory [256]byte
	name := d.identify(delivery, r.Translation, content, append(nameMemory[:0], namespace[:]...))
	receipt := appendReceipt(memory[:0], d.entry.Webhook)
	d.versions = appendVersions(d.versions[:0], d.source.Name, events)
	d.entry.Versions = d.versions
	d.encoded = slices.Grow(d.encoded[:0], len(canonical)+len(events)*(len(receipt)-lengthSize))
	d.entry.Events = slices.Grow(d.entry.Events[:0], len(events))
	for rest, i := canonical, uint32(0); len(rest) > 0; i++ {
		var event []byte
		event, rest = nextCanonical(rest)
		start := len(d.encoded)
		d.encoded = append(append(d.encoded, event...), receipt...)
		putEventID(d.encoded[start+len(event)+idAt:], name, i)
		d.entry.Events = append(d.entry.Events, d.encoded[start:len(d.encoded):len(d.encoded)])
	}
	return nil
}

// quarantine makes the draft that of a webhook in quarantine.
func (d *Draft) quarantine(delivery *Delivery) {
	d.entry.Operation, d.entry.Meaning, d.entry.Events = journal.Receive, journal.Hash{}, d.entry.Events[:0]
	d.entry.Versions = nil
	d.entry.Webhook.Quarantine, d.entry.Webhook.ReleasedAt = d.Fault.quarantine(), nil
	d.identifyQuarantined(delivery)
}

// fillWebhook sets the webhook to store: a new one, or the stored one that is to be released.
func (d *Draft) fillWebhook(delivery *Delivery, r *Reading) {
	w, stored := &d.webhook, delivery.Stored
	d.entry.Webhook = w
	if stored != nil && delivery.Element == int(stored.GetElement()) {
		d.entry.Operation = journal.Release
		proto.Merge(w, stored)
		w.VendorEvent, w.ReleasedAt = clean(r.Event, maxName), timestamppb.Now()
		if r.Document == nil { // the decoder's drift of a typed call showed when it was received
			w.Drift = slices.DeleteFunc(w.Drift, isValue)
			w.Drift = append(w.Drift, slices.DeleteFunc(storedDrift(r.Drift), func(d *journalv1.Drift) bool { return !isValue(d) })...)
		} else {
			w.Drift = storedDrift(r.Drift)
		}
		d.entry.NewDrift = newDrift(w, stored)
		return
	}
	if stored == nil {
		w.Id = uuid.Must(uuid.NewV7()).String() // the system's randomness never fails
	} else {
		w.Id = elementID(uuid.MustParse(stored.GetId()), delivery.Element).String()
		w.Quarantine, w.ReleasedAt = stored.GetQuarantine(), timestamppb.Now()
	}
	d.receivedAt.Seconds, d.receivedAt.Nanos = delivery.ReceivedAt.Unix(), int32(delivery.ReceivedAt.Nanosecond())
	w.Source = d.source.Name
	w.Connector = d.source.Connector.Name
	w.VendorEvent = clean(r.Event, maxName)
	w.PathEvent = clean(delivery.PathEvent, 2*maxName) // still too long for a name if it was
	w.ReceivedAt = &d.receivedAt
	w.Encoding = delivery.Encoding
	w.Body = delivery.Body
	w.Headers = delivery.Headers
	w.Element = uint32(delivery.Element)
	w.Traceparent = delivery.Traceparent
	w.Drift = storedDrift(r.Drift)
}

// releaseArray drafts the release of a stored array, whose webhooks become events of their own.
func (d *Draft) releaseArray(array *Delivery) *Draft {
	w := array.Stored
	d.source, d.Event, d.scope = array.Source, w.GetVendorEvent(), scope{array.Source.Name, w.GetVendorEvent()}
	d.webhook.Reset()
	proto.Merge(&d.webhook, w)
	d.webhook.ReleasedAt = timestamppb.Now()
	d.keys = append(d.keys, d.ownKey(array, kindReleased, ""))
	d.entry = journal.Entry{Operation: journal.Release, Webhook: &d.webhook, Keys: d.keys, Bytes: digest(array.Body)}
	return d
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

// newDrift returns the drift of a webhook that it did not have when it was stored.
func newDrift(w, stored *journalv1.Webhook) []*journalv1.Drift {
	return slices.DeleteFunc(slices.Clone(w.GetDrift()), func(d *journalv1.Drift) bool {
		return slices.ContainsFunc(stored.GetDrift(), func(old *journalv1.Drift) bool {
			return old.GetKind() == d.GetKind() && old.GetPath() == d.GetPath()
		})
	})
}

// isValue reports whether the connector found the drift.
func isValue(d *journalv1.Drift) bool { return d.GetKind() == journalv1.DriftKind_DRIFT_KIND_VALUE }

func driftKind(k vendorjson.Kind) journalv1.DriftKind {
	switch k {
	case vendorjson.Unknown:
		return journalv1.DriftKind_DRIFT_KIND_UNKNOWN
	case vendorjson.Type:
		return journalv1.DriftKind_DRIFT_KIND_TYPE
	case vendorjson.Missing:
		return journalv1.DriftKind_DRIFT_KIND_MISSING
	case vendorjson.Value:
		return journalv1.DriftKind_DRIFT_KIND_VALUE
	}
	return journalv1.DriftKind_DRIFT_KIND_UNSPECIFIED
}

// clean cuts a sender's text to limit bytes and makes it valid UTF-8.
func clean(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
