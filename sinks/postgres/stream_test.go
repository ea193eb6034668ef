package postgres

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	"github.com/webhook-bridge/bridge/sinks"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newEvent returns the n-th event of a mixed stream, about one of a number of subjects.
func newEvent(n, subjects int) *eventv1.Event {
	about := strconv.Itoa(int(uint64(n) * 0x9e3779b97f4a7c15 >> 33 % uint64(subjects)))
	at := began.Add(time.Duration(n) * 100 * time.Millisecond)
	e := &eventv1.Event{
		Id: eventID(n), Source: "shop", Connector: "kasafik", VendorEvent: "orders", SubjectVersion: strconv.Itoa(1772366400000 + n),
		OccurredAt: timestamppb.New(at.Add(-time.Second)), ReceivedAt: timestamppb.New(at), WebhookId: eventID(n / 2),
	}
	czk := func(units int) *money.Money {
		return &money.Money{CurrencyCode: "CZK", Units: int64(units), Nanos: 500_000_000}
	}
	switch n % 4 {
	case 0, 1:
		e.Type, e.Subject = "order.changed", "order/"+about
		e.Data = &eventv1.Event_Order{Order: &eventv1.Order{
			Id: about, Number: fmt.Sprint("2026", n), Status: eventv1.OrderStatus_ORDER_STATUS_OPEN, Total: czk(n % 5000), NetTotal: czk(n % 4000),
			Tax: czk(n % 1000), ShopId: "12", CustomerId: strconv.Itoa(n % 997), ProductCount: &decimal.Decimal{Value: "3"},
			Lines: []*eventv1.OrderLine{{ProductId: strconv.Itoa(n % 100), Name: "Řízek s \"domácím\" salátem", Quantity: &decimal.Decimal{Value: "1.250"}}},
		}}
	case 2:
		e.Type, e.Subject = "customer.changed", "customer/"+about
		e.Data = &eventv1.Event_Customer{Customer: &eventv1.Customer{
			Id: about, Name: "Jana Nováková", Email: fmt.Sprint("jana", n, "@example.com"), Phone: "+420 777 123 456", LevelId: strconv.Itoa(n % 4),
			Address: &eventv1.PostalAddress{Lines: []string{"Dlouhá 12"}, City: "Praha", Country: "CZ"},
		}}
	case 3:
		e.Type, e.Subject = "payment.created", "payment/"+about
		e.Data = &eventv1.Event_Payment{Payment: &eventv1.Payment{Id: about, Number: fmt.Sprint("PAY", n), Amount: czk(n % 5000), Method: "card"}}
	}
	return e
}

// eventID returns the n-th id. Ids come in no order, as those of events do.
func eventID(n int) string {
	return fmt.Sprintf("%08x-7f5e-5b7e-9d6c-%012x", uint32(uint64(n)*0x9e3779b97f4a7c15>>32), n)
}

func newRecords(tb testing.TB, from, n, subjects int) []sinks.Record {
	tb.Helper()
	records := make([]sinks.Record, n)
	for i := range records {
		records[i] = record(tb, sinks.Position(from+i+1), newEvent(from+i, subjects))
	}
	return records
}
