package dealpos

import (
	"strings"

	"google.golang.org/genproto/googleapis/type/decimal"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
)

func (f fields) invoice(m *dealposv1.Invoice) connectors.Translation {
	id, key := f.identify(m.GetId(), m.GetOutlet(), m.GetNumber(), m.GetDate())
	e := &eventv1.Event{
		Type:    f.typ,
		Subject: "invoice/" + id,
		Data: &eventv1.Event_Invoice{Invoice: &eventv1.Invoice{
			Id:           m.GetId(),
			Number:       m.GetNumber(),
			Outlet:       m.GetOutlet(),
			Date:         f.Date("$.Date", m.GetDate()),
			DueDate:      f.Date("$.DueDate", m.GetDueDate()),
			CreatedAt:    f.Time("$.Created", m.GetCreated()),
			Customer:     party(m.GetCustomer()),
			Gross:        f.Money("$.Gross", m.GetGross()),
			Discount:     f.Money("$.DiscountTotal", m.GetDiscountTotal()),
			Tax:          f.Money("$.Tax", m.GetTax()),
			NetTotal:     f.Money("$.Sales", m.GetSales()),
			Total:        f.Money("$.SalesNTax", m.GetSalesNTax()),
			Surcharge:    f.Money("$.Surcharge", m.GetSurcharge()),
			PointsUsed:   f.Decimal("$.PointUsed", m.GetPointUsed()),
			PointsEarned: f.Decimal("$.PointsEarned", m.GetPointsEarned()),
			Void:         m.Void,
			CouponCode:   m.GetCoupon(),
			Note:         m.GetNote(),
			Reference:    m.GetReferenceNumber(),
			Lines:        f.invoiceLines(m.GetVariants()),
			Payments:     f.payments(m.GetPayments()),
			CreatedById:  m.GetCreatorId(),
		}},
	}
	if f.typ == "invoice.created" {
		e.OccurredAt = f.Time("$.Created", m.GetCreated())
	}
	return one(key, e)
}

func (f fields) invoiceLines(goods []*dealposv1.Goods) []*eventv1.InvoiceLine {
	return connectors.Each(f.Fields, "$.Variants", goods, func(path string, g *dealposv1.Goods) *eventv1.InvoiceLine {
		return &eventv1.InvoiceLine{
			VariantId: g.GetVariantId(),
			Name:      g.GetName(),
			Code:      g.GetCode(),
			Quantity:  f.Decimal(path+".Quantity", g.GetQuantity()),
			Price:     f.Money(path+".Price", g.GetPrice()),
		}
	})
}

func (f fields) payments(payments []*dealposv1.InvoicePayment) []*eventv1.Payment {
	return connectors.Each(f.Fields, "$.Payments", payments, func(path string, p *dealposv1.InvoicePayment) *eventv1.Payment {
		out := f.payment(path, p)
		out.InvoiceId = p.GetInvoiceId()
		return out
	})
}

func (f fields) invoicePayment(m *dealposv1.Payment) connectors.Translation {
	p := f.payment("$", m)
	p.InvoiceId = m.GetInvoiceId()
	return f.paid("payment", p)
}

func (f fields) billPayment(m *dealposv1.BillPayment) connectors.Translation {
	p := f.payment("$", m)
	p.BillId = m.GetBillId()
	return f.paid("bill_payment", p)
}

func (f fields) paid(kind string, p *eventv1.Payment) connectors.Translation {
	e := &eventv1.Event{
		Type:    f.typ,
		Subject: kind + "/" + f.Need("$.ID", p.GetId()),
		Data:    &eventv1.Event_Payment{Payment: p},
	}
	if strings.HasSuffix(f.typ, ".created") {
		e.OccurredAt = p.GetCreatedAt()
	}
	return one(f.key(p.GetId()), e)
}

// payment is a payment for an invoice, a payment inside an invoice, or a payment for a supplier's bill.
type payment interface {
	GetId() string
	GetNumber() string
	GetAmount() *decimal.Decimal
	GetMethod() string
	GetDate() string
	GetOutlet() string
	GetCreated() string
	GetCreator() string
	GetCreatorId() string
}

func (f fields) payment(path string, p payment) *eventv1.Payment {
	return &eventv1.Payment{
		Id:          p.GetId(),
		Number:      p.GetNumber(),
		Amount:      f.Money(path+".Amount", p.GetAmount()),
		Method:      p.GetMethod(),
		Date:        f.Date(path+".Date", p.GetDate()),
		Outlet:      p.GetOutlet(),
		CreatedAt:   f.Time(path+".Created", p.GetCreated()),
		CreatedBy:   p.GetCreator(),
		CreatedById: p.GetCreatorId(),
	}
}

func (f fields) shift(m *dealposv1.Shift) connectors.Translation {
	id := f.Need("$.ID", m.GetId())
	return one(f.key(id), &eventv1.Event{
		Type:       f.typ,
		Subject:    "shift/" + id,
		OccurredAt: f.Time("$.Close", m.GetClose()),
		Data: &eventv1.Event_Shift{Shift: &eventv1.Shift{
			Id:           id,
			Number:       m.GetNumber(),
			Outlet:       m.GetOutlet(),
			Register:     m.GetRegister(),
			Cashier:      m.GetCashier(),
			OpenedAt:     f.Time("$.Open", m.GetOpen()),
			ClosedAt:     f.Time("$.Close", m.GetClose()),
			Total:        f.Money("$.SalesNTax", m.GetSalesNTax()),
			InvoiceCount: m.TotalInvoice,
			VisitorCount: m.Visitor,
		}},
	})
}
