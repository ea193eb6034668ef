package dealpos

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
)

func one(k connectors.Key, e *eventv1.Event) connectors.Translation {
	return connectors.Translation{Key: k, Events: []*eventv1.Event{e}}
}

// key is natural for what happens to a record once. A change comes again, and so does a deletion, of a record that was
// restored in between.
func (f fields) key(parts ...string) connectors.Key {
	if strings.HasSuffix(f.typ, ".updated") || strings.HasSuffix(f.typ, ".deleted") {
		return connectors.ContentHash()
	}
	return connectors.NaturalKey(parts...)
}

// identify tells a record by its id or, if it has none, by its number, which counts within an outlet and need not be
// unique for ever.
func (f fields) identify(id, outlet, number, date string) (string, connectors.Key) {
	if id != "" {
		return id, f.key(id)
	}
	if f.Date("$.Date", date) == nil {
		date = "" // Also what the year 0001 means: such a date tells nothing apart.
	}
	return f.Need("$.Number", number), f.key(outlet, number, date)
}

func (f fields) variants(variants []*dealposv1.ProductVariant) []*eventv1.ProductVariant {
	return connectors.Each(f.Fields, "$.Variants", variants, f.variant)
}

func (f fields) variant(path string, v *dealposv1.ProductVariant) *eventv1.ProductVariant {
	return &eventv1.ProductVariant{
		Id:        v.GetId(),
		ProductId: v.GetProductId(),
		Name:      v.GetName(),
		Code:      v.GetCode(),
		Price:     f.Money(path+".Price", v.GetPrice()),
	}
}

func (f fields) invoiceLines(goods []*dealposv1.Goods) []*eventv1.InvoiceLine {
	return connectors.Each(f.Fields, "$.Variants", goods, func(path string, g *dealposv1.Goods) *eventv1.InvoiceLine {
		return &eventv1.InvoiceLine{
			VariantId: g.GetVariantId(),
			Name:      g.GetName(),
			Code:      g.GetCode(),
			Quantity:  connectors.Decimal(g.GetQuantity()),
			Price:     f.Money(path+".Price", g.GetPrice()),
		}
	})
}

func (f fields) stockLines(goods []*dealposv1.Goods) []*eventv1.StockLine {
	return connectors.Each(f.Fields, "$.Variants", goods, func(path string, g *dealposv1.Goods) *eventv1.StockLine {
		return &eventv1.StockLine{
			VariantId: g.GetVariantId(),
			Name:      g.GetName(),
			Code:      g.GetCode(),
			Quantity:  connectors.Decimal(g.GetQuantity()),
			Cost:      f.Money(path+".Cost", g.GetCost()),
			Price:     f.Money(path+".Price", g.GetPrice()),
		}
	})
}

func (f fields) adjustedLines(goods []*dealposv1.AdjustedGoods) []*eventv1.StockLine {
	return connectors.Each(f.Fields, "$.AdjustedInventory", goods, func(path string, g *dealposv1.AdjustedGoods) *eventv1.StockLine {
		price := f.Money(path+".UnitPrice", g.GetUnitPrice())
		if price == nil {
			price = f.Money(path+".Price", g.GetPrice())
		}
		return &eventv1.StockLine{
			VariantId: g.GetVariantId(),
			Name:      g.GetVariant(),
			Code:      g.GetCode(),
			Quantity:  connectors.Decimal(g.GetQuantity()),
			Cost:      f.Money(path+".UnitCost", g.GetUnitCost()),
			Price:     price,
		}
	})
}

func (f fields) payments(payments []*dealposv1.Payment) []*eventv1.Payment {
	return connectors.Each(f.Fields, "$.Payments", payments, f.paymentAt)
}

func (f fields) paymentAt(path string, p *dealposv1.Payment) *eventv1.Payment {
	return &eventv1.Payment{
		Id:          p.GetId(),
		InvoiceId:   p.GetInvoiceId(),
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

// party is the customer inside another record, or nil: DealPOS writes {} for nobody.
func party(p *dealposv1.Party) *eventv1.Customer {
	c := &eventv1.Customer{
		Id:         cmp.Or(p.GetId(), p.GetCode()),
		Name:       p.GetName(),
		GivenName:  p.GetFirstName(),
		FamilyName: p.GetLastName(),
		Honorific:  p.GetTitle(),
		Email:      p.GetEmail(),
		Phone:      p.GetPhone(),
		Mobile:     p.GetMobile(),
		Gender:     p.GetGender(),
		Address:    address(p.GetAddress(), ""),
		Code:       p.GetCode(),
	}
	if proto.Equal(c, &eventv1.Customer{}) {
		return nil
	}
	return c
}

func address(line, city string) *eventv1.PostalAddress {
	if line == "" && city == "" {
		return nil
	}
	return &eventv1.PostalAddress{Lines: texts(line), City: city}
}

// texts leaves out the empty ones.
func texts(all ...string) []string {
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}
