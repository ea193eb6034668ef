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
// created_at. Without created_at, and for events not modelled here, the body decides: as every body carries its own
// created_at in milliseconds, the same bytes are the same event for as long as Retino keeps trying. Order is not
// promised; an order of shipping happens once, so there is no version.
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
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/webhook-bridge/bridge/connectors"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

// window is longer than Retino's 72 hours of trying again.
const window = 96 * time.Hour

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
		Window:     window,
		Translate:  translate,
	}
}
