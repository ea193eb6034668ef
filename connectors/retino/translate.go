package retino

import (
	"fmt"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

func translate(in connectors.Input) (connectors.Translation, error) {
	switch m := in.Message.(type) {
	case *retinov1.ShippingOrdered:
		return shippingOrdered(m, in.Source)
	default:
		return connectors.Translation{}, connectors.Errorf("$", "is a %T, which has no translation", m)
	}
}

func shippingOrdered(m *retinov1.ShippingOrdered, src connectors.Source) (connectors.Translation, error) {
	s := m.GetShipping()
	if s.GetId() == "" {
		return connectors.Translation{}, connectors.Errorf("$.shipping.id", "is missing")
	}
	at, err := connectors.Time(m.GetCreatedAt(), src.Zone)
	if err != nil {
		return connectors.Translation{}, connectors.Errorf("$.created_at", "%v", err)
	}
	charges, err := shipmentCharges(s.GetCustomerPaymentDetails(), src)
	if err != nil {
		return connectors.Translation{}, err
	}
	key := connectors.NaturalKey(s.GetId(), m.GetCreatedAt())
	return connectors.Translation{Key: key, Events: []*eventv1.Event{{
		Type:       "shipment.ordered",
		Subject:    "shipment/" + s.GetId(),
		OccurredAt: at,
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{
			Id:             s.GetId(),
			Reference:      s.GetClientReference(),
			ServiceName:    s.GetOptionName(),
			TrackingNumber: s.GetTrackingNumber(),
			TrackingUrl:    s.GetTrackingUrl(),
			Charges:        charges,
		}},
	}}}, nil
}

func shipmentCharges(details []*retinov1.CustomerPaymentDetail, src connectors.Source) ([]*eventv1.ShipmentCharge, error) {
	var charges []*eventv1.ShipmentCharge
	for i, d := range details {
		currency := d.GetCurrency()
		if currency == "" {
			currency = src.Currency
		}
		amount, err := connectors.Money(d.GetAmount(), currency)
		if err != nil {
			return nil, connectors.Errorf(fmt.Sprintf("$.shipping.customer_payment_details[%d].amount", i), "%v", err)
		}
		charges = append(charges, &eventv1.ShipmentCharge{Amount: amount, InvoiceUrl: d.GetInvoiceUrl()})
	}
	return charges, nil
}
