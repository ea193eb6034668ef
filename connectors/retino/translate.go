package retino

import (
	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

func translate(in connectors.Input) (connectors.Translation, error) {
	f := connectors.NewFields(in.Source)
	switch m := in.Message.(type) {
	case *retinov1.ShippingOrdered:
		return shippingOrdered(f, m)
	default:
		return connectors.Translation{}, connectors.Errorf("$", "is a %T, which has no translation", m)
	}
}

func shippingOrdered(f *connectors.Fields, m *retinov1.ShippingOrdered) (connectors.Translation, error) {
	s := m.GetShipping()
	e := &eventv1.Event{
		Type:       "shipment.ordered",
		Subject:    "shipment/" + f.Need("$.shipping.id", s.GetId()),
		OccurredAt: f.Time("$.created_at", m.GetCreatedAt()),
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{
			Id:             s.GetId(),
			Reference:      s.GetClientReference(),
			ServiceName:    s.GetOptionName(),
			TrackingNumber: s.GetTrackingNumber(),
			TrackingUrl:    s.GetTrackingUrl(),
			Charges:        charges(f, s.GetCustomerPaymentDetails()),
		}},
	}
	key := connectors.NaturalKey(s.GetId(), m.GetCreatedAt())
	return connectors.Translation{Key: key, Events: []*eventv1.Event{e}}, f.Err()
}

func charges(f *connectors.Fields, details []*retinov1.CustomerPaymentDetail) []*eventv1.ShipmentCharge {
	const path = "$.shipping.customer_payment_details"
	return connectors.Each(f, path, details, func(path string, d *retinov1.CustomerPaymentDetail) *eventv1.ShipmentCharge {
		return &eventv1.ShipmentCharge{
			Amount:     f.MoneyIn(path+".amount", d.GetAmount(), d.GetCurrency()),
			InvoiceUrl: d.GetInvoiceUrl(),
		}
	})
}
