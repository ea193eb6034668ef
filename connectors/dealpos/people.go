package dealpos

import (
	"cmp"

	"google.golang.org/protobuf/proto"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	dealposv1 "github.com/webhook-bridge/bridge/gen/webhooks/dealpos/v1"
)

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

// party returns the customer inside another record, or nil: DealPOS writes {} if there is none.
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
