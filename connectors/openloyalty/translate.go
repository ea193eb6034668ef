package openloyalty

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	openloyaltyv1 "github.com/webhook-bridge/bridge/gen/webhooks/openloyalty/v1"
)

func translate(in connectors.Input) (connectors.Translation, error) {
	f := fields{connectors.NewFields(in.Source)}
	var t connectors.Translation
	switch m := in.Message.(type) {
	case *openloyaltyv1.CustomerUpdated:
		t = f.customerReferred("customer.updated", m.GetCreatedAt(), m.GetData())
	case *openloyaltyv1.CustomerDeleted:
		t = f.customerReferred("customer.deleted", m.GetCreatedAt(), m.GetData())
	case *openloyaltyv1.CustomerRegistered:
		t = f.customerRegistered(m)
	case *openloyaltyv1.CustomerDeactivated:
		t = f.customerReferred("customer.deactivated", m.GetCreatedAt(), m.GetData())
	case *openloyaltyv1.CustomerLevelChangedAutomatically:
		t = f.levelChanged(m.GetCreatedAt(), m.GetData(), true)
	case *openloyaltyv1.CustomerLevelChanged:
		t = f.levelChanged(m.GetCreatedAt(), m.GetData(), false)
	case *openloyaltyv1.TransactionRegistered:
		t = f.transactionRegistered(m)
	case *openloyaltyv1.TransactionAssignedToCustomer:
		t = f.transactionAssigned(m)
	case *openloyaltyv1.AccountAvailablePointsAmountChanged:
		t = f.pointsChanged(m)
	case *openloyaltyv1.CustomerBoughtCampaign:
		t = f.campaignBought(m)
	case *openloyaltyv1.AccountExpiringPointsNotification:
		t = f.pointsExpiring(m)
	case *openloyaltyv1.AccountPointsTransfer:
		t = f.pointsTransferred(m)
	case *openloyaltyv1.AccountExpiringLevelNotification:
		t = f.levelsExpiring(m)
	case *openloyaltyv1.CampaignCouponExpiration:
		t = f.couponsExpiring(m)
	case *openloyaltyv1.CloudEvent:
		t = f.cloud(in.Event, m)
	default:
		f.Fail("$", "is a %T, which is no event of Open Loyalty's", m)
	}
	if err := f.Err(); err != nil {
		return connectors.Translation{}, err
	}
	t.Drift = f.Drifts()
	return t, nil
}

// fields adds Open Loyalty's own readers to the common ones.
type fields struct{ *connectors.Fields }

// customerReferred translates an event that has only the customer's id.
func (f fields) customerReferred(typ, createdAt string, d *openloyaltyv1.CustomerReference) connectors.Translation {
	return one(connectors.ContentHash(), &eventv1.Event{
		Type:       typ,
		Subject:    f.customer("$.data", d.GetCustomerId()),
		OccurredAt: f.time("$.createdAt", createdAt),
		Data:       &eventv1.Event_Customer{Customer: &eventv1.Customer{Id: d.GetCustomerId()}},
	})
}

func (f fields) customerRegistered(m *openloyaltyv1.CustomerRegistered) connectors.Translation {
	id, d := m.GetData().GetCustomerId(), m.GetData().GetData()
	return one(connectors.ContentHash(), &eventv1.Event{
		Type:       "customer.registered",
		Subject:    f.customer("$.data", id),
		OccurredAt: f.timeOr(m.GetCreatedAt(), "$.data.data.createdAt", d.GetCreatedAt()),
		Data: &eventv1.Event_Customer{Customer: &eventv1.Customer{
			Id:                id,
			GivenName:         d.GetFirstName(),
			FamilyName:        d.GetLastName(),
			Email:             d.GetEmail(),
			Phone:             d.GetPhone(),
			Gender:            d.GetGender(),
			Address:           address(d.GetAddress()),
			Company:           d.GetCompany().GetName(),
			TaxId:             d.GetCompany().GetNip(),
			LoyaltyCardNumber: d.GetLoyaltyCardNumber(),
			LevelId:           d.GetLevelId(),
			Outlet:            d.GetPosId(),
			CreatedAt:         f.time("$.data.data.createdAt", d.GetCreatedAt()),
			Labels:            labels(d.GetLabels()),
			Agreements:        agreements(d),
			SellerId:          d.GetSellerId(),
		}},
	})
}

