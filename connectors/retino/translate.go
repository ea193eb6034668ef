package retino

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/webhook-bridge/bridge/connectors"
	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
	retinov1 "github.com/webhook-bridge/bridge/gen/webhooks/retino/v1"
)

func translate(in connectors.Input) (connectors.Translation, error) {
	f := connectors.NewFields(in.Source)
	switch m := in.Message.(type) {
	case *retinov1.ShippingOrdered:
		return shippingOrdered(f, m)
	case *retinov1.RetinoCreditNoteCreated:
		return creditNoteCreated(f, m)
	case *retinov1.TicketCreated:
		return ticketCreated(f, m)
	default:
		return connectors.Translation{}, connectors.Errorf("$", "is a %T, which has no translation", m)
	}
}

func shippingOrdered(f *connectors.Fields, m *retinov1.ShippingOrdered) (connectors.Translation, error) {
	s := m.GetShipping()
	return one(f, s.GetId(), m.GetCreatedAt(), &eventv1.Event{
		Type:       "shipment.ordered",
		Subject:    "shipment/" + f.Need("$.shipping.id", s.GetId()),
		OccurredAt: f.Time("$.created_at", m.GetCreatedAt()),
		Data: &eventv1.Event_Shipment{Shipment: &eventv1.Shipment{
			Id:             s.GetId(),
			Reference:      s.GetClientReference(),
			ServiceName:    s.GetOptionName(),
			TrackingNumber: s.GetTrackingNumber(),
			TrackingUrl:    s.GetTrackingUrl(),
			Charges:        charges(f, s.GetCustomerPaymentDetails()),
		}},
	})
}

func creditNoteCreated(f *connectors.Fields, m *retinov1.RetinoCreditNoteCreated) (connectors.Translation, error) {
	n := cmp.Or(m.GetCreditNote(), new(retinov1.CreditNote))
	return one(f, n.GetId(), m.GetCreatedAt(), &eventv1.Event{
		Type:       "credit_note.created",
		Subject:    "credit_note/" + f.Need("$.credit_note.id", n.GetId()),
		OccurredAt: f.Time("$.created_at", m.GetCreatedAt()),
		Data: &eventv1.Event_CreditNote{CreditNote: &eventv1.CreditNote{
			Id:               n.GetId(),
			ReturnCaseId:     n.GetTicketId(),
			OrderId:          n.GetOrderId(),
			PaymentReference: n.GetVariableSymbol(),
			CreatedAt:        f.Time("$.created_at", m.GetCreatedAt()),
			Restock:          n.Stock,
			Language:         n.GetLanguage(),
			Currency:         f.Currency("$.credit_note.currency", n.GetCurrency()),
			Customer:         customer(n.GetCustomer()),
			BankAccount:      bankAccount(f, n.GetBankAccount()),
			Lines:            lines(f, n),
		}},
	})
}

func ticketCreated(f *connectors.Fields, m *retinov1.TicketCreated) (connectors.Translation, error) {
	t := m.GetTicket()
	return one(f, t.GetId(), m.GetCreatedAt(), &eventv1.Event{
		Type:       "return.created",
		Subject:    "return/" + f.Supposed(t.GetId()),
		OccurredAt: f.Time("$.created_at", m.GetCreatedAt()),
		Data: &eventv1.Event_ReturnCase{ReturnCase: &eventv1.ReturnCase{
			Id:        t.GetId(),
			Code:      t.GetCode(),
			OrderId:   word(f, "$.ticket.order_id", t.GetOrderId()),
			Kind:      word(f, "$.ticket.type", t.GetType()),
			Status:    word(f, "$.ticket.state", t.GetState()),
			CreatedAt: f.Time("$.created_at", m.GetCreatedAt()),
		}},
	})
}

// one is a translation to one event, with the subject's id and the time as its key.
func one(f *connectors.Fields, id, createdAt string, e *eventv1.Event) (connectors.Translation, error) {
	t := connectors.Translation{Key: connectors.NaturalKey(id, createdAt), Events: []*eventv1.Event{e}, Drift: f.Drifts()}
	return t, f.Err()
}

