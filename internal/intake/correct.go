package intake

import (
	"slices"
	"strconv"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/journal"
)

// Correction is an event that corrects one of a stored webhook's events, or adds one.
type Correction struct {
	// Index of the event among its webhook's, counted from 0.
	Index uint32
	// Event is [Canonical]. It is the caller's: [Source.Correct] sets its id, and what else the receipt adds.
	Event *eventv1.Event
	// Supersedes is the id of the event that it corrects. Empty if there was none.
	Supersedes string
}

// Correct drafts the corrections of a stored webhook's events, which are committed all at once. A correction's id follows
// from what it supersedes and what it says, so that the same corrections are published once, however often they are found.
func (s *Source) Correct(w *journalv1.Webhook, corrections []Correction) *Draft {
	d := &Draft{source: s, Event: w.GetVendorEvent(), scope: scope{s.Name, w.GetVendorEvent()}}
	d.entry = journal.Entry{Operation: journal.Correct, Webhook: w}
	key := []byte(w.GetId())
	events := make([]*eventv1.Event, 0, len(corrections))
	for _, c := range corrections {
		canonical, fault := appendCanonical(nil, []*eventv1.Event{c.Event})
		if fault != nil {
			d.Fault = fault
			return d
		}
		event, _ := nextCanonical(canonical)
		name := append(slices.Clone(namespace[:]), kindCorrection)
		if c.Supersedes != "" {
			name = append(name, c.Supersedes...)
		} else {
			name = strconv.AppendUint(append(append(name, w.GetId()...), '/'), uint64(c.Index), 10)
		}
		var id [idLength]byte
		putNameID(id[:], append(append(name, 0), event...))
		encoded := appendReceipt(slices.Clone(event), w)
		copy(encoded[len(event)+idAt:], id[:])
		d.entry.Events = append(d.entry.Events, appendText(encoded, fieldSupersedes, c.Supersedes))
		d.entry.Indexes = append(d.entry.Indexes, c.Index)
		key = append(append(key, 0), id[:]...)
		events = append(events, c.Event)
		c.Event.Id, c.Event.Supersedes = string(id[:]), c.Supersedes
		c.Event.Source, c.Event.Connector, c.Event.VendorEvent = w.GetSource(), w.GetConnector(), w.GetVendorEvent()
		c.Event.ReceivedAt, c.Event.WebhookId = w.GetReceivedAt(), w.GetId()
	}
	k := d.scope.key(kindCorrection, string(key), NaturalWindow)
	d.entry.Versions = appendVersions(nil, s.Name, events)
	d.entry.Keys, d.entry.Bytes = []journal.Key{k}, k.Hash
	return d
}
