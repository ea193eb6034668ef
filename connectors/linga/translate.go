package linga

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	lingav1 "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
)

func translate(in connectors.Input) (connectors.Translation, error) {
	f := fields{connectors.NewFields(in.Source), in.Source}
	m, ok := in.Message.(*lingav1.Check)
	if !ok {
		return connectors.Translation{}, connectors.Errorf("$", "is a %T, which has no translation", in.Message)
	}
	var e *eventv1.Event
	switch in.Event {
	case "open":
		e = f.opened(m)
	case "update":
		e = f.updated(m)
	case "close":
		e = f.closed(m)
	default:
		f.Fail("$", "is the event %q, which has no translation", in.Event)
	}
	if err := f.Err(); err != nil {
		return connectors.Translation{}, err
	}
	return connectors.Translation{Key: connectors.ContentHash(), Events: []*eventv1.Event{e}}, nil
}

// fields adds LINGA's own readers to the common ones.
type fields struct {
	*connectors.Fields
	source connectors.Source
}

func (f fields) opened(m *lingav1.Check) *eventv1.Event {
	e := f.event("order.opened", f.order(m, eventv1.OrderStatus_ORDER_STATUS_OPEN))
	e.OccurredAt = f.openedAt(m)
	return e
}

func (f fields) updated(m *lingav1.Check) *eventv1.Event {
	return f.event("order.updated", f.order(m, eventv1.OrderStatus_ORDER_STATUS_OPEN))
}

func (f fields) closed(m *lingav1.Check) *eventv1.Event {
	order := f.order(m, eventv1.OrderStatus_ORDER_STATUS_CLOSED)
	if order.GetTotal() == nil {
		// Before it is closed, the paid amount is not the total.
		order.Total = order.GetPaid()
	}
	return f.event("order.closed", order)
}

func (f fields) event(typ string, order *eventv1.Order) *eventv1.Event {
	return &eventv1.Event{
		Type:    typ,
		Subject: "order/" + order.GetId(),
		Data:    &eventv1.Event_Order{Order: order},
	}
}

func (f fields) order(m *lingav1.Check, status eventv1.OrderStatus) *eventv1.Order {
	return &eventv1.Order{
		Id:     f.Supposed(cmp.Or(m.GetSaleUniqueId(), m.GetId(), m.GetUniqueOrderId())),
		Number: cmp.Or(m.GetTicketNo(), m.GetOrderNumber()),
		Status: status,
		Total: f.first(
			amount{"$.grossReceipt", m.GetGrossReceiptStr(), nil},
			amount{"$.totalAmount", m.GetTotalAmountStr(), m.GetTotalAmount()},
		),
		NetTotal: f.first(
			amount{"$.netSales", m.GetNetSalesStr(), m.GetNetSales()},
			amount{"$.subTotal", m.GetSubTotalStr(), m.GetSubTotal()},
		),
		Paid: f.cents("$.paidAmount", m.GetPaidAmount()),
		Tax: f.first(
			amount{"$.totalTaxAmount", m.GetTotalTaxAmountStr(), nil},
			amount{"$.totalTax", m.GetTotalTaxStr(), m.GetTotalTax()},
		),
		Tip:        f.first(amount{"$.driverTipAmount", m.GetDriverTipAmountStr(), m.GetDriverTipAmount()}),
		Shipping:   f.first(amount{"$.deliveryCharge", m.GetDeliveryChargeStr(), m.GetDeliveryCharge()}),
		ShopId:     m.GetStore(),
		EmployeeId: m.GetEmployee(),
		ServedById: m.GetSaleCloseEmployee(),
		Table:      m.GetTableNo(),
		CustomerId: m.GetCustomer(),
		OpenedAt:   f.openedAt(m),
		GuestCount: connectors.Decimal(m.GetGuestCount()),
		Lines:      f.lines(m.GetOrders()),
		Payments:   f.payments(m.GetPayments()),
	}
}

func (f fields) lines(items []*lingav1.CheckItem) []*eventv1.OrderLine {
	return connectors.Each(f.Fields, "$.orders", items, func(path string, item *lingav1.CheckItem) *eventv1.OrderLine {
		return &eventv1.OrderLine{
			Name:     item.GetMenuName(),
			Quantity: connectors.Decimal(item.GetQuantity()),
			Total: f.first(
				amount{path + ".totalGrossAmount", item.GetTotalGrossAmountStr(), nil},
				amount{path + ".grossAmount", item.GetGrossAmountStr(), nil},
			),
			Discount: f.text(path+".totalDiscountAmountStr", strings.TrimPrefix(item.GetTotalDiscountAmountStr(), "-")),
			Void:     item.IsVoid,
			Category: item.GetCategoryName(),
		}
	})
}

