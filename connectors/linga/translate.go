package linga

import (
	"cmp"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"

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
	return connectors.Translation{Key: connectors.ContentHash(), Events: []*eventv1.Event{e}, Drift: f.Drifts()}, nil
}

// fields adds LINGA's own readers to the common ones.
type fields struct {
	*connectors.Fields
	source connectors.Source
}

func (f fields) opened(m *lingav1.Check) *eventv1.Event {
	e := f.event("order.opened", f.order(m, eventv1.OrderStatus_ORDER_STATUS_OPEN))
	e.OccurredAt = e.GetOrder().GetOpenedAt()
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
		GuestCount: f.Decimal("$.guestCount", m.GetGuestCount()),
		Lines:      f.lines(m.GetOrders()),
		Payments:   f.payments(m.GetPayments()),
	}
}

func (f fields) lines(items []*lingav1.CheckItem) []*eventv1.OrderLine {
	return connectors.Each(f.Fields, "$.orders", items, func(path string, item *lingav1.CheckItem) *eventv1.OrderLine {
		return &eventv1.OrderLine{
			Name:     item.GetMenuName(),
			Quantity: f.Decimal(path+".quantity", item.GetQuantity()),
			Total: f.first(
				amount{path + ".totalGrossAmount", item.GetTotalGrossAmountStr(), nil},
				amount{path + ".grossAmount", item.GetGrossAmountStr(), nil},
			),
			Discount: f.unsigned(path+".totalDiscountAmountStr", item.GetTotalDiscountAmountStr()),
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

// first reads the first amount that is there. A later amount stands in for it and is not used, but what cannot be read is drift.
func (f fields) first(amounts ...amount) (first *money.Money) {
	for _, a := range amounts {
		if first != nil {
			f.reportUnreadable(a)
		} else if first = f.amount(a); f.Err() != nil {
			return nil
		}
	}
	return first
}

func (f fields) reportUnreadable(a amount) {
	if _, err := connectors.Plain(a.text); err != nil {
		f.Drift(a.path+"Str", a.text)
	}
	if cents := a.cents.GetValue(); cents != "" {
		if _, err := strconv.ParseInt(cents, 10, 64); err != nil {
			f.Drift(a.path, cents)
		}
	}
}

// amount prefers the text. But when there are both, the cents win over a text that cannot be read, and over a text without a
// decimal point, whose unit is not known. The text is drift then, unless it says the same.
func (f fields) amount(a amount) *money.Money {
	if a.cents.GetValue() == "" {
		return f.text(a.path+"Str", a.text)
	}
	plain, err := connectors.Plain(a.text)
	if strings.Contains(plain, ".") {
		return f.text(a.path+"Str", a.text)
	}
	if err == nil {
		f.Money(a.path+"Str", &decimal.Decimal{Value: a.text}) // its currency must be the source's
	}
	cents := f.cents(a.path, a.cents)
	if err != nil || plain != "" && plain != a.cents.GetValue() && plain+"00" != a.cents.GetValue() {
		f.Drift(a.path+"Str", a.text)
	}
	return cents
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
	m := f.Money(path, &decimal.Decimal{Value: text})
	if m.GetUnits() == 0 && m.GetNanos() == 0 {
		return m
	}
	if plain, err := connectors.Plain(text); err == nil && !strings.Contains(plain, ".") {
		f.Fail(path, "has no decimal point, so that it may be of units or of cents")
	}
	return m
}

// unsigned is text without its sign.
func (f fields) unsigned(path, text string) *money.Money {
	m := f.text(path, text)
	if m.GetUnits() >= 0 && m.GetNanos() >= 0 {
		return m
	}
	positive := connectors.SubtractMoney(&money.Money{CurrencyCode: m.GetCurrencyCode()}, m)
	if positive == nil {
		f.Fail(path, "is out of range for money")
	}
	return positive
}