func (f fields) levelChanged(createdAt string, d *openloyaltyv1.LevelChange, automatic bool) connectors.Translation {
	return one(connectors.ContentHash(), &eventv1.Event{
		Type:       "loyalty.level_changed",
		Subject:    f.customer("$.data", d.GetCustomerId()),
		OccurredAt: f.timeOr(createdAt, "$.data.levelAchievementDate", d.GetLevelAchievementDate()),
		Data: &eventv1.Event_LoyaltyLevelChange{LoyaltyLevelChange: &eventv1.LoyaltyLevelChange{
			CustomerId: d.GetCustomerId(),
			LevelId:    d.GetLevelId(),
			LevelName:  d.GetLevelName(),
			Move:       f.levelMove("$.data.levelMove", d.GetLevelMove()),
			AchievedAt: f.time("$.data.levelAchievementDate", d.GetLevelAchievementDate()),
			Automatic:  automatic,
		}},
	})
}

func (f fields) transactionRegistered(m *openloyaltyv1.TransactionRegistered) connectors.Translation {
	d, receipt, lines := m.GetData(), m.GetData().GetTransactionData(), f.lines(m.GetData().GetItems())
	return one(connectors.NaturalKey(d.GetTransactionId()), &eventv1.Event{
		Type:       "purchase.registered",
		Subject:    f.purchase(d.GetTransactionId()),
		OccurredAt: f.time("$.createdAt", m.GetCreatedAt()),
		Data: &eventv1.Event_Purchase{Purchase: &eventv1.Purchase{
			Id:             d.GetTransactionId(),
			DocumentNumber: receipt.GetDocumentNumber(),
			Kind:           f.purchaseKind("$.data.transactionData.documentType", receipt.GetDocumentType()),
			PurchasedAt:    f.time("$.data.transactionData.purchaseDate", receipt.GetPurchaseDate()),
			Place:          receipt.GetPurchasePlace(),
			PosId:          cmp.Or(d.GetPosId(), d.GetPostId()),
			Customer:       buyer(d.GetCustomerData()),
			Lines:          lines,
			Total:          f.total(lines),
		}},
	})
}

func (f fields) transactionAssigned(m *openloyaltyv1.TransactionAssignedToCustomer) connectors.Translation {
	d := m.GetData()
	return one(connectors.ContentHash(), &eventv1.Event{
		Type:       "purchase.assigned",
		Subject:    f.purchase(d.GetTransactionId()),
		OccurredAt: f.time("$.createdAt", m.GetCreatedAt()),
		Data: &eventv1.Event_Purchase{Purchase: &eventv1.Purchase{
			Id:       d.GetTransactionId(),
			Customer: &eventv1.Customer{Id: f.Need("$.data.customerId", d.GetCustomerId())},
			Total:    f.Money("$.data.grossValue", d.GetGrossValue()),
		}},
	})
}

func (f fields) pointsChanged(m *openloyaltyv1.AccountAvailablePointsAmountChanged) connectors.Translation {
	d := m.GetData()
	kind, kindPath := d.GetAmountChangeType(), "$.data.amountChangeType"
	if kind == "" {
		kind, kindPath = d.GetAmountChangeTypeSnake(), "$.data.amount_change_type"
	}
	changed, changedPath := d.GetAmountChange(), "$.data.amountChange"
	if changed == nil {
		changed, changedPath = d.GetAmountChangeSnake(), "$.data.amount_change"
	}
	change, operation := f.unsigned(changedPath, changed, kindPath, kind)
	return one(connectors.NaturalKey(d.GetCustomerId(), d.GetPointsTransferId(), kind), &eventv1.Event{
		Type:       "loyalty.points_changed",
		Subject:    f.customer("$.data", d.GetCustomerId()),
		OccurredAt: f.time("$.createdAt", m.GetCreatedAt()),
		Data: &eventv1.Event_LoyaltyPointsChange{LoyaltyPointsChange: &eventv1.LoyaltyPointsChange{
			CustomerId: d.GetCustomerId(),
			Balance:    f.Decimal("$.data.amount", d.GetAmount()),
			Change:     change,
			Operation:  operation,
			TransferId: d.GetPointsTransferId(),
			PurchaseId: d.GetTransactionId(),
			ExpiresAt:  f.time("$.data.expiresAt", d.GetExpiresAt()),
		}},
	})
}

