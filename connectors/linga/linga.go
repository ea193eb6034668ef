// Package linga knows the order webhooks of LINGA rOS, a point of sale for restaurants. The vendor's page is "Integration
// Hub: Order Webhook Settings". It says when each webhook is sent, and prints no body. The fields are the fields of LINGA's
// sales and online orders that integrators have reported. None of them is verified against a real webhook.
//
// # Verification
//
// One HTTP header, labelled `X-API-Key` in LINGA's settings. The operator chooses its name and value. It is constant; nothing
// is signed. LINGA states no rule for the answer, no time-out and no retries. Bridge assumes that 2xx is success.
//
// # Identity
//
// LINGA sends nothing that distinguishes two changes of a check, so the key of every event is the content hash, within ten
// seconds. An update may repeat the whole check many times. There are no versions, and open, update and close may come in any
// order.
//
// # Mapping
//
//	open      order.opened     order/<saleUniqueId>, else <id>, else <uniqueOrderID>
//	update    order.updated    the same
//	close     order.closed     the same
//
// LINGA does not promise an id: a check without any of the three becomes `unmapped`.
//
// On order.opened, occurred_at is the time of opening. LINGA does not say when a check was changed or closed.
//
// # Traps
//
//   - The body does not name its event: each event needs its own URL. With "3rd Order Web Hooks" active, orders placed in the
//     POS come to the open URL too.
//   - A check has one of three shapes: a closed sale, a sale's row, an online order. An online order may have another id
//     than the sale that it becomes.
//   - An amount may come twice, as cents (subTotal) and as a decimal text (subTotalStr). The text wins if it has a decimal
//     point. Otherwise the cents win, since LINGA's own description calls one of the texts an integer; they also win over a
//     text that cannot be read, which is drift. A text without a point and without cents is quarantined, unless it is zero.
//     "$1,234.00" is read.
//   - A list, as in LINGA's reports, is no webhook: its last row would be the total of the others.
//   - Cents with a decimal point, also "12.00", may be whole units. When no text decides, the check is quarantined: operators
//     see that, and may not see an amount that is wrong by a factor of a hundred. guestCount may be any decimal.
//   - Dates are "01-Sep-2026", ISO 8601, seconds or milliseconds, with or without a time. The time of opening may be a time of day,
//     with the day in startDate. A time that cannot be read stays unset and is drift, since the order is worth more than its
//     time. The day alone does not replace it.
//   - isVoid is "false", a string.
//   - The items of online orders (orderDetails) have an unknown shape: they stay in the vendor's message.
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
		// The header's name in LINGA's settings, unless the operator chooses another one.
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
