// Package dealpos knows the webhooks of DealPOS, an Indonesian point of sale and ERP. The vendor's page is "Product Webhook
// API (1.0.0)". It prints the payments of invoices in full and names the other groups. Their fields come from DealPOS's own
// guides and REST answers, as far as we found them.
//
// # Verification
//
// A constant key in the header `X-API-Key`, or nothing at all; nothing is signed. DealPOS expects a 2xx within 30 seconds. It
// tries once more, after seven seconds, and only after the answer 408, 429 or 5xx. Without any answer the webhook is lost.
//
// # Identity
//
// No event has an id, but most records do. An event that happens to a record only once (created, erased, written off,
// completed, closed) has a natural key: the record's ID or, if it has none, outlet, number and date. An event that can happen
// again has the content hash within two minutes, which covers the one retry. These are changes; deletions, since DealPOS seems
// to restore deleted records, and the next deletion has the same body; and all events of customers and suppliers, which have
// only a code and can be created, deleted, and created again. The bodies of created, updated and deleted are the same; the
// event is part of the key. There are no versions, and no promise of order.
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
// occurred_at is Created for created records, Date for goods that moved (ReceivedDate for a transfer), and Close for a shift.
// DealPOS does not send the time of a change, a deletion or a write-off.
//
// An event whose name or body is on no page is `unmapped`: bills, sales orders, write-offs of invoices and bills, loyalty
// points, outlets. validateCoupon is not a webhook but a request: DealPOS waits for the coupon's value, which Bridge does not
// know. Send it to a service that knows it.
//
// # Traps
//
//   - The body does not name its event: each event needs its own URL.
//   - Times have no zone and up to seven decimals; the year 0001 means "not set"; a field that holds a time in one event
//     holds a date in another. A date alone is that day's start in the source's zone.
//   - Outlet is a name, not an id.
//   - Customer may be {}: then there is none. Gender is a number or a word. Void is "Yes" or "No".
//   - Amounts are numbers of whole units without a currency.
//   - A line's Discount is an amount or a percentage, and DealPOS does not say which: it has no canonical field.
//   - Fields are added without notice, such as CreatorID, TagID and CouponNote. The vendor's pages mark fields as required,
//     except in products and invoices. A missing required field is reported (field option `always`).
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

// retryOn reports whether DealPOS tries again after an answer. It never does without an answer, which is status 0.
func retryOn(status int) bool {
	return status == 408 || status == 429 || status >= 500 && status <= 599
}
