package filter

import (
	"testing"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

// shipment is an event as Retino's `shipping.ordered` makes it.
func shipment() *eventv1.Event {
	return &eventv1.Event{
		Id: "0d6f2a10-7f5e-5b7e-9d6c-000000000001", Type: "shipment.ordered", Source: "returns", Connector: "retino",
		VendorEvent: "shipping.ordered", Subject: "shipment/2b20e85f-2201-494a-b3f9-85d89721174e",
		ReceivedAt: &timestamppb.Timestamp{Seconds: 1772366400},
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{
			Id:          "2b20e85f-2201-494a-b3f9-85d89721174e",
			ServiceName: "Zásilkovna – na výdejní místo",
			Charges:     []*eventv1.ShipmentCharge{{Amount: &money.Money{CurrencyCode: "CZK", Units: 99}}},
		}},
	}
}

func stock() *eventv1.Event {
	return &eventv1.Event{
		Type: "stock.changed", Source: "shop",
		Data: &eventv1.Event_StockMovement{StockMovement: &eventv1.StockMovement{
			Lines: []*eventv1.StockLine{{Quantity: &decimal.Decimal{Value: "12.50"}}},
		}},
	}
}

func record(tb testing.TB, e *eventv1.Event) sinks.Record {
	tb.Helper()
	encoded, err := proto.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sinks.NewRecord(1, encoded)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
