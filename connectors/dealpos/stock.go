package dealpos

import (
	"cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
)

// transferOrder translates transferOrderCreated. Despite its name it is sent at the end, when the goods have arrived.
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

func (f fields) stockLines(goods []*dealposv1.Goods) []*eventv1.StockLine {
	return connectors.Each(f.Fields, "$.Variants", goods, func(path string, g *dealposv1.Goods) *eventv1.StockLine {
		return &eventv1.StockLine{
			VariantId: g.GetVariantId(),
			Name:      g.GetName(),
			Code:      g.GetCode(),
			Quantity:  f.Decimal(path+".Quantity", g.GetQuantity()),
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
			Quantity:  f.Decimal(path+".Quantity", g.GetQuantity()),
			Cost:      f.Money(path+".UnitCost", g.GetUnitCost()),
			Price:     price,
		}
	})
}
