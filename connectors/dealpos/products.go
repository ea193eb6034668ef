package dealpos

import (
	"cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
)

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
