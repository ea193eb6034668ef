package openloyalty

import (
	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
)

// maxExpiring is ten times the longest list of points that Open Loyalty is known to send. An item of a few bytes makes a much
// larger event, and all of a webhook's events are stored at once.
const maxExpiring = 10_000

// each makes one event for each item of a warning's list. The webhook's key is made of all items.
func each[Item any](f fields, list []Item, do func(path string, item Item) (*eventv1.Event, []string)) connectors.Translation {
	switch n := len(list); {
	case n == 0:
		f.Fail("$.data", "is an empty list")
	case n > maxExpiring:
		f.Fail("$.data", "lists %d members, more than %d", n, maxExpiring)
	}
	var key []string
	events := connectors.Each(f.Fields, "$.data", list, func(path string, item Item) *eventv1.Event {
		e, parts := do(path, item)
		key = append(key, parts...)
		return e
	})
	return connectors.Translation{Key: connectors.NaturalKey(key...), Events: events}
}

func (f fields) pointsExpiring(m *openloyaltyv1.AccountExpiringPointsNotification) connectors.Translation {
	return each(f, m.GetData(), func(path string, d *openloyaltyv1.ExpiringPoints) (*eventv1.Event, []string) {
		return &eventv1.Event{
			Type:       "loyalty.points_expiring",
			Subject:    f.customer(path, d.GetCustomerId()),
			OccurredAt: f.time("$.createdAt", m.GetCreatedAt()),
			Data: &eventv1.Event_LoyaltyPointsExpiry{LoyaltyPointsExpiry: &eventv1.LoyaltyPointsExpiry{
				Customer:  member(d),
				Points:    f.Decimal(path+".points", d.GetPoints()),
				ExpiresAt: f.time(path+".pointsWillExpire", d.GetPointsWillExpire()),
				StoreCode: d.GetStoreCode(),
			}},
		}, []string{d.GetCustomerId(), d.GetPoints().GetValue(), d.GetPointsWillExpire()}
	})
}

// levelsExpiring has no natural key: a level may end year after year, and no item says when.
func (f fields) levelsExpiring(m *openloyaltyv1.AccountExpiringLevelNotification) connectors.Translation {
	return each(f, m.GetData(), func(path string, d *openloyaltyv1.ExpiringLevel) (*eventv1.Event, []string) {
		return &eventv1.Event{
			Type:       "loyalty.level_expiring",
			Subject:    f.customer(path, d.GetCustomerId()),
			OccurredAt: f.time("$.createdAt", m.GetCreatedAt()),
			Data: &eventv1.Event_LoyaltyLevelExpiry{LoyaltyLevelExpiry: &eventv1.LoyaltyLevelExpiry{
				Customer:      member(d),
				LevelId:       d.GetLevelId(),
				LevelName:     d.GetLevelName(),
				NextLevelId:   d.GetFutureLevelId(),
				NextLevelName: d.GetFutureLevelName(),
			}},
		}, nil
	})
}

func (f fields) couponsExpiring(m *openloyaltyv1.CampaignCouponExpiration) connectors.Translation {
	return each(f, m.GetData(), func(path string, d *openloyaltyv1.ExpiringCoupon) (*eventv1.Event, []string) {
		return &eventv1.Event{
			Type:       "loyalty.coupon_expiring",
			Subject:    f.customer(path, d.GetCustomerId()),
			OccurredAt: f.time("$.createdAt", m.GetCreatedAt()),
			Data: &eventv1.Event_LoyaltyCouponExpiry{LoyaltyCouponExpiry: &eventv1.LoyaltyCouponExpiry{
				Customer:   member(d),
				CouponCode: d.GetCoupon(),
				Status:     d.GetCouponStatus(),
				ExpiresAt:  f.time(path+".couponExpiresAt", d.GetCouponExpiresAt()),
			}},
		}, []string{d.GetCustomerId(), d.GetCoupon(), d.GetCouponExpiresAt()}
	})
}

// reached has the customer of a warning, in all warnings.
type reached interface {
	GetCustomerId() string
	GetCustomerEmail() string
	GetCustomerPhone() string
	GetCustomerLoyaltyCardNumber() string
}

// called has the customer of a warning, in the warnings about accounts.
type called interface {
	GetCustomerFirstName() string
	GetCustomerLastName() string
}

func member(d reached) *eventv1.Customer {
	c := &eventv1.Customer{
		Id:                d.GetCustomerId(),
		Email:             d.GetCustomerEmail(),
		Phone:             d.GetCustomerPhone(),
		LoyaltyCardNumber: d.GetCustomerLoyaltyCardNumber(),
	}
	if n, ok := d.(called); ok {
		c.GivenName, c.FamilyName = n.GetCustomerFirstName(), n.GetCustomerLastName()
	}
	return c
}
