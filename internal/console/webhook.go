package console

import (
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"

	adminv1 "github.com/webhook-bridge/bridge/gen/bridge/admin/v1"
)

// maxEventsShown is how many of a webhook's events a page shows.
const maxEventsShown = 50

// webhookView is one stored webhook with all that is known of it.
type webhookView struct {
	*adminv1.Webhook

	State    badge
	Encoding string
	Revealed bool
	Headers  []*adminv1.Header
	Body     shown
	// Repair is set if an operator changed the body, and Before is the body as it was received.
	Repair *adminv1.HandRepair
	Before shown
	// MessageType and Message are the vendor's message as today's connector reads it.
	MessageType string
	Message     shown
	Events      []eventView
	MoreEvents  int
	Drift       []*adminv1.DriftField
	History     []occasion
}

// eventView is an event of a webhook.
type eventView struct {
	*adminv1.PublishedEvent

	Content shown
	Sinks   []deliveryView
}

type deliveryView struct {
	Sink, Reason string
	State        badge
}

// occasion is something that happened to a webhook.
type occasion struct {
	At   any
	Text string
}

func (v *webhookView) title() string {
	if v.GetVendorEvent() == "" {
		return "Webhook from " + v.GetSource()
	}
	return visible(v.GetVendorEvent()) + " from " + v.GetSource()
}

// Quarantined reports whether the webhook waits for an operator.
func (v *webhookView) Quarantined() bool {
	return v.GetOutcome() == adminv1.Outcome_OUTCOME_QUARANTINED
}

// webhook shows a webhook. Personal data are shown after a POST alone: such a request is logged, and no link makes it.
func (c *Console) webhook(r *http.Request) (any, error) {
	reveal := r.Method == http.MethodPost
	found, err := c.admin.GetWebhook(r.Context(), &adminv1.GetWebhookRequest{Id: r.PathValue("id"), Reveal: reveal})
	if err != nil {
		return nil, err
	}
	v := &webhookView{
		Webhook: found.GetWebhook(), State: outcomeBadge(found.GetWebhook().GetOutcome()), Encoding: found.GetEncoding(), Revealed: reveal,
		Headers: found.GetHeaders(), Body: showBody(found), MessageType: found.GetMessageType(), Drift: found.GetDrift(),
	}
	if v.Repair = found.GetRepair(); v.Repair != nil {
		v.Before = showJSON(v.Repair.GetBody(), marks{offset: -1, path: v.GetFault().GetPath()})
	}
	if found.GetMessage() != "" {
		v.Message = showJSON(found.GetMessage(), noMarks)
	}
	for i, e := range found.GetEvents() {
		if i == maxEventsShown {
			v.MoreEvents = len(found.GetEvents()) - i
			break
		}
		v.Events = append(v.Events, newEventView(e))
	}
	v.History = historyOf(found)
	return v, nil
}

// showBody shows a body with the place of its problem, and with its drift.
func showBody(w *adminv1.GetWebhookResponse) shown {
	text, at := w.GetBody(), int(w.GetBodyOffset())
	if text == "" && len(w.GetRawBody()) > 0 {
		text, at = string(w.GetRawBody()), int(w.GetWebhook().GetFault().GetOffset())
	}
	m := marks{offset: at, path: w.GetWebhook().GetFault().GetPath()}
	if w.GetWebhook().GetFault() == nil || w.GetRepair() != nil { // then the problem was in another body
		m = noMarks
	}
	for _, d := range w.GetDrift() {
		m.drift = append(m.drift, d.GetField())
	}
	return showJSON(text, m)
}

func newEventView(e *adminv1.PublishedEvent) eventView {
	v := eventView{PublishedEvent: e}
	if text, err := protojson.Marshal(e.GetEvent()); err == nil {
		v.Content = showJSON(string(text), noMarks)
	}
	for _, d := range e.GetDeliveries() {
		v.Sinks = append(v.Sinks, deliveryView{d.GetSink(), d.GetReason(), deliveryBadge(d.GetState())})
	}
	return v
}

func deliveryBadge(state string) badge {
	switch state {
	case "delivered":
		return badge{"delivered", "good"}
	case "pending":
		return badge{"pending", "warn"}
	case "parked":
		return badge{"dead letter", "bad"}
	case "missed":
		return badge{"missed", "bad"}
	}
	return badge{words(state), "plain"}
}

// historyOf tells what happened to a webhook, in order.
func historyOf(found *adminv1.GetWebhookResponse) []occasion {
	w := found.GetWebhook()
	all := []occasion{{w.GetReceivedAt(), "received"}}
	then := func(at any, text string) { all = append(all, occasion{at, text}) }
	switch {
	case w.GetFault() != nil:
		then(w.GetReceivedAt(), "quarantined: "+words(w.GetFault().GetReason()))
	case w.GetPing() != "":
		then(w.GetReceivedAt(), "recognized as the ping "+w.GetPing())
	case w.GetOutcome() == adminv1.Outcome_OUTCOME_DUPLICATE:
		then(w.GetReceivedAt(), "kept without events: an earlier webhook had told the same in other bytes")
	}
	if r := found.GetRepair(); r != nil {
		then(r.GetAt(), "changed by hand, by "+r.GetBy())
	}
	if w.GetReleasedAt() != nil {
		text := "released from quarantine"
		if w.GetEventCount() == 0 {
			text += ", without events"
		}
		then(w.GetReleasedAt(), text)
	}
	published, corrections := 0, 0
	for _, e := range found.GetEvents() {
		if e.GetEvent().GetSupersedes() == "" {
			published++
		} else {
			corrections++
		}
	}
	if published > 0 {
		then(nil, count(published)+" of its events kept in the log")
	}
	if corrections > 0 {
		then(nil, count(corrections)+" published later as corrections")
	}
	return all
}
