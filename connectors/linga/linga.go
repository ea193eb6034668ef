// Package linga knows the order webhooks of LINGA rOS, a point of sale for restaurants. The vendor's page is "Integration
// Hub: Order Webhook Settings". It says when each webhook is sent, and prints no body: the fields are those of LINGA's
// sales and online orders as integrators have met them, none of them verified against a real webhook.
//
// # Verification
//
// One HTTP header, labelled `X-API-Key` in LINGA's settings, whose name and value the operator chooses. It is constant;
// nothing is signed. LINGA states no rule for the answer, no time-out, and no retries; Bridge assumes that 2xx is success.
//
// # Identity
//
// Nothing distinguishes two changes of a check, so the key of every event is the content hash, within ten seconds. An update may repeat
// the whole check many times. No versions, and no promise that open, update and close come in this order.
//
// # Mapping
//
//	open      order.opened     order/<saleUniqueId>, else <id>, else <uniqueOrderID>
//	update    order.updated    the same
//	close     order.closed     the same
//
// Nobody promises an id: a check without any of the three is passed on as it came.
//
// occurred_at is the time of opening on order.opened; LINGA does not say when a check was changed or closed.
//
// # Traps
//
//   - The body does not name its event: each needs a URL of its own. With "3rd Order Web Hooks" active, orders placed in
//     the POS come to the open URL too.
//   - A check has one of three shapes: a closed sale, a sale's row, an online order. An online order may have another id
//     than the sale that it becomes.
//   - Amounts are cents beside a decimal text (subTotal, subTotalStr). The text is preferred, but one without a decimal
//     point yields to the cents, since LINGA's own description calls one of the texts an integer, and so does one that
//     cannot be read. So it is also where the two disagree. Without cents beside it, a text without a point other than zero is
//     quarantined. "1,234.00" is read.
//   - A list, such as LINGA's reports are, is no webhook: its last row would be the total of the others.
//   - Cents with a decimal point, also "12.00", may be whole units. Where no text settles it, the check is quarantined: that is
//     seen, an amount off by a factor of a hundred is not. guestCount may be any decimal.
//   - Dates are "01-Sep-2026", ISO 8601 or milliseconds. The time of opening may be a time of day beside startDate. One that
//     cannot be read is not worth losing the order for, and stays unset; the day alone does not stand in for it.
//   - isVoid is "false", a string.
//   - The items of online orders (orderDetails) are of unknown shape: they stay in the vendor's message.
package linga

import (
	"context"
	"embed"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/webhook-bridge/bridge/connectors"
	lingav1 "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
)

//go:embed testdata/*.txtar
var samples embed.FS

// New returns the connector.
func New() *connectors.Connector {
	return &connectors.Connector{
		Name:    "linga",
		Service: lingav1.File_webhooks_linga_v1_linga_proto.Services().ByName("LingaWebhookService"),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return lingav1.RegisterLingaWebhookServiceHandlerClient(ctx, mux, lingav1.NewLingaWebhookServiceClient(conn))
		},
		// What LINGA's settings call the header unless the operator chooses another name.
		Verification:  connectors.Verification{Header: "X-API-Key"},
		Delivery:      connectors.DeliveryPolicy{Repeats: true, Disorder: true},
		Samples:       samples,
		Answer:        "{}",
		NeedsCurrency: true,
		NeedsTimeZone: true,
		Window:        10 * time.Second,
		Translate:     translate,
	}
}
