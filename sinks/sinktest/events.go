package sinktest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event returns the nth event of a mixed stream: five connectors, six sources, some subjects much busier than others, and some
// subjects with the same name in two sources. It returns the same event at each call.
func event(n int) *eventv1.Event {
	received := began.Add(time.Duration(n) * 137 * time.Millisecond)
	e := &eventv1.Event{
		Id:         fmt.Sprintf("0d6f2a10-7f5e-5b7e-9d6c-%012x", n),
		ReceivedAt: timestamppb.New(received),
		WebhookId:  fmt.Sprintf("0197a3c2-5b1e-7c3d-8e4f-%012x", n/2),
	}
	kinds := []func(e *eventv1.Event, n, about int){changedOrder, changedPoints, orderedShipment, createdPayment, openedOrder, unmapped, bare}
	kinds[scatter(n)%len(kinds)](e, n, busy(n))
	return e
}

// scatter maps n to a small integer, the same one at each call.
func scatter(n int) int { return int((uint64(n)*0x9e3779b97f4a7c15 + 0x632be59bd9b4e019) >> 40) }

// busy returns the number of a subject. Smaller numbers occur more often.
func busy(n int) int { return scatter(n+1) % (1 + scatter(n+2)%29) }

func changedOrder(e *eventv1.Event, n, about int) {
	id := fmt.Sprintf("5f9d%020x", about)
	e.Type, e.Connector, e.VendorEvent = "order.changed", "kasafik", "orders"
	e.Source = []string{"shop-cz", "shop-sk"}[n%2]
	e.Subject, e.SubjectVersion = "order/"+id, fmt.Sprint(9007199254740993+int64(n)) //nolint:perfsprint // Reads as what it is.
	e.OccurredAt = timestamppb.New(e.GetReceivedAt().AsTime().Add(-3 * time.Second))
	e.Data = &eventv1.Event_Order{Order: &eventv1.Order{
		Id:           id,
		Number:       fmt.Sprintf("2026%06d", n),
		Status:       eventv1.OrderStatus_ORDER_STATUS_CLOSED,
		Total:        &money.Money{CurrencyCode: "CZK", Units: int64(100 + n%900), Nanos: 500_000_000},
		Discount:     &money.Money{CurrencyCode: "CZK", Units: -int64(n % 7), Nanos: -10_000_000},
		ProductCount: &decimal.Decimal{Value: strconv.Itoa(n % 12)},
		Lines: []*eventv1.OrderLine{{
			ProductId: fmt.Sprintf("p-%d", n%100),
			Name:      "Řízek s \"domácím\" salátem\n& okurkou",
			Quantity:  &decimal.Decimal{Value: "1.250"},
		}},
	}}
}

func changedPoints(e *eventv1.Event, n, about int) {
	id := fmt.Sprintf("9c4e1c8e-0000-4f5a-8b7d-%012x", about)
	e.Type, e.Connector, e.VendorEvent = "loyalty.points_changed", "openloyalty", "account.available_points_amount_changed"
	e.Source, e.Subject = "loyalty", "customer/"+id
	e.Data = &eventv1.Event_LoyaltyPointsChange{LoyaltyPointsChange: &eventv1.LoyaltyPointsChange{
		CustomerId: id,
		Balance:    &decimal.Decimal{Value: fmt.Sprintf("%d.5", n)},
		Operation:  eventv1.PointsOperation_POINTS_OPERATION_SUBTRACT,
	}}
}

func orderedShipment(e *eventv1.Event, n, about int) {
	id := fmt.Sprintf("2b20e85f-2201-494a-b3f9-%012x", about)
	e.Type, e.Connector, e.VendorEvent = "shipment.ordered", "retino", "shipping.ordered"
	e.Source, e.Subject = "returns", "shipment/"+id
	e.OccurredAt = timestamppb.New(e.GetReceivedAt().AsTime().Add(-time.Minute))
	e.Data = &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{
		Id:             id,
		Reference:      fmt.Sprintf("RT%08d", n),
		ServiceName:    "Zásilkovna – na výdejní místo",
		TrackingNumber: fmt.Sprintf("Z%010d", n),
		TrackingUrl:    fmt.Sprintf("https://tracking.packeta.com/cs/?id=Z%010d&lang=cs", n),
		Charges:        []*eventv1.ShipmentCharge{{Amount: &money.Money{CurrencyCode: "CZK", Units: 99}}},
	}}
}

func createdPayment(e *eventv1.Event, n, about int) {
	id := fmt.Sprintf("%08d", about)
	e.Type, e.Connector, e.VendorEvent = "payment.created", "dealpos", "paymentCreated"
	e.Source, e.Subject = "pos-jakarta", "payment/"+id
	e.Data = &eventv1.Event_Payment{Payment: &eventv1.Payment{
		Id:        id,
		Number:    fmt.Sprintf("PAY/2026/%d", n),
		Amount:    &money.Money{CurrencyCode: "IDR", Units: 9_007_199_254_740_993},
		Method:    "QRIS <tunai>",
		CreatedBy: "Siti 🌺",
	}}
}

func openedOrder(e *eventv1.Event, n, about int) {
	id := fmt.Sprintf("5f9d%020x", about)
	e.Type, e.Connector, e.VendorEvent = "order.opened", "linga", "open"
	e.Source, e.Subject = "bistro", "order/"+id
	e.Data = &eventv1.Event_Order{Order: &eventv1.Order{
		Id:     id,
		Status: eventv1.OrderStatus_ORDER_STATUS_OPEN,
		Total:  &money.Money{CurrencyCode: "USD", Units: int64(n % 50), Nanos: 990_000_000},
		DineIn: proto.Bool(false),
		Table:  "",
	}}
}

func unmapped(e *eventv1.Event, n, about int) {
	e.Type, e.Connector, e.VendorEvent = "unmapped", "openloyalty", "campaign.bought"
	e.Source, e.Subject = "loyalty", fmt.Sprintf("openloyalty/campaign.bought.%d", about)
	e.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{
		Json: fmt.Sprintf("{\r\n\t\"n\": %d, \"id\": 12345678901234567890, \"text\": \"\\u0000 \u2028 </script> 🧾\"\n}\n", n),
	}}
}

// bare sets only the fields that every event has.
func bare(e *eventv1.Event, _, _ int) {
	e.Type, e.Connector, e.VendorEvent = "unmapped", "dealpos", "heartbeat"
	e.Source, e.Subject = "pos-bandung", "dealpos/heartbeat"
	e.Data = &eventv1.Event_Unmapped{Unmapped: &eventv1.Unmapped{}}
}

// eventOfSize returns the nth event with an encoded size of size bytes, or a few bytes less. It does not compress.
func eventOfSize(n, size int) (*eventv1.Event, error) {
	e := event(n)
	unmapped(e, n, 0)
	noise := make([]byte, size*3/4+3)
	if _, err := rand.Read(noise); err != nil {
		return nil, err
	}
	text := base64.StdEncoding.EncodeToString(noise)
	data := &eventv1.Unmapped{}
	e.Data = &eventv1.Event_Unmapped{Unmapped: data}
	for length := size; length > 0; length -= max(proto.Size(e)-size, 1) {
		data.Json = text[:length]
		if proto.Size(e) <= size {
			return e, nil
		}
	}
	return nil, fmt.Errorf("no event has only %d bytes", size)
}