func (f fields) payments(payments []*lingav1.CheckPayment) []*eventv1.Payment {
	return connectors.Each(f.Fields, "$.payments", payments, func(path string, p *lingav1.CheckPayment) *eventv1.Payment {
		return &eventv1.Payment{
			Amount: f.text(path+".authorizedAmountStr", p.GetAuthorizedAmountStr()),
			Tip:    f.text(path+".paymentTipStr", p.GetPaymentTipStr()),
			Method: p.GetPaymentMethod(),
		}
	})
}

// amount is a field that LINGA may send twice: as a decimal text at path + "Str", and as cents at path.
type amount struct {
	path, text string
	cents      *decimal.Decimal
}

// first reads the first amount that is there. A wrong later amount does not matter.
func (f fields) first(amounts ...amount) *money.Money {
	for _, a := range amounts {
		if m := f.amount(a); m != nil || f.Err() != nil {
			return m
		}
	}
	return nil
}

// amount prefers the text. But when there are both, the cents win over a text that cannot be read, and over a text without a
// decimal point, whose unit is not known.
func (f fields) amount(a amount) *money.Money {
	if a.cents.GetValue() == "" {
		return f.text(a.path+"Str", a.text)
	}
	if strings.Contains(a.text, ".") {
		if _, err := connectors.Money(ungrouped(a.text), ""); err == nil {
			return f.text(a.path+"Str", a.text)
		}
	}
	return f.cents(a.path, a.cents)
}

// cents reads a whole number. A number with a decimal point may be in whole units, and an order in quarantine is better than
// an amount that is wrong by a factor of a hundred.
func (f fields) cents(path string, d *decimal.Decimal) *money.Money {
	if d.GetValue() == "" {
		return nil
	}
	n, err := strconv.ParseInt(d.GetValue(), 10, 64)
	if err != nil {
		f.Fail(path, "is no whole number of cents")
		return nil
	}
	return f.ScaledMoneyIn(path, &n, 2, "")
}

// text reads a decimal. Without a point it may be in cents, as LINGA's own description of one of the texts says. Only zero is
// certain.
func (f fields) text(path, text string) *money.Money {
	m := f.Money(path, ungrouped(text))
	if (m.GetUnits() != 0 || m.GetNanos() != 0) && !strings.Contains(text, ".") {
		f.Fail(path, "has no decimal point, so that it may be of units or of cents")
	}
	return m
}

// grouped matches a decimal with commas between thousands, as LINGA's reports write it. It does not match "1,5".
var grouped = regexp.MustCompile(`^-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$`)

func ungrouped(text string) *decimal.Decimal {
	if grouped.MatchString(text) {
		text = strings.ReplaceAll(text, ",", "")
	}
	return &decimal.Decimal{Value: text}
}

// openedAt returns the first time that can be read. The day of startDate alone is the last choice. It is not used if there is
// a time of day that cannot be read: midnight would be wrong.
func (f fields) openedAt(m *lingav1.Check) *timestamppb.Timestamp {
	opened := strings.TrimSpace(m.GetSaleOpenTime())
	day, dayAndTime := strings.TrimSpace(m.GetStartDate()), ""
	if opened != "" {
		day, dayAndTime = "", day+" "+opened
	}
	for _, text := range []string{
		opened,
		dayAndTime,
		m.GetDateCreated(),
		m.GetOrderedDateStr(),
		day,
	} {
		if t := instant(strings.TrimSpace(text), f.source.Zone); t != nil {
			return t
		}
	}
	return nil
}

// firstMilli is a time in 2001 in milliseconds, and one far off in seconds: smaller numbers are not known to be either.
const firstMilli = 1e12

// timeLayouts are the forms in addition to ISO 8601.
var timeLayouts = [...]string{
	"2-Jan-2006 15:04:05",
	"2-Jan-2006 15:04",
	"2-Jan-2006 3:04:05 PM",
	"2-Jan-2006 3:04 PM",
	"2-Jan-2006",
	"2006-01-02 3:04:05 PM",
	"2006-01-02 3:04 PM",
}

// instant reads a time in any form that LINGA is known to use. It returns nil for any other text.
func instant(text string, zone *time.Location) *timestamppb.Timestamp {
	if t, err := connectors.Time(text, zone); err == nil {
		return t
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= firstMilli {
		t, err := connectors.Millis(&ms)
		if err != nil {
			return nil
		}
		return t
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil && t.Year() > 1 {
			return timestamppb.New(t)
		}
	}
	return nil
}
