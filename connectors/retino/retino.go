// Package retino knows Retino, a system for returns and complaints, and its webhook about ordered shipping.
//
// The vendor's page is "Webhook o objednání dopravy". Only `shipping.ordered` is printed there; Retino's other events
// (tickets, credit notes, tracking) flow through as `unmapped`.
//
// # Verification
//
// Each webhook carries `X-Retino-Secret`, a constant token shown in the webhook's settings at Retino: auth `header`.
// A renewed token replaces the old one at once. There is no signature. Retino waits ten seconds, takes any error for
// a failure, tries again for 72 hours (2, 4, 8, 16, 32 minutes, then hourly), and then switches the endpoint off.
//
// # Identity
//
// Retino sends no id of the event and says that a webhook may come twice. `shipping.ordered` is told by shipping id and
// created_at, any other event by created_at alone: two that share a millisecond differ in their bodies, and are both
// published. What has no created_at is told by its content. Order is not promised; shipping is ordered once, so there is
// no version.
//
// # Mapping
//
//	shipping.ordered    shipment.ordered    shipment/<shipping.id>
//
// # Traps
//
//   - tracking_number and tracking_url may be empty or null: the carrier has not given one yet.
//   - amount is a decimal in a string here, while the credit note's amount is a quantity and its price a number.
//   - Times have three decimals and Z here, six and +00:00 in credit notes.
package retino

import (
	"context"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// New returns the connector.
func New() *connectors.Connector {
	return &connectors.Connector{
		Name:    "retino",
		Service: retinov1.File_webhooks_retino_v1_retino_proto.Services().ByName("RetinoWebhookService"),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return retinov1.RegisterRetinoWebhookServiceHandlerClient(ctx, mux, retinov1.NewRetinoWebhookServiceClient(conn))
		},
		EventField: "event_type",
		Answer:     `{"status":"accepted"}`,
		Translate:  translate,
		Envelope: &connectors.Envelope{
			New: func() proto.Message { return new(retinov1.Envelope) },
			Identify: func(m proto.Message) (connectors.Key, string) {
				return connectors.NaturalKey(m.(*retinov1.Envelope).GetCreatedAt()), ""
			},
		},
	}
}
