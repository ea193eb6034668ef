package dealpos

import (
	"cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
)

func translate(in connectors.Input) (connectors.Translation, error) {
	f := fields{Fields: connectors.NewFields(in.Source), typ: typeOf(in.Event)}
	var t connectors.Translation
	switch m := in.Message.(type) {
	case *dealposv1.Product:
		t = f.product(m)
	case *dealposv1.ProductVariant:
		t = f.productVariant(m)
	case *dealposv1.Invoice:
		t = f.invoice(m)
	case *dealposv1.Customer:
		t = f.customer(m)
	case *dealposv1.Supplier:
		t = f.supplier(m)
	case *dealposv1.TransferOrder:
		t = f.transferOrder(m)
	case *dealposv1.OutboundLogistic:
		t = f.outboundLogistic(m)
	case *dealposv1.InboundLogistic:
		t = f.inboundLogistic(m)
	case *dealposv1.Adjustment:
		t = f.adjustment(m)
	case *dealposv1.Payment:
		t = f.payment(m)
	case *dealposv1.BillPayment:
		t = f.billPayment(m)
	case *dealposv1.Shift:
		t = f.shift(m)
	default:
		f.Fail("$", "is a %T, which has no translation", m)
	}
	if f.typ == "" {
		f.Fail("$", "is the event %q, which has no translation", in.Event)
	}
	if err := f.Err(); err != nil {
		return connectors.Translation{}, err
	}
	return t, nil
}

// typeOf returns the canonical type, which the message alone does not tell.
func typeOf(event string) string {
	switch event {
	case "productCreated":
		return "product.created"
	case "productUpdated":
		return "product.updated"
	case "productDeleted":
		return "product.deleted"
	case "productVariantCreated":
		return "product_variant.created"
	case "productVariantUpdated":
		return "product_variant.updated"
	case "invoiceCreated":
		return "invoice.created"
	case "invoiceDeleted":
		return "invoice.deleted"
	case "invoiceErased":
		return "invoice.erased"
	case "customerCreated":
		return "customer.created"
	case "customerDeleted":
		return "customer.deleted"
	case "supplierCreated":
		return "supplier.created"
	case "supplierDeleted":
		return "supplier.deleted"
	case "transferOrderCreated":
		return "transfer.completed"
	case "outboundLogisticComplete":
		return "outbound.completed"
	case "inboundLogisticComplete":
		return "inbound.completed"
	case "adjustmentCreated":
		return "stock.adjusted"
	case "paymentCreated":
		return "payment.created"
	case "paymentUpdated":
		return "payment.updated"
	case "paymentDeleted":
		return "payment.deleted"
	case "paymentWriteoff":
		return "payment.written_off"
	case "supplierBillPaymentCreated":
		return "bill_payment.created"
	case "supplierBillPaymentDeleted":
		return "bill_payment.deleted"
	case "closeShift":
		return "shift.closed"
	}
	return ""
}

// fields adds to the common readers the type of the event at hand.
type fields struct {
	*connectors.Fields
	typ string
}

func (f fields) product(m *dealposv1.Product) connectors.Translation {
	id := f.Need("$.ID", m.GetId())
	return one(f.key(id), &eventv1.Event{
		Type:    f.typ,
		Subject: "product/" + id,
		Data: &eventv1.Event_Product{Product: &eventv1.Product{
			Id:           id,
			Name:         m.GetName(),
			Code:         m.GetCode(),
			Description:  m.GetDescription(),
			Category:     m.GetCategory(),
			Brand:        cmp.Or(m.GetBrandName(), m.GetBrand()),
			Supplier:     m.GetSupplierName(),
			Discontinued: m.Discontinued,
			Tags:         m.GetTags(),
			ImageUrls:    texts(append([]string{m.GetImageUrl()}, m.GetExtraImageUrl()...)...),
			Variants:     f.variants(m.GetVariants()),
		}},
	})
}

