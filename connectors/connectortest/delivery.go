package connectortest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
	"github.com/webhook-bridge/bridge/connectors/sample"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	journalv1 "github.com/webhook-bridge/bridge/gen/bridge/journal/v1"
	"github.com/webhook-bridge/bridge/internal/intake"
	"github.com/webhook-bridge/bridge/internal/vendorjson"
)

const (
	// retriesLast is for how long a natural key must be known: longer than any vendor tries again.
	retriesLast = 96 * time.Hour
	// longest is the longest window of a body that is its own key, for a vendor of whom no more is known than that it repeats
	// itself.
	longest = time.Hour
)

// window is for how long the same body is the same webhook where nothing else tells.
func (k *kit) window() time.Duration { return cmp.Or(k.connector.Window, connectors.DefaultWindow) }

// retryAfter is how long it may take until the vendor tries again what was stored, and whose answer was lost.
func (k *kit) retryAfter() time.Duration {
	h := k.connector.Delivery
	if len(h.Retries) == 0 {
		return 0
	}
	return h.Timeout + slices.Max(h.Retries)
}

// itself names what is wrong with the connector and not with a sample.
const itself = "the connector"

// deliver has every webhook whose sample broke no rule yet sent to one Bridge, when the last one's key is forgotten. judge gets
// what Bridge stored of it and may send more; what it answered was the connector's answer.
func (k *kit) deliver(judge func(*edge, sample.Webhook, []stored) error) error {
	var errs []error
	err := k.blame(itself, func() error {
		e, err := k.openEdge(context.Background(), k.connector, headerScheme("X-Kit-Secret"), secretNew)
		if err != nil {
			return err
		}
		for _, w := range k.webhooks {
			errs = append(errs, k.blame(w.Name, func() error {
				added, err := e.send(w, secretNew)
				if err != nil {
					return err
				}
				return judge(e, w, added)
			}))
			e.wait(max(intake.NaturalWindow, k.window()) + time.Hour)
		}
		return e.close()
	})
	return errors.Join(append(errs, err)...)
}

// results are what the kit makes of the webhooks in a body.
func (k *kit) results(w sample.Webhook) (results []result, list bool) {
	documents, list, fault := k.open(w)
	if fault != nil {
		return []result{{fault: fault}}, false
	}
	known := make(map[string]bool)
	for _, d := range documents {
		r := k.run(d)
		natural, _ := r.translation.Key.Natural()
		// A list may repeat itself.
		if id := r.event + "\x00" + natural + "\x00" + string(d.body); !known[id] {
			known[id] = true
			results = append(results, r)
		}
	}
	return results, list
}

