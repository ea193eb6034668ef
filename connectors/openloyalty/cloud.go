package openloyalty

import (
	"cmp"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
)

// cloud translates the cloud product's events. They have other names than in versions 3 and 4, and the same meaning. Their
// fields are known only from other integrations, so none is required: an event without its subject's id becomes unmapped.
func (f fields) cloud(event string, m *openloyaltyv1.CloudEvent) connectors.Translation {
	d := m.GetData()
	c := cloudFields{f, d, cloudCustomer(d)}
	e, key := c.event(event)
	e.OccurredAt = f.time("$.createdAt", m.GetCreatedAt())
	return one(key, e)
}

// cloudFields reads one event's data.
type cloudFields struct {
	fields
	d        *openloyaltyv1.CloudData
	customer *eventv1.Customer
}

func (c cloudFields) event(name string) (*eventv1.Event, connectors.Key) {
	switch name {
	case "CustomerRegistered":
		return c.customerEvent("customer.registered"), connectors.ContentHash()
	case "CustomerUpdated":
		return c.customerEvent("customer.updated"), connectors.ContentHash()
	case "CustomerDeactivated":
		return c.customerEvent("customer.deactivated"), connectors.ContentHash()
	case "CustomerLevelChanged":
		return c.levelChanged(), connectors.ContentHash()
	case "TransactionRegistered":
		return c.purchaseEvent("purchase.registered"), connectors.NaturalKey(c.d.GetTransactionId())
	case "TransactionAssignedToCustomer":
		return c.purchaseEvent("purchase.assigned"), connectors.ContentHash()
	case "AvailablePointsAmountChanged":
		return c.pointsChanged(), connectors.NaturalKey(c.customer.GetId(), c.d.GetPointsTransferId(), c.d.GetAmountChangeType())
	case "CustomerBoughtReward":
		return c.rewardBought(), connectors.ContentHash()
	case "PointsWillExpire":
		return c.pointsExpiring(), connectors.NaturalKey(c.customer.GetId(), c.d.GetPoints().GetValue(), c.d.GetPointsWillExpire())
	case "LevelWillExpire":
		return c.levelExpiring(), connectors.ContentHash()
	case "CouponWillExpire":
		return c.couponExpiring(), connectors.NaturalKey(c.customer.GetId(), c.d.GetCoupon(), c.d.GetCouponExpiresAt())
	}
	c.Fail("$.type", "is %q, which is no event of Open Loyalty's cloud product", name)
	return new(eventv1.Event), connectors.ContentHash()
}

func (c cloudFields) customerEvent(typ string) *eventv1.Event {
	return &eventv1.Event{Type: typ, Subject: c.subject(), Data: &eventv1.Event_Customer{Customer: c.customer}}
}

func (c cloudFields) levelChanged() *eventv1.Event {
	return &eventv1.Event{
		Type:    "loyalty.level_changed",
		Subject: c.subject(),
		Data: &eventv1.Event_LoyaltyLevelChange{LoyaltyLevelChange: &eventv1.LoyaltyLevelChange{
			CustomerId: c.customer.GetId(),
			LevelId:    c.d.GetTier().GetId(),
			LevelName:  c.d.GetTier().GetName(),
		}},
	}
}

func (c cloudFields) purchaseEvent(typ string) *eventv1.Event {
	return &eventv1.Event{
		Type:    typ,
		Subject: "purchase/" + c.Supposed(c.d.GetTransactionId()),
		Data: &eventv1.Event_Purchase{Purchase: &eventv1.Purchase{
			Id:       c.d.GetTransactionId(),
			Customer: c.customer,
			Total:    c.Money("$.data.grossValue", c.d.GetGrossValue()),
		}},
	}
}

func (c cloudFields) pointsChanged() *eventv1.Event {
	change, operation := c.unsigned("$.data.amountChange", c.d.GetAmountChange(), "$.data.amountChangeType", c.d.GetAmountChangeType())
	return &eventv1.Event{
		Type:    "loyalty.points_changed",
		Subject: c.subject(),
		Data: &eventv1.Event_LoyaltyPointsChange{LoyaltyPointsChange: &eventv1.LoyaltyPointsChange{
			CustomerId: c.customer.GetId(),
			Balance:    c.Decimal("$.data.amount", c.d.GetAmount()),
			Change:     change,
			Operation:  operation,
			TransferId: c.d.GetPointsTransferId(),
			PurchaseId: c.d.GetTransactionId(),
		}},
	}
}

func (c cloudFields) rewardBought() *eventv1.Event {
	return &eventv1.Event{
		Type:    "loyalty.reward_redeemed",
		Subject: c.subject(),
		Data: &eventv1.Event_LoyaltyRewardRedemption{LoyaltyRewardRedemption: &eventv1.LoyaltyRewardRedemption{
			CustomerId: c.customer.GetId(),
			CostPoints: c.Decimal("$.data.costInPoints", c.d.GetCostInPoints()),
			CouponCode: c.d.GetCouponCode(),
		}},
	}
}

func (c cloudFields) pointsExpiring() *eventv1.Event {
	return &eventv1.Event{
		Type:    "loyalty.points_expiring",
		Subject: c.subject(),
		Data: &eventv1.Event_LoyaltyPointsExpiry{LoyaltyPointsExpiry: &eventv1.LoyaltyPointsExpiry{
			Customer:  c.customer,
			Points:    c.Decimal("$.data.points", c.d.GetPoints()),
			ExpiresAt: c.time("$.data.pointsWillExpire", c.d.GetPointsWillExpire()),
		}},
	}
}

func (c cloudFields) levelExpiring() *eventv1.Event {
	return &eventv1.Event{
		Type:    "loyalty.level_expiring",
		Subject: c.subject(),
		Data: &eventv1.Event_LoyaltyLevelExpiry{LoyaltyLevelExpiry: &eventv1.LoyaltyLevelExpiry{
			Customer:  c.customer,
			LevelId:   c.d.GetTier().GetId(),
			LevelName: c.d.GetTier().GetName(),
		}},
	}
}

func (c cloudFields) couponExpiring() *eventv1.Event {
	return &eventv1.Event{
		Type:    "loyalty.coupon_expiring",
		Subject: c.subject(),
		Data: &eventv1.Event_LoyaltyCouponExpiry{LoyaltyCouponExpiry: &eventv1.LoyaltyCouponExpiry{
			Customer:   c.customer,
			CouponCode: c.d.GetCoupon(),
			ExpiresAt:  c.time("$.data.couponExpiresAt", c.d.GetCouponExpiresAt()),
		}},
	}
}

// subject returns a subject made of an id. Card number and e-mail address identify a person too, but subjects appear in places
// where personal data must not.
func (c cloudFields) subject() string {
	return "customer/" + c.Supposed(c.customer.GetId())
}

func cloudCustomer(d *openloyaltyv1.CloudData) *eventv1.Customer {
	who := d.GetCustomer()
	if who == nil && d.GetCustomerId() == "" {
		return nil
	}
	return &eventv1.Customer{
		Id:                cmp.Or(who.GetCustomerId(), who.GetId(), d.GetCustomerId()),
		Email:             who.GetEmail(),
		LoyaltyCardNumber: who.GetLoyaltyCardNumber(),
	}
}
