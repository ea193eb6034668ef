package cli

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/type/money"

	eventv1 "github.com/webhook-bridge/bridge/gen/bridge/event/v1"
)

func TestMoneyText(t *testing.T) {
	for want, m := range map[string]*money.Money{
		"0.00 CZK":                   {CurrencyCode: "CZK"},
		"99.00 CZK":                  {CurrencyCode: "CZK", Units: 99},
		"3331.50 CZK":                {CurrencyCode: "CZK", Units: 3331, Nanos: 500_000_000},
		"-0.25 EUR":                  {CurrencyCode: "EUR", Nanos: -250_000_000},
		"-7.000000001 EUR":           {CurrencyCode: "EUR", Units: -7, Nanos: -1},
		"1.00":                       {Units: 1},
		"9223372036854775807.00 IDR": {CurrencyCode: "IDR", Units: 9223372036854775807},
	} {
		if got := moneyText(m); got != want {
			t.Errorf("%v is written %q, want %q", m, got, want)
		}
	}
}

// TestPrintedStaleEvent: an event that is stale says so, and no other does.
func TestPrintedStaleEvent(t *testing.T) {
	for _, stale := range []bool{false, true} {
		var b strings.Builder
		if err := printEvent(&b, styles{}, &eventv1.Event{Type: "order.changed", Subject: "order/1", Source: "till", Stale: stale}); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(b.String(), "  stale\n") != stale {
			t.Errorf("stale %v: %q", stale, b.String())
		}
	}
}

func TestPrintedEvents(t *testing.T) {
	e := &eventv1.Event{
		Type:    "customer.registered",
		Subject: "customer/1\x1b[2J",
		Source:  "loyalty",
		Data: &eventv1.Event_Customer{Customer: &eventv1.Customer{
			Id:         "1",
			Email:      "someone@example.com",
			Labels:     []*eventv1.Label{{Key: "a", Value: "allergic"}},
			Agreements: []*eventv1.Agreement{{Number: 1}, {Number: 2}, {Number: 3}, {Number: 4}},
		}},
	}
	var b strings.Builder
	if err := printEvent(&b, styles{}, e); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	for _, bad := range []string{"\x1b", "someone@example.com", "allergic"} {
		if strings.Contains(out, bad) {
			t.Errorf("the output holds %q:\n%s", bad, out)
		}
	}
	for _, good := range []string{"customer.registered", "email", "labels", "agreements[2].number", "and 1 more"} {
		if !strings.Contains(out, good) {
			t.Errorf("the output lacks %q:\n%s", good, out)
		}
	}
}