func (f fields) productVariant(m *dealposv1.ProductVariant) connectors.Translation {
	id := f.Need("$.ID", m.GetId())
	return one(f.key(id), &eventv1.Event{
		Type:    f.typ,
		Subject: "product_variant/" + id,
		Data:    &eventv1.Event_ProductVariant{ProductVariant: f.variant("$", m)},
	})
}

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
			PointsUsed:   connectors.Decimal(m.GetPointUsed()),
			PointsEarned: connectors.Decimal(m.GetPointsEarned()),
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

func (f fields) customer(m *dealposv1.Customer) connectors.Translation {
	code := f.Need("$.Code", m.GetCode())
	return one(connectors.ContentHash(), &eventv1.Event{
		Type:    f.typ,
		Subject: "customer/" + code,
		Data: &eventv1.Event_Customer{Customer: &eventv1.Customer{
			Id:                code,
			Name:              m.GetName(),
			GivenName:         m.GetFirstName(),
			FamilyName:        m.GetLastName(),
			Honorific:         m.GetTitle(),
			Email:             m.GetEmail(),
			Phone:             m.GetPhone(),
			Mobile:            m.GetMobile(),
			Gender:            m.GetGender(),
			BirthDate:         f.Date("$.Birthdate", m.GetBirthdate()),
			Address:           address(m.GetAddress(), m.GetCity()),
			LoyaltyCardNumber: m.GetMemberIdentification(),
			Outlet:            m.GetOutlet(),
			Code:              code,
		}},
	})
}

func (f fields) supplier(m *dealposv1.Supplier) connectors.Translation {
	code := f.Need("$.Code", m.GetCode())
	return one(connectors.ContentHash(), &eventv1.Event{
		Type:    f.typ,
		Subject: "supplier/" + code,
		Data: &eventv1.Event_Supplier{Supplier: &eventv1.Supplier{
			Code:       code,
			Name:       m.GetName(),
			GivenName:  m.GetFirstName(),
			FamilyName: m.GetLastName(),
			Honorific:  m.GetTitle(),
			Email:      m.GetEmail(),
			Phone:      m.GetPhone(),
			Mobile:     m.GetMobile(),
			Gender:     m.GetGender(),
			Address:    address(m.GetAddress(), ""),
		}},
	})
}

// transferOrder has the name of a beginning and is sent at the end, when the goods have arrived.
func (f fields) transferOrder(m *dealposv1.TransferOrder) connectors.Translation {
	number, key := f.identify("", cmp.Or(m.GetOutletId(), m.GetOutlet()), m.GetNumber(), m.GetDate())
	return one(key, &eventv1.Event{
		Type:       f.typ,
		Subject:    "transfer/" + number,
		OccurredAt: cmp.Or(f.Time("$.ReceivedDate", m.GetReceivedDate()), f.Time("$.Date", m.GetDate())),
		Data: &eventv1.Event_StockMovement{StockMovement: &eventv1.StockMovement{
			Number:      number,
			Kind:        eventv1.StockMovementKind_STOCK_MOVEMENT_KIND_TRANSFER,
			Outlet:      m.GetOutlet(),
			Destination: m.GetDestination(),
			MovedAt:     f.Time("$.Date", m.GetDate()),
			ReceivedAt:  f.Time("$.ReceivedDate", m.GetReceivedDate()),
			State:       m.GetState(),
			Note:        m.GetNote(),
			Lines:       f.stockLines(m.GetVariants()),
			CreatedAt:   f.Time("$.Created", m.GetCreated()),
			CreatedById: m.GetCreatorId(),
		}},
	})
}

