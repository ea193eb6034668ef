// Package dealpos knows the webhooks of DealPOS, an Indonesian point of sale and ERP. The vendor's page is "Product Webhook
// API (1.0.0)". It prints the payments of invoices in full and names the other groups; their fields are those of DealPOS's
// own guides and REST answers, where they were found.
//
// # Verification
//
// A constant key in the header `X-API-Key`, or nothing at all; nothing is signed. DealPOS wants a 2xx within 30 seconds. It
// tries once more, after seven seconds, and only if it was answered 408, 429 or 5xx: no answer at all is a loss.
//
// # Identity
//
// No event has an id, but most records do. What happens to a record once (created, erased, written off, completed, closed)
// has a natural key: the record's ID or, for those that have none, outlet, number and date. What can happen again goes by
// content hash within two minutes, which covers the one retry: changes; deletions, since DealPOS seems to restore what was
// deleted, and the next deletion has the same body; and whatever becomes of customers and suppliers, which are known by a
// code alone and can be created, deleted, and created again. The bodies of created, updated and deleted are alike; keys are
// kept apart by event. No versions, no promise of order.
//
// A shift that is closed a second time has another Close, so another body, and is published as a revision.
//
// # Mapping
//
//	productCreated, …Updated, …Deleted    product.created, .updated, .deleted              product/<ID>
//	productVariantCreated, …Updated       product_variant.created, .updated                product_variant/<ID>
//	invoiceCreated, …Deleted, …Erased     invoice.created, .deleted, .erased               invoice/<ID>, else <Number>
//	customerCreated, …Deleted             customer.created, .deleted                       customer/<Code>
//	supplierCreated, …Deleted             supplier.created, .deleted                       supplier/<Code>
//	transferOrderCreated                  transfer.completed                               transfer/<Number>
//	outboundLogisticComplete              outbound.completed                               outbound/<ID>, else <Number>
//	inboundLogisticComplete               inbound.completed                                inbound/<Number>
//	adjustmentCreated                     stock.adjusted                                   adjustment/<ID>, else <Number>
//	paymentCreated, …Updated, …Deleted    payment.created, .updated, .deleted              payment/<ID>
//	paymentWriteoff                       payment.written_off                              payment/<ID>
//	supplierBillPaymentCreated, …Deleted  bill_payment.created, .deleted                   bill_payment/<ID>
//	closeShift                            shift.closed                                     shift/<ID>
//
// occurred_at is Created of what was created, Date of goods that moved (ReceivedDate of a transfer), Close of a shift.
// DealPOS does not say when something was changed, deleted or written off.
//
// An event whose name or body is on no page is `unmapped`: bills, sales orders, write-offs of invoices and bills, loyalty
// points, outlets. validateCoupon is not a webhook but a request: DealPOS waits for the coupon's worth, which Bridge
// does not know. Send it to a service that does.
//
// # Traps
//
//   - The body does not name its event: each needs a URL of its own.
//   - Times have no zone and up to seven decimals; the year 0001 means "not set"; a field that holds a time in one event
//     holds a date in another. A date alone is that day's start in the source's zone.
//   - Outlet is a name, not an id.
//   - Customer may be {}: then there is none. Gender is a number or a word. Void is "Yes" or "No".
//   - Amounts are numbers of whole units without a currency.
//   - A line's Discount is an amount or a percentage and does not say which: nothing canonical is made of it.
//   - Fields are added without notice: CreatorID, TagID and CouponNote were. Those that the vendor's pages mark as required
//     are reported when they are missing (field option `always`), of all but products and invoices, where none is.
package dealpos

import (
	"context"
	"embed"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/webhook-bridge/bridge/connectors"
	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
)

//go:embed testdata/*.txtar
var samples embed.FS

// New returns the connector.
func New() *connectors.Connector {
	return &connectors.Connector{
		Name:    "dealpos",
		Service: dealposv1.File_webhooks_dealpos_v1_dealpos_proto.Services().ByName("DealposWebhookService"),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return dealposv1.RegisterDealposWebhookServiceHandlerClient(ctx, mux, dealposv1.NewDealposWebhookServiceClient(conn))
		},
		Verification: connectors.Verification{Header: "X-API-Key"},
		Delivery: connectors.DeliveryPolicy{
			Timeout: 30 * time.Second,
			Retries: []time.Duration{7 * time.Second},
			RetryOn: retryOn,
		},
		Samples:       samples,
		Answer:        `{"status":"success"}`,
		NeedsCurrency: true,
		NeedsTimeZone: true,
		Window:        2 * time.Minute,
		Translate:     translate,
	}
}

// retryOn says which answers DealPOS tries again after. It never does without one, which is status 0.
func retryOn(status int) bool {
	return status == 408 || status == 429 || status >= 500 && status <= 599
}
