package kasafik

import (
	"google.golang.org/genproto/googleapis/type/money"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	kasafikv1 "github.com/webhook-bridge/bridge/gen/webhooks/kasafik/v1"
)

func translate(in connectors.Input) (connectors.Translation, error) {
	f := connectors.NewFields(in.Source)
	switch m := in.Message.(type) {
	case *kasafikv1.Order:
		return translation(f, m, "order", m.GetD(), &eventv1.Event{Data: &eventv1.Event_Order{Order: order(f, m)}})
	case *kasafikv1.OrderDetail:
		return translation(f, m, "order_line", m.GetD(), &eventv1.Event{Data: &eventv1.Event_OrderLine{OrderLine: orderLine(m)}})
	case *kasafikv1.Product:
		p := product(f, m)
		return translation(f, m, "product", p.GetDeleted(), &eventv1.Event{Data: &eventv1.Event_Product{Product: p}})
	case *kasafikv1.Customer:
		return translation(f, m, "customer", m.GetD(), &eventv1.Event{Data: &eventv1.Event_Customer{Customer: customer(m)}})
	case *kasafikv1.Category:
		return translation(f, m, "category", m.GetD(), &eventv1.Event{Data: &eventv1.Event_Category{Category: category(m)}})
	default:
		return connectors.Translation{}, connectors.Errorf("$", "is a %T, which has no translation", m)
	}
}

// record has the fields of all tables' records. Id and version are never 0: a 0 means that the field is missing.
type record interface {
	GetId() int64
	GetV() int64
}

// translation completes the event of a record. The event has its data already.
func translation(f *connectors.Fields, r record, kind string, deleted bool, e *eventv1.Event) (connectors.Translation, error) {
	key, version := identify(r)
	e.Type = kind + ".changed"
	if deleted {
		e.Type = kind + ".deleted"
	}
	e.Subject = kind + "/" + f.Need("$.id", id(r))
	e.SubjectVersion = version
	if v := r.GetV(); v != 0 {
		e.OccurredAt = f.Millis("$._v", &v)
	}
	return connectors.Translation{Key: key, Events: []*eventv1.Event{e}}, f.Err()
}

// identify returns the key of a record's version, within its table.
func identify(r record) (key connectors.Key, version string) {
	version = digits(r.GetV())
	return connectors.NaturalKey(id(r), version), version
}

func id(r record) string { return digits(r.GetId()) }

func digits(n int64) string {
	if n == 0 {
		return ""
	}
	return connectors.Digits(&n)
}

func order(f *connectors.Fields, m *kasafikv1.Order) *eventv1.Order {
	o := &eventv1.Order{
		Id:             id(m),
		Number:         connectors.Digits(m.OrderSerialNumber),
		Total:          amount(f, m, "$.total_paid_tax_incl", m.TotalPaidTaxIncl),
		NetTotal:       amount(f, m, "$.total_paid_tax_excl", m.TotalPaidTaxExcl),
		Paid:           amount(f, m, "$.total_paid_real", m.TotalPaidReal),
		Discount:       amount(f, m, "$.total_discounts_tax_incl", m.TotalDiscountsTaxIncl),
		Tip:            amount(f, m, "$.total_tip", m.TotalTip),
		Shipping:       amount(f, m, "$.total_shipping_tax_incl", m.TotalShippingTaxIncl),
		Wrapping:       amount(f, m, "$.total_wrapping_tax_incl", m.TotalWrappingTaxIncl),
		Profit:         amount(f, m, "$.total_profit_tax_excl", m.TotalProfitTaxExcl),
		ConversionRate: f.Decimal("$.conversion_rate", m.GetConversionRate()),
		ProductCount:   f.Decimal("$.total_products", m.GetTotalProducts()),
		DineIn:         m.DineIn,
		ShopId:         connectors.Digits(m.IdShop),
		RegisterId:     connectors.Digits(m.IdCashRegister),
		ShiftId:        connectors.Digits(m.IdShift),
		EmployeeId:     connectors.Digits(m.IdEmployee),
		ServedById:     connectors.Digits(m.IdEmployeeServed),
		Table:          connectors.Digits(m.IdParkLocation),
		CustomerId:     connectors.Digits(m.IdCustomer),
		Points:         f.Decimal("$.total_points", m.GetTotalPoints()),
		Credits:        f.Decimal("$.total_credits", m.GetTotalCredits()),
	}
	o.Tax = connectors.SubtractMoney(o.GetTotal(), o.GetNetTotal())
	if m.GetD() {
		o.Status = eventv1.OrderStatus_ORDER_STATUS_DELETED
	}
	return o
}

// amount reads thousandths.
func amount(f *connectors.Fields, m *kasafikv1.Order, path string, v *int64) *money.Money {
	return f.ScaledMoneyIn(path, v, 3, m.GetCurrency())
}

func orderLine(m *kasafikv1.OrderDetail) *eventv1.OrderLine {
	return &eventv1.OrderLine{
		Id:        id(m),
		OrderId:   connectors.Digits(m.IdOrder),
		ProductId: connectors.Digits(m.IdProduct),
		Deleted:   m.GetD(),
	}
}

func product(f *connectors.Fields, m *kasafikv1.Product) *eventv1.Product {
	return &eventv1.Product{
		Id:        id(m),
		Name:      m.GetName(),
		Deleted:   m.GetD() || m.Visible != nil && !m.GetVisible(),
		UpdatedAt: f.Millis("$.date_updated", m.DateUpdated),
	}
}

// customer translates only the id: no page lists a customer's fields.
func customer(m *kasafikv1.Customer) *eventv1.Customer {
	return &eventv1.Customer{Id: id(m)}
}

func category(m *kasafikv1.Category) *eventv1.Category {
	return &eventv1.Category{Id: id(m), Name: m.GetName(), Deleted: m.GetD()}
}