func (f fields) outboundLogistic(m *dealposv1.OutboundLogistic) connectors.Translation {
	id, key := f.identify(m.GetId(), m.GetOutlet(), m.GetNumber(), m.GetDate())
	return one(key, &eventv1.Event{
		Type:       f.typ,
		Subject:    "outbound/" + id,
		OccurredAt: f.Time("$.Date", m.GetDate()),
		Data: &eventv1.Event_StockMovement{StockMovement: &eventv1.StockMovement{
			Id:          m.GetId(),
			Number:      m.GetNumber(),
			Kind:        eventv1.StockMovementKind_STOCK_MOVEMENT_KIND_OUTBOUND,
			Outlet:      m.GetOutlet(),
			PartyCode:   m.GetCustomer().GetCode(),
			MovedAt:     f.Time("$.Date", m.GetDate()),
			Lines:       f.stockLines(m.GetVariants()),
			CreatedAt:   f.Time("$.Created", m.GetCreated()),
			CreatedById: m.GetCreatorId(),
		}},
	})
}

func (f fields) inboundLogistic(m *dealposv1.InboundLogistic) connectors.Translation {
	number, key := f.identify("", m.GetOutlet(), m.GetNumber(), m.GetDate())
	return one(key, &eventv1.Event{
		Type:       f.typ,
		Subject:    "inbound/" + number,
		OccurredAt: f.Time("$.Date", m.GetDate()),
		Data: &eventv1.Event_StockMovement{StockMovement: &eventv1.StockMovement{
			Number:      number,
			Kind:        eventv1.StockMovementKind_STOCK_MOVEMENT_KIND_INBOUND,
			Outlet:      m.GetOutlet(),
			PartyCode:   m.GetSupplier().GetCode(),
			MovedAt:     f.Time("$.Date", m.GetDate()),
			Lines:       f.stockLines(m.GetVariants()),
			CreatedAt:   f.Time("$.Created", m.GetCreated()),
			CreatedById: m.GetCreatorId(),
		}},
	})
}

func (f fields) adjustment(m *dealposv1.Adjustment) connectors.Translation {
	id, key := f.identify(m.GetId(), m.GetOutlet(), m.GetNumber(), m.GetDate())
	return one(key, &eventv1.Event{
		Type:       f.typ,
		Subject:    "adjustment/" + id,
		OccurredAt: f.Time("$.Date", m.GetDate()),
		Data: &eventv1.Event_StockMovement{StockMovement: &eventv1.StockMovement{
			Id:          m.GetId(),
			Number:      m.GetNumber(),
			Kind:        eventv1.StockMovementKind_STOCK_MOVEMENT_KIND_ADJUSTMENT,
			Outlet:      m.GetOutlet(),
			MovedAt:     f.Time("$.Date", m.GetDate()),
			State:       m.GetState(),
			Note:        m.GetNote(),
			Lines:       f.adjustedLines(m.GetAdjustedInventory()),
			CreatedById: m.GetCreatorId(),
		}},
	})
}

func (f fields) payment(m *dealposv1.Payment) connectors.Translation {
	id := f.Need("$.ID", m.GetId())
	e := &eventv1.Event{
		Type:    f.typ,
		Subject: "payment/" + id,
		Data:    &eventv1.Event_Payment{Payment: f.paymentAt("$", m)},
	}
	if f.typ == "payment.created" {
		e.OccurredAt = f.Time("$.Created", m.GetCreated())
	}
	return one(f.key(id), e)
}

func (f fields) billPayment(m *dealposv1.BillPayment) connectors.Translation {
	id := f.Need("$.ID", m.GetId())
	e := &eventv1.Event{
		Type:    f.typ,
		Subject: "bill_payment/" + id,
		Data: &eventv1.Event_Payment{Payment: &eventv1.Payment{
			Id:          id,
			BillId:      m.GetBillId(),
			Number:      m.GetNumber(),
			Amount:      f.Money("$.Amount", m.GetAmount()),
			Method:      m.GetMethod(),
			Date:        f.Date("$.Date", m.GetDate()),
			Outlet:      m.GetOutlet(),
			CreatedAt:   f.Time("$.Created", m.GetCreated()),
			CreatedBy:   m.GetCreator(),
			CreatedById: m.GetCreatorId(),
		}},
	}
	if f.typ == "bill_payment.created" {
		e.OccurredAt = f.Time("$.Created", m.GetCreated())
	}
	return one(f.key(id), e)
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
