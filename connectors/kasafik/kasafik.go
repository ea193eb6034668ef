// Package kasafik knows KASA FIK, a Czech point of sale. It sends each record of its database whenever the record changes.
//
// The vendor's page is "Webhook Integrace API". It prints one record, of the table `orders`, and names `order_details` and
// `products`. The messages of other tables follow from the rules for all tables. Tables that are not in the schema become
// `unmapped` events.
//
// # Verification
//
// KASA FIK does not authenticate itself: it sends no secret header and no signature. So auth is `path_token`: the secret is
// part of the URL that is entered in the Backoffice. The answer must have exactly the status 200. Time-out and retries are not
// published.
//
// # Identity
//
// A record's table, id and version (`_t`, `id`, `_v`) identify it, also when the table is not in the schema. KASA FIK says
// that it does not promise an order: `_v` is the subject's version, and an old record that arrives late is published too. A
// record without id or version is identified by its content.
//
// # Mapping
//
//	orders           order.changed, order.deleted              order/<id>
//	order_details    order_line.changed, order_line.deleted    order_line/<id>
//	products         product.changed, product.deleted          product/<id>
//	customers        customer.changed, customer.deleted        customer/<id>
//	categories       category.changed, category.deleted        category/<id>
//
// # Traps
//
//   - Ids made since May 2024 are greater than 2^53: a float cannot represent them.
//   - Money is an integer of thousandths. But total_products is a count, and the scale of total_points and total_credits is
//     not stated: these three are decimals, with every digit kept.
//   - The page calls `_v` a Unix timestamp; it is in milliseconds.
//   - Deletion is a flag, `_d`, of unstated type; for products also a false `_visible`. Null fields may be left out, except
//     `_t`, `_v` and `id`, which the page promises: a missing one is reported (field option `always`).
//   - Fields whose names begin with two underscores are embedded records of other tables. A product's price record is decoded,
//     and not translated: the vendor's example has one price in thousandths and the same price with tax in whole units. For
//     the same reason the table `product_price_matrix` stays unmapped. Other embedded records are drift.
//   - The sample on the page is not JSON: it has a no-break space.
package kasafik

import (
	"context"
	"embed"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	kasafikv1 "github.com/webhook-bridge/bridge/gen/webhooks/kasafik/v1"
)

//go:embed testdata/*.txtar
var samples embed.FS

// New returns the connector.
func New() *connectors.Connector {
	return &connectors.Connector{
		Name:    "kasafik",
		Service: kasafikv1.File_webhooks_kasafik_v1_kasafik_proto.Services().ByName("KasafikWebhookService"),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return kasafikv1.RegisterKasafikWebhookServiceHandlerClient(ctx, mux, kasafikv1.NewKasafikWebhookServiceClient(conn))
		},
		EventField: "_t",
		NeedsHTTPS: true,
		Delivery: connectors.DeliveryPolicy{
			Success:  func(status int) bool { return status == 200 },
			Disorder: true,
		},
		Samples:   samples,
		Answer:    "{}",
		Translate: translate,
		Envelope: &connectors.Envelope{
			New:      func() proto.Message { return new(kasafikv1.Record) },
			Identify: func(m proto.Message) (connectors.Key, string) { return identify(m.(*kasafikv1.Record)) },
		},
	}
}
