package dealpos

import (
	"slices"
	"strings"

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
		t = f.invoicePayment(m)
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

// typeOf returns the canonical type. It depends on the event, since events share messages.
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

// fields adds the event's type to the common readers.
type fields struct {
	*connectors.Fields
	typ string
}

func one(k connectors.Key, e *eventv1.Event) connectors.Translation {
	return connectors.Translation{Key: k, Events: []*eventv1.Event{e}}
}

// key returns a natural key for an event that happens to a record only once. A change can happen again. So can a deletion, when
// the record was restored in between.
func (f fields) key(parts ...string) connectors.Key {
	if strings.HasSuffix(f.typ, ".updated") || strings.HasSuffix(f.typ, ".deleted") {
		return connectors.ContentHash()
	}
	return connectors.NaturalKey(parts...)
}

// identify identifies a record by its id or, if it has none, by its outlet, number and date. The number alone is only unique
// within an outlet, and perhaps not for ever.
func (f fields) identify(id, outlet, number, date string) (string, connectors.Key) {
	if id != "" {
		return id, f.key(id)
	}
	if f.Date("$.Date", date) == nil {
		date = "" // As for the year 0001: such a date identifies nothing.
	}
	return f.Need("$.Number", number), f.key(outlet, number, date)
}

// texts returns the texts that are not empty.
func texts(all ...string) []string {
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}
