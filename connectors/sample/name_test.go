package sample_test

import (
	"testing"

	"github.com/webhook-bridge/bridge/connectors/sample"
)

func TestNameFor(t *testing.T) {
	for event, want := range map[string]string{
		"shipping.ordered":      "shipping_ordered",
		"paymentCreated":        "payment_created",
		"LevelWillExpire":       "level_will_expire",
		"orders":                "orders",
		"order_details":         "order_details",
		"order-created":         "order_created",
		"ticketID":              "ticket_id",
		"a..b.":                 "a_b",
		"customer.pointsOf2024": "customer_points_of2024",
	} {
		if got := sample.NameFor(event); got != want {
			t.Errorf("%s: %s, want %s", event, got, want)
		}
	}
}
