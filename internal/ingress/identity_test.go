package ingress_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/webhook-bridge/bridge/connectors/openloyalty"
	"github.com/webhook-bridge/bridge/connectors/retino"
	"github.com/webhook-bridge/bridge/connectors/sample"
	"github.com/webhook-bridge/bridge/internal/source"
	"github.com/webhook-bridge/bridge/sinks"
)

func loyalty(t *testing.T) *bridge {
	return openBridge(t, source.Source{Name: "shop", Connector: openloyalty.New(), Currency: "EUR"})
}

// purchase is a webhook that the purchase "p1" was registered on a day. The delivery has an id, unless that is empty.
func purchase(delivery, day string) sample.Webhook {
	body := `{"type":"transaction.registered","createdAt":"2026-01-` + day + `T10:00:00+00:00","data":{"transactionId":"p1"}}`
	w := sample.Webhook{ContentType: sample.JSON, Body: []byte(body)}
	if delivery != "" {
		w.Header = map[string][]string{"X-Webhook-Request-Id": {delivery}}
	}
	return w
}

// published sends webhooks and returns the ids of the events that the journal has then, in order.
func (b *bridge) published(t *testing.T, webhooks ...sample.Webhook) (ids []string) {
	t.Helper()
	for _, w := range webhooks {
		if _, err := b.send(w); err != nil {
			t.Fatal(err)
		}
	}
	bounds := b.journal.Bounds()
	for p := bounds.Earliest; p < bounds.Next; p++ {
		records, err := b.journal.Read(t.Context(), p, make([]sinks.Record, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(records[0].Header.ID))
	}
	return ids
}

// TestOneFactOneEvent: a delivery id, white space, a counter and a field that no event uses make no second event. Bytes that are
// new are stored beside the first.
func TestOneFactOneEvent(t *testing.T) {
	b := loyalty(t)
	attempt := purchase("", "10")
	attempt.Body = bytes.Replace(attempt.Body, []byte(`{"type"`), []byte(`{"attempt":2,"pending":17,"type"`), 1)
	spaced := purchase("d1", "10")
	spaced.Body = append(spaced.Body, '\n')
	for i, step := range []struct {
		webhook sample.Webhook
		kept    int
	}{
		{purchase("d1", "10"), 0},
		{purchase("d1", "10"), 0},
		{purchase("d2", "10"), 0}, // the same transaction under another delivery id
		{purchase("", "10"), 0},
		{spaced, 1},
		{spaced, 0},
		{attempt, 1},
	} {
		if ids := b.published(t, step.webhook); len(ids) != 1 || b.journal.kept != step.kept {
			t.Errorf("step %d: %d events, %d stored beside the first", i, len(ids), b.journal.kept)
		}
	}
}

// TestAnIDNeverNamesTwoContents: when the key's window has passed, other content under the natural key has another id, and the
// same content its old one.
func TestAnIDNeverNamesTwoContents(t *testing.T) {
	b := loyalty(t)
	first := b.published(t, purchase("d1", "10"))
	b.wait(8 * 24 * time.Hour)
	second := b.published(t, purchase("d9", "20"))
	if len(second) != 2 || second[1] == first[0] {
		t.Errorf("other content eight days later: ids %q", second)
	}
	b.wait(8 * 24 * time.Hour)
	third := b.published(t, purchase("d10", "10"))
	if len(third) != 3 || third[2] != first[0] {
		t.Errorf("the same content redelivered after the window: ids %q", third)
	}
}

// TestRevisionOutlivesItsBase: a revision that is sent again after the key of the first content expired is a duplicate.
func TestRevisionOutlivesItsBase(t *testing.T) {
	b := loyalty(t)
	b.published(t, purchase("", "10"))
	b.wait(6 * 24 * time.Hour)
	revision := purchase("", "20")
	b.published(t, revision)
	b.wait(2 * 24 * time.Hour)
	if ids := b.published(t, revision); len(ids) != 2 {
		t.Errorf("%d events", len(ids))
	}
}

// TestDeliveryIDAlone: where the body tells no fact, each delivery id is one, and what it says may be stated again.
func TestDeliveryIDAlone(t *testing.T) {
	b := loyalty(t)
	update := func(delivery, space string) sample.Webhook {
		w := purchase(delivery, "10")
		w.Body = fmt.Appendf(nil, `{"type":"customer.updated",%s"data":{"customerId":"c1"}}`, space)
		return w
	}
	first := b.published(t, update("d1", ""), update("d1", ""), update("d1", " "))
	if len(first) != 1 {
		t.Errorf("one delivery made %d events", len(first))
	}
	if second := b.published(t, update("d2", "")); len(second) != 2 || second[1] == first[0] {
		t.Errorf("another delivery: ids %q", second)
	}
	b.expireKeys()
	if third := b.published(t, update("d1", "")); len(third) != 3 || third[2] != first[0] {
		t.Errorf("redelivered after the window: ids %q", third)
	}
}

// TestNumbersAndTextsMeanTheSame: an amount as a number and as a text is one amount.
func TestNumbersAndTextsMeanTheSame(t *testing.T) {
	b := openBridge(t, source.Source{Name: "shop", Connector: retino.New()})
	webhook := func(amount string) sample.Webhook {
		return sample.Webhook{ContentType: sample.JSON, Body: []byte(`{"event_type":"shipping.ordered","created_at":"2023-01-23T10:28:10.010Z",` +
			`"shipping":{"id":"s1","customer_payment_details":[{"amount":` + amount + `,"currency":"CZK"}]}}`)}
	}
	if ids := b.published(t, webhook(`"10.50"`), webhook(`10.5`)); len(ids) != 1 {
		t.Errorf("%d events", len(ids))
	}
}