func (f fields) campaignBought(m *openloyaltyv1.CustomerBoughtCampaign) connectors.Translation {
	d := m.GetData()
	return one(connectors.NaturalKey(d.GetCustomerId(), d.GetCampaignId(), d.GetCouponCode(), m.GetCreatedAt()), &eventv1.Event{
		Type:       "loyalty.reward_redeemed",
		Subject:    f.customer("$.data", d.GetCustomerId()),
		OccurredAt: f.time("$.createdAt", m.GetCreatedAt()),
		Data: &eventv1.Event_LoyaltyRewardRedemption{LoyaltyRewardRedemption: &eventv1.LoyaltyRewardRedemption{
			CustomerId: d.GetCustomerId(),
			RewardId:   d.GetCampaignId(),
			CostPoints: f.Decimal("$.data.costInPoints", d.GetCostInPoints()),
			CouponCode: d.GetCouponCode(),
			RedeemedAt: f.time("$.createdAt", m.GetCreatedAt()),
			StoreCode:  d.GetStoreCode(),
		}},
	})
}

func (f fields) pointsTransferred(m *openloyaltyv1.AccountPointsTransfer) connectors.Translation {
	d := m.GetData()
	points, operation := f.unsigned("$.data.value", d.GetValue(), "$.data.type", d.GetType())
	return one(connectors.NaturalKey(d.GetCustomerId(), d.GetPointsTransferId(), d.GetState()), &eventv1.Event{
		Type:       "loyalty.points_transferred",
		Subject:    f.customer("$.data", d.GetCustomerId()),
		OccurredAt: f.timeOr(m.GetCreatedAt(), "$.data.createdAt", d.GetCreatedAt()),
		Data: &eventv1.Event_LoyaltyPointsTransfer{LoyaltyPointsTransfer: &eventv1.LoyaltyPointsTransfer{
			Id:        d.GetPointsTransferId(),
			AccountId: d.GetAccountId(),
			Customer: &eventv1.Customer{
				Id:         d.GetCustomerId(),
				GivenName:  d.GetCustomerFirstName(),
				FamilyName: d.GetCustomerLastName(),
				Email:      d.GetCustomerEmail(),
				Phone:      d.GetCustomerPhone(),
			},
			Points:    points,
			Operation: operation,
			State:     d.GetState(),
			Issuer:    d.GetIssuer(),
			CreatedAt: f.time("$.data.createdAt", d.GetCreatedAt()),
			ExpiresAt: f.time("$.data.expiresAt", d.GetExpiresAt()),
			StoreCode: d.GetStoreCode(),
		}},
	})
}

func one(k connectors.Key, e *eventv1.Event) connectors.Translation {
	return connectors.Translation{Key: k, Events: []*eventv1.Event{e}}
}

func (f fields) customer(path, id string) string { return "customer/" + f.Need(path+".customerId", id) }

func (f fields) purchase(id string) string { return "purchase/" + f.Need("$.data.transactionId", id) }

// unixSeconds matches whole seconds since 1970, from March 1973 on. Fewer digits are probably a year, or a date without
// hyphens, and more are probably milliseconds. PHP writes a float's ".0".
var unixSeconds = regexp.MustCompile(`^([0-9]{9,11})(?:\.0+)?$`)

// time reads ISO 8601, or whole seconds since 1970.
func (f fields) time(path, text string) *timestamppb.Timestamp {
	if digits := unixSeconds.FindStringSubmatch(text); digits != nil {
		if seconds, err := strconv.ParseInt(digits[1], 10, 64); err == nil {
			return &timestamppb.Timestamp{Seconds: seconds}
		}
	}
	return f.Time(path, text)
}

// timeOr reads the message's createdAt or, without it, the time at path.
func (f fields) timeOr(createdAt, path, otherwise string) *timestamppb.Timestamp {
	if createdAt != "" {
		return f.time("$.createdAt", createdAt)
	}
	return f.time(path, otherwise)
}

// buyer returns the customer as the till knows them: without an id.
func buyer(d *openloyaltyv1.TransactionCustomer) *eventv1.Customer {
	if d == nil {
		return nil
	}
	return &eventv1.Customer{
		Name:              d.GetName(),
		Email:             d.GetEmail(),
		Phone:             d.GetPhone(),
		Address:           address(d.GetAddress()),
		TaxId:             d.GetNip(),
		LoyaltyCardNumber: d.GetLoyaltyCardNumber(),
	}
}

func (f fields) lines(items []*openloyaltyv1.TransactionItem) []*eventv1.PurchaseLine {
	return connectors.Each(f.Fields, "$.data.items", items, func(path string, item *openloyaltyv1.TransactionItem) *eventv1.PurchaseLine {
		return &eventv1.PurchaseLine{
			Sku:      item.GetSku().GetCode(),
			Name:     item.GetName(),
			Quantity: f.Decimal(path+".quantity", item.GetQuantity()),
			Total:    f.Money(path+".grossValue", item.GetGrossValue()),
			Category: item.GetCategory(),
			Maker:    item.GetMaker(),
			Labels:   labels(item.GetLabels()),
		}
	})
}