func checkReceived(k *kit) error {
	return k.deliver(func(_ *edge, w sample.Webhook, added []stored) error {
		want, _ := k.results(w)
		if len(added) != len(want) {
			return fmt.Errorf("%d webhooks stored, not %d", len(added), len(want))
		}
		for i := range want {
			if err := k.fits(added[i], want[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// fits says how what was stored differs from what the kit made of it.
func (k *kit) fits(got stored, want result) error {
	w := got.webhook
	if want.event != "" && w.GetVendorEvent() != want.event || w.GetConnector() != k.connector.Name {
		return fmt.Errorf("stored as event %q of %q", w.GetVendorEvent(), w.GetConnector())
	}
	if reason := w.GetQuarantine().GetReason(); (want.fault == nil) != (reason == "") || want.fault != nil && reason != string(want.fault.Reason) {
		return fmt.Errorf("in quarantine for %q", reason)
	}
	equal := func(d *journalv1.Drift, v vendorjson.Drift) bool { return d.GetPath() == v.Path }
	if !slices.EqualFunc(w.GetDrift(), want.drift, equal) {
		return fmt.Errorf("stored with the drift %v, not %v", w.GetDrift(), driftLines(want.drift))
	}
	var filled []*eventv1.Event
	for i, e := range want.translation.Events {
		filled = append(filled, fill(e, w, i, got.events))
	}
	if diff := gocmp.Diff(filled, got.events, protocmp.Transform()); diff != "" {
		return errors.New("the events are others (-want +got):\n" + diff)
	}
	return nil
}

// fill is what Bridge makes of a connector's event. Ids are as they came: others judge them.
func fill(e *eventv1.Event, w *journalv1.Webhook, i int, got []*eventv1.Event) *eventv1.Event {
	e = proto.CloneOf(e)
	if i < len(got) {
		e.Id = got[i].GetId()
	}
	e.Source, e.Connector, e.VendorEvent = w.GetSource(), w.GetConnector(), w.GetVendorEvent()
	e.ReceivedAt, e.WebhookId = w.GetReceivedAt(), w.GetId()
	return e
}

func checkRedelivered(k *kit) error {
	return errors.Join(k.outlasting(), k.deliver(func(e *edge, w sample.Webhook, first []stored) error {
		if err := nothingNew(e.send(w, secretNew)); err != nil {
			return err
		}
		if results, _ := k.results(w); slices.ContainsFunc(results, byContent) {
			return nil
		}
		e.wait(retriesLast)
		if err := nothingNew(e.send(w, secretNew)); err != nil {
			return err
		}
		// The key is forgotten; the fact is the same.
		e.wait(intake.NaturalWindow + time.Hour)
		later, err := e.send(w, secretNew)
		if err != nil {
			return err
		}
		if diff := gocmp.Diff(eventIDs(first), eventIDs(later)); diff != "" {
			return errors.New("the ids of its events change (-first +later):\n" + diff)
		}
		return nil
	}))
}

// outlasting judges the window by how the vendor delivers, if there are events all of whose webhooks are their own keys.
func (k *kit) outlasting() error {
	keyed := make(map[string]bool) // by event, whether there is a natural key
	for _, d := range k.documents {
		if r := k.run(d); !r.refused() && !r.unmapped() {
			keyed[r.event] = keyed[r.event] || !byContent(r)
		}
	}
	return k.blame(itself, func() error {
		for _, event := range slices.Sorted(maps.Keys(keyed)) {
			if !keyed[event] && k.window() <= k.retryAfter() {
				return fmt.Errorf("%s: a window of %v, though the vendor may try again after %v", event, k.window(), k.retryAfter())
			}
		}
		return nil
	})
}

func eventIDs(all []stored) (ids []string) {
	for _, s := range all {
		ids = append(ids, s.ids()[1:]...)
	}
	return ids
}

// byContent says whether a body is its own key.
func byContent(r result) bool {
	_, natural := r.translation.Key.Natural()
	return !natural
}

func nothingNew(added []stored, err error) error {
	if err == nil && len(added) > 0 {
		err = errors.New("makes " + strconv.Itoa(len(added)) + " webhooks")
	}
	if err != nil {
		return fmt.Errorf("sent again: %w", err)
	}
	return nil
}

func checkRepeated(k *kit) error {
	return k.deliver(func(e *edge, w sample.Webhook, first []stored) error {
		results, _ := k.results(w)
		if slices.ContainsFunc(results, func(r result) bool { return !byContent(r) }) {
			return nil
		}
		need := max(connectors.DefaultWindow, 2*k.retryAfter())
		if k.connector.Delivery.Repeats {
			need = max(need, longest)
		}
		if k.window() > need {
			return fmt.Errorf("a window of %v, though no redelivery is known after %v", k.window(), need)
		}
		e.wait(k.window() - time.Second)
		if err := nothingNew(e.send(w, secretNew)); err != nil {
			return fmt.Errorf("at the window's end: %w", err)
		}
		e.wait(2 * time.Second)
		second, err := e.send(w, secretNew)
		if err != nil {
			return err
		}
		return others(first, second)
	})
}

func checkRevised(k *kit) error {
	return k.deliver(func(e *edge, w sample.Webhook, first []stored) error {
		results, list := k.results(w)
		if list || k.isForm(w) || byContent(results[0]) {
			return nil
		}
		w.Body = append(slices.Clone(w.Body), ' ')
		second, err := e.send(w, secretNew)
		if err == nil {
			err = others(first, second)
		}
		if err != nil {
			return fmt.Errorf("with another body: %w", err)
		}
		return nothingNew(e.send(w, secretNew))
	})
}

// others says how what was stored later is not as much as what was before, under other ids.
func others(before, after []stored) error {
	if len(before) != len(after) {
		return fmt.Errorf("%d webhooks stored, not %d", len(after), len(before))
	}
	var known []string
	for _, s := range before {
		known = append(known, s.ids()...)
	}
	for i, s := range after {
		if len(s.events) != len(before[i].events) {
			return fmt.Errorf("%d events, not %d", len(s.events), len(before[i].events))
		}
		for _, id := range s.ids() {
			if slices.Contains(known, id) {
				return fmt.Errorf("the id %s is there twice", id)
			}
		}
	}
	return nil
}
