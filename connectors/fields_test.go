package connectors_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
)

func TestFieldsRememberTheFirstProblem(t *testing.T) {
	big := int64(1) << 62
	for _, tt := range []struct {
		name string
		read func(f *connectors.Fields)
		want string
	}{
		{"need", func(f *connectors.Fields) { f.Need("$.id", "") }, "$.id is missing"},
		{"supposed", func(f *connectors.Fields) { f.Supposed("") }, connectors.ErrUnmapped.Error()},
		{"money", func(f *connectors.Fields) { f.Money("$.a", &decimal.Decimal{Value: "x"}) }, "$.a is not a decimal number"},
		{"money in", func(f *connectors.Fields) { f.MoneyIn("$.a", &decimal.Decimal{Value: "x"}, "CZK") }, "$.a is not a decimal number"},
		{"currency", func(f *connectors.Fields) { f.Currency("$.c", "Kč") }, "$.c is not three capital letters, as ISO 4217 writes currencies"},
		{"time", func(f *connectors.Fields) { f.Time("$.t", "x") }, "$.t is not an ISO 8601 time"},
		{"date", func(f *connectors.Fields) { f.Date("$.t", "x") }, "$.t is not an ISO 8601 time"},
		{"millis", func(f *connectors.Fields) { f.Millis("$.t", &big) }, "$.t is out of range for a time"},
		{"fail", func(f *connectors.Fields) { f.Fail("$.v", "is %d", 7) }, "$.v is 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := connectors.NewFields(connectors.Source{Currency: "EUR", Zone: zone(t, "Europe/Prague")})
			if err := f.Err(); err != nil {
				t.Fatalf("nothing was read: %v", err)
			}
			tt.read(f)
			f.Supposed("")
			f.Fail("$.later", "is wrong too")
			if err := f.Err(); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestEach(t *testing.T) {
	f := connectors.NewFields(connectors.Source{})
	visited := 0
	read := func(path, id string) string {
		visited++
		return path + "=" + f.Need(path+".id", id)
	}
	got := connectors.Each(f, "$.items", []string{"a", "b"}, read)
	if diff := cmp.Diff([]string{"$.items[0]=a", "$.items[1]=b"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	visited = 0
	if got := connectors.Each(f, "$.items", []string{"a", "", "c", "d"}, read); got != nil || visited != 2 {
		t.Errorf("%d of 4 items read although the second is wrong; got %q", visited, got)
	}
	if err := f.Err(); err == nil || err.Error() != "$.items[1].id is missing" {
		t.Errorf("error %v", err)
	}
}

func TestFieldsKnowTheSource(t *testing.T) {
	f := connectors.NewFields(connectors.Source{Currency: "EUR", Zone: zone(t, "Europe/Prague")})
	cents := int64(150)
	for _, tt := range []struct {
		currency string
		got      *money.Money
	}{
		{"EUR", f.Money("$.a", &decimal.Decimal{Value: "1.5"})},
		{"EUR", f.MoneyIn("$.a", &decimal.Decimal{Value: "1.5"}, "")},
		{"CZK", f.MoneyIn("$.a", &decimal.Decimal{Value: "1.5"}, "CZK")},
		{"EUR", f.ScaledMoneyIn("$.a", &cents, 2, "")},
		{"CZK", f.ScaledMoneyIn("$.a", &cents, 2, "CZK")},
	} {
		want := &money.Money{CurrencyCode: tt.currency, Units: 1, Nanos: 500_000_000}
		if diff := cmp.Diff(want, tt.got, protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if got := f.Time("$.t", "2026-01-15T12:00:00").AsTime().Hour(); got != 11 {
		t.Errorf("noon in Prague is %d o'clock in UTC", got)
	}
	if err := f.Err(); err != nil {
		t.Error(err)
	}
}

func TestCurrency(t *testing.T) {
	f := connectors.NewFields(connectors.Source{Currency: "EUR"})
	for _, code := range []string{"", "CZK"} {
		if got := f.Currency("$.c", code); got != code || f.Err() != nil {
			t.Errorf("Currency(%q) = %q, error %v", code, got, f.Err())
		}
	}
}

func TestFieldsWantACurrency(t *testing.T) {
	cents := int64(0)
	const want = "$.a is an amount without a currency, and the source has none"
	for name, read := range map[string]func(f *connectors.Fields){
		"source":  func(f *connectors.Fields) { f.Money("$.a", &decimal.Decimal{Value: "0"}) },
		"decimal": func(f *connectors.Fields) { f.MoneyIn("$.a", &decimal.Decimal{Value: "0"}, "") },
		"scaled":  func(f *connectors.Fields) { f.ScaledMoneyIn("$.a", &cents, 2, "") },
	} {
		f := connectors.NewFields(connectors.Source{})
		f.MoneyIn("$.absent", nil, "")
		f.ScaledMoneyIn("$.absent", nil, 2, "")
		if err := f.Err(); err != nil {
			t.Errorf("%s: an absent amount needs no currency: %v", name, err)
		}
		read(f)
		if err := f.Err(); err == nil || err.Error() != want {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestFieldsCheckTheCurrency(t *testing.T) {
	cents := int64(0)
	const want = "$.a is an amount whose currency is not three capital letters, as ISO 4217 writes them"
	for _, code := range []string{"czk", "Kč", "CZ", "CZKK", " CZK", "C1K", "€"} {
		for name, read := range map[string]func(f *connectors.Fields){
			"decimal": func(f *connectors.Fields) { f.MoneyIn("$.a", &decimal.Decimal{Value: "0"}, code) },
			"scaled":  func(f *connectors.Fields) { f.ScaledMoneyIn("$.a", &cents, 2, code) },
		} {
			f := connectors.NewFields(connectors.Source{Currency: "EUR"})
			f.MoneyIn("$.absent", nil, code)
			f.ScaledMoneyIn("$.absent", nil, 2, code)
			if err := f.Err(); err != nil {
				t.Errorf("%s, %q: an absent amount has no currency: %v", name, code, err)
			}
			read(f)
			if err := f.Err(); err == nil || err.Error() != want {
				t.Errorf("%s, %q: error %v", name, code, err)
			}
		}
	}
}