// total adds the lines' grossValue, which is the value of a whole line and not of one piece. If one is missing, there is no
// total.
func (f fields) total(lines []*eventv1.PurchaseLine) *money.Money {
	if len(lines) == 0 {
		return nil
	}
	sum := &money.Money{CurrencyCode: lines[0].GetTotal().GetCurrencyCode()}
	for _, line := range lines {
		if line.GetTotal() == nil {
			return nil
		}
		if sum = connectors.AddMoney(sum, line.GetTotal()); sum == nil {
			f.Fail("$.data.items", "add up to an amount that is out of range for money")
			return nil
		}
	}
	return sum
}

func address(a *openloyaltyv1.Address) *eventv1.PostalAddress {
	if a == nil {
		return nil
	}
	lines := []string{a.GetStreet(), a.GetAddress1(), a.GetAddress2()}
	return &eventv1.PostalAddress{
		Lines:      slices.DeleteFunc(lines, func(line string) bool { return line == "" }),
		City:       a.GetCity(),
		Region:     a.GetProvince(),
		PostalCode: a.GetPostal(),
		Country:    a.GetCountry(),
	}
}

func labels(ls []*openloyaltyv1.Label) []*eventv1.Label {
	out := make([]*eventv1.Label, len(ls))
	for i, l := range ls {
		out[i] = &eventv1.Label{Key: l.GetKey(), Value: l.GetValue()}
	}
	return out
}

func agreements(d *openloyaltyv1.CustomerData) []*eventv1.Agreement {
	if d == nil {
		return nil
	}
	var out []*eventv1.Agreement
	for i, given := range []*bool{d.Agreement1, d.Agreement2, d.Agreement3} {
		if given != nil {
			out = append(out, &eventv1.Agreement{Number: int32(i) + 1, Given: *given})
		}
	}
	return out
}

func (f fields) levelMove(path, word string) eventv1.LevelMove {
	switch word {
	case "up":
		return eventv1.LevelMove_LEVEL_MOVE_UP
	case "down":
		return eventv1.LevelMove_LEVEL_MOVE_DOWN
	}
	f.Drift(path, word)
	return eventv1.LevelMove_LEVEL_MOVE_UNSPECIFIED
}

func (f fields) purchaseKind(path, word string) eventv1.PurchaseKind {
	switch word {
	case "sell":
		return eventv1.PurchaseKind_PURCHASE_KIND_SALE
	case "return":
		return eventv1.PurchaseKind_PURCHASE_KIND_RETURN
	}
	f.Drift(path, word)
	return eventv1.PurchaseKind_PURCHASE_KIND_UNSPECIFIED
}

// unsigned returns points without their sign, and the operation: by the word or, if the word is unknown, by the minus. A word
// that is unknown is drift.
func (f fields) unsigned(path string, d *decimal.Decimal, wordPath, word string) (*decimal.Decimal, eventv1.PointsOperation) {
	points := f.Decimal(path, d)
	operation := pointsOperation(word)
	if operation == eventv1.PointsOperation_POINTS_OPERATION_UNSPECIFIED {
		f.Drift(wordPath, word)
	}
	size, negative := strings.CutPrefix(points.GetValue(), "-")
	if !negative {
		return points, operation
	}
	if operation == eventv1.PointsOperation_POINTS_OPERATION_UNSPECIFIED {
		operation = eventv1.PointsOperation_POINTS_OPERATION_SUBTRACT
	}
	return &decimal.Decimal{Value: size}, operation
}

// pointsOperation knows the words of both events: a change has "add", a transfer has "adding".
func pointsOperation(word string) eventv1.PointsOperation {
	switch word {
	case "add", "adding":
		return eventv1.PointsOperation_POINTS_OPERATION_ADD
	case "subtract", "spending":
		return eventv1.PointsOperation_POINTS_OPERATION_SUBTRACT
	case "p2p_add", "p2p_adding":
		return eventv1.PointsOperation_POINTS_OPERATION_PEER_ADD
	case "p2p_subtract", "p2p_spending":
		return eventv1.PointsOperation_POINTS_OPERATION_PEER_SUBTRACT
	}
	return eventv1.PointsOperation_POINTS_OPERATION_UNSPECIFIED
}