func charges(f *connectors.Fields, details []*retinov1.CustomerPaymentDetail) []*eventv1.ShipmentCharge {
	const path = "$.shipping.customer_payment_details"
	return connectors.Each(f, path, details, func(path string, d *retinov1.CustomerPaymentDetail) *eventv1.ShipmentCharge {
		return &eventv1.ShipmentCharge{
			Amount:     f.MoneyIn(path+".amount", d.GetAmount(), d.GetCurrency()),
			InvoiceUrl: d.GetInvoiceUrl(),
		}
	})
}

func lines(f *connectors.Fields, n *retinov1.CreditNote) []*eventv1.CreditNoteLine {
	const path = "$.credit_note.lines"
	return connectors.Each(f, path, n.GetLines(), func(path string, l *retinov1.CreditNoteLine) *eventv1.CreditNoteLine {
		return &eventv1.CreditNoteLine{
			Id:        l.GetId(),
			ProductId: l.GetProductId(),
			Name:      l.GetName(),
			Variant:   l.GetVariant(),
			Quantity:  f.Decimal(path+".amount", l.GetAmount()),
			Price:     f.MoneyIn(path+".price", l.GetPrice(), n.GetCurrency()),
			TaxRate:   f.Decimal(path+".vat_rate", l.GetVatRate()),
		}
	})
}

func customer(c *retinov1.CreditNoteCustomer) *eventv1.Customer {
	if c == nil {
		return nil
	}
	return &eventv1.Customer{
		Name:      c.GetName(),
		Address:   address(c),
		TaxId:     c.GetCompanyVatNumber(),
		CompanyId: c.GetCompanyId(),
	}
}

func address(c *retinov1.CreditNoteCustomer) *eventv1.PostalAddress {
	a := &eventv1.PostalAddress{City: c.GetCity(), PostalCode: c.GetPostalCode(), Country: c.GetCountry()}
	for _, line := range []string{c.GetStreet(), c.GetHouseNumber()} {
		if line != "" {
			a.Lines = append(a.Lines, line)
		}
	}
	return a
}

// bankAccount reads the number from the field that has the type's name. A type without such a field has no number, and its own
// field is reported as unknown. A number of another type than the account's is drift.
func bankAccount(f *connectors.Fields, a *retinov1.BankAccount) *eventv1.BankAccount {
	if a == nil {
		return nil
	}
	account := &eventv1.BankAccount{Scheme: a.GetType()}
	if strings.EqualFold(a.GetType(), "czech_bank_account") {
		account.Number = a.GetCzechBankAccount()
	} else {
		f.Drift("$.credit_note.bank_account.czech_bank_account", a.GetCzechBankAccount())
	}
	return account
}

// word returns a JSON value that is a text or a number. It returns an empty text for any other value, such as an object, which is
// drift. Half of a surrogate pair has no text, and encoding/json would read another one: that is an error.
func word(f *connectors.Fields, path, value string) string {
	var s string
	if json.Unmarshal([]byte(value), &s) == nil {
		if halfPair(value) {
			f.Fail(path, "has half of a surrogate pair")
		}
		return s
	}
	var n json.Number
	if json.Unmarshal([]byte(value), &n) == nil {
		return n.String()
	}
	f.Drift(path, value)
	return ""
}

// halfPair reports whether a JSON string, which must be valid, has an escape that is half of a surrogate pair.
func halfPair(s string) bool {
	for {
		_, after, found := strings.Cut(s, `\`)
		if !found {
			return false
		}
		if after[0] != 'u' {
			s = after[1:]
			continue
		}
		r := hex4(after[1:])
		s = after[5:]
		if !utf16.IsSurrogate(r) {
			continue
		}
		low, ok := strings.CutPrefix(s, `\u`)
		if !ok || utf16.DecodeRune(r, hex4(low)) == utf8.RuneError {
			return true
		}
		s = low[4:]
	}
}

// hex4 reads the four digits that s begins with.
func hex4(s string) rune {
	r, _ := strconv.ParseUint(s[:4], 16, 16) // the JSON is valid
	return rune(r)
}
