// Package parcelino knows Parcelino, a carrier that this example made up: its webhooks about parcels.
//
// # Verification
//
// Each webhook is signed: HMAC-SHA256 of the body, in hex, in `X-Parcelino-Signature`.
//
// # Identity
//
// A parcel is delivered once: its id is the key.
//
// # Mapping
//
//	parcel.delivered    shipment.delivered    shipment/<parcelId>
//
// # Traps
//
// None is known.
package parcelino

import (
	"context"
	"embed"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"

	parcelinov1 "example.com/own-connector/gen/parcelino/v1"
)

//go:embed testdata/*.txtar
var samples embed.FS

// New returns the connector.
func New() *connectors.Connector {
	return &connectors.Connector{
		Name:    "parcelino",
		Service: parcelinov1.File_parcelino_v1_parcelino_proto.Services().ByName("ParcelinoWebhookService"),
		Register: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
			return parcelinov1.RegisterParcelinoWebhookServiceHandlerClient(ctx, mux, parcelinov1.NewParcelinoWebhookServiceClient(conn))
		},
		EventField:   "event",
		Verification: connectors.Verification{HMAC: &connectors.HMAC{Header: "X-Parcelino-Signature"}},
		Samples:      samples,
		Answer:       "{}",
		Translate:    translate,
	}
}

func translate(in connectors.Input) (connectors.Translation, error) {
	f := connectors.NewFields(in.Source)
	switch m := in.Message.(type) {
	case *parcelinov1.ParcelDelivered:
		return translateParcelDelivered(f, m)
	default:
		return connectors.Translation{}, connectors.Errorf("$", "is a %T, which has no translation", m)
	}
}

func translateParcelDelivered(f *connectors.Fields, m *parcelinov1.ParcelDelivered) (connectors.Translation, error) {
	e := &eventv1.Event{
		Type:       "shipment.delivered",
		Subject:    "shipment/" + f.Need("$.parcelId", m.GetParcelId()),
		OccurredAt: f.Time("$.deliveredAt", m.GetDeliveredAt()),
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{
			Id:             m.GetParcelId(),
			TrackingNumber: m.GetTracking(),
		}},
	}
	return connectors.Translation{
		Key:    connectors.NaturalKey("delivered", m.GetParcelId()),
		Events: []*eventv1.Event{e},
	}, f.Err()
}
