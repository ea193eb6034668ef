// Package retino knows Retino, a system for returns and complaints: its webhooks about ordered shipping, credit notes and new
// cases.
//
// The vendor's pages print `shipping.ordered` ("Webhook o objednání dopravy") and, for the add-on that makes credit notes,
// `retino_credit_note.created`. They say that `ticket.created` carries ticket, products, shipping and order, but they do not
// print their fields. Retino's other events (changes of tickets and their products, tracking) become `unmapped`.
//
// # Verification
//
// Each webhook carries `X-Retino-Secret`, a constant token shown in the webhook's settings at Retino: auth `header`.
// A renewed token replaces the old one at once. There is no signature. Retino waits ten seconds. Any error is a failure: Retino
// tries again for 72 hours (2, 4, 8, 16, 32 minutes, then hourly), and then switches the endpoint off.
//
// # Identity
//
// Retino sends no id of the event and says that a webhook may come twice. The events below are identified by the subject's id and
// created_at, any other event by created_at alone: two of the same millisecond have different bodies, and are both published.
// An event without created_at is identified by its content. Retino does not promise an order. Each of the three happens once to
// its subject, so there is no version.
//
// # Mapping
//
//	shipping.ordered              shipment.ordered       shipment/<shipping.id>
//	retino_credit_note.created    credit_note.created    credit_note/<credit_note.id>
//	ticket.created                return.created         return/<ticket.id>
//
// No page says that a ticket has an id: a ticket without one becomes `unmapped`. Products, shipping and order have unknown
// fields, and stay in the vendor's message.
//
// # Traps
//
//   - tracking_number and tracking_url may be empty or null: the carrier has not given one yet.
//   - amount is a decimal in a string in a delivery, and money; in a credit note it is a number, and a quantity. A credit
//     note's money is price, a number.
//   - Times have three decimals and Z in deliveries, six and +00:00 in credit notes.
//   - A credit note's bank account is a union: type, in capitals, names the sibling that has the number. Only
//     CZECH_BANK_ACCOUNT is known.
//   - company_id and company_vat_number are empty for people; vat_rate is absent from the older sample.
//   - Tracking webhooks have no envelope, so the URL must name them.
//   - "Send a test event" sends a body that no page prints. Retino names events after their subject, so an event that is named for a
//     test is the ping test_button, and an empty body is a ping as for every vendor. A test event that looks like a real one is
//     not distinguishable.
package retino

import (
	"context"
	"embed"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

//go:embed testdata/*.txtar
var samples embed.FS

// New returns the connector.
func New() *connectors.Connector {
	return &connectors.Connector{
		Name:    "retino",
		Service: retinov1.File_webhooks_retino_v1_retino_proto.Services().ByName("RetinoWebhookService"),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return retinov1.RegisterRetinoWebhookServiceHandlerClient(ctx, mux, retinov1.NewRetinoWebhookServiceClient(conn))
		},
		EventField: "event_type",
		Pings: []connectors.Ping{{
			Name:   "test_button",
			Events: []string{"test", "ping", "webhook.test", "test.event", "test_event", "webhook_test", "event.test", "webhook.ping"},
		}},
		Verification: connectors.Verification{Header: "X-Retino-Secret"},
		Delivery: connectors.DeliveryPolicy{
			Timeout: 10 * time.Second,
			Retries: retries(),
			Repeats: true,
		},
		Samples:   samples,
		Answer:    `{"status":"accepted"}`,
		Translate: translate,
		Envelope: &connectors.Envelope{
			New: func() proto.Message { return new(retinov1.Envelope) },
			Identify: func(m proto.Message) (connectors.Key, string) {
				return connectors.NaturalKey(m.(*retinov1.Envelope).GetCreatedAt()), ""
			},
		},
	}
}

// retries are the waits before Retino tries again: twice as long each time up to an hour, until 72 hours have passed.
func retries() []time.Duration {
	const end = 72 * time.Hour
	var waits []time.Duration
	wait := 2 * time.Minute
	for passed := wait; passed <= end; passed += wait {
		waits = append(waits, wait)
		wait = min(2*wait, time.Hour)
	}
	return waits
}
