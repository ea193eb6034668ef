package linga

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/type/decimal"

	"github.com/webhook-bridge/bridge/connectors"
	lingav1 "github.com/webhook-bridge/bridge/gen/webhooks/linga/v1"
)

// TestPrintedAmounts has amounts with the source's currency, which the testdata cannot have: the simulator's sources have others.
func TestPrintedAmounts(t *testing.T) {
	for text, want := range map[string]string{
		"$1,234.00": "1234.000000000", "1,234.00": "1234.000000000", "-$5.00": "-5.000000000", "($5.00)": "-5.000000000", "(5.00)": "-5.000000000",
		"1 234,50 USD": "1234.500000000", "US$ 7,50": "7.500000000", "5.00-": "-5.000000000", "$0": "0.000000000", "0": "0.000000000",
	} {
		m := &lingav1.Check{Id: new("c1"), GrossReceiptStr: new(text)}
		got, err := translate(connectors.Input{Source: newYork(t), Event: "close", Message: m})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if total := got.Events[0].GetOrder().GetTotal(); printed(total.GetUnits(), total.GetNanos()) != want || total.GetCurrencyCode() != "USD" {
			t.Errorf("%q is %v", text, total)
		}
	}
	for text, want := range map[string]string{
		"€5.00": "another currency", "5,00 Kč": "another currency", "$1,234": "two meanings", "1,234": "two meanings", "$12": "no decimal point",
		"12": "no decimal point", "about 12": "not a decimal", "1e1000000000": "out of range", "0.0000000001": "nine decimals",
	} {
		m := &lingav1.Check{Id: new("c1"), GrossReceiptStr: new(text)}
		_, err := translate(connectors.Input{Source: newYork(t), Event: "close", Message: m})
		if err == nil || !strings.HasPrefix(err.Error(), "$.grossReceiptStr ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// TestCentsBesideText: cents decide where the text does not, unless its currency is another one.
func TestCentsBesideText(t *testing.T) {
	for _, tt := range []struct{ cents, text, want, problem string }{
		{"1234", "$12.34", "12.340000000", ""},
		{"1234", "$12", "12.340000000", "drift"},
		{"1200", "$12", "12.000000000", ""},
		{"1200", "1200", "12.000000000", ""},
		{"123400", "$1,234", "1234.000000000", "drift"},
		{"1234", "n.a.", "12.340000000", "drift"},
		{"1200", "€12", "", "$.totalAmountStr names another currency than the webhook or the source"},
		{"1200", "€12.00", "", "$.totalAmountStr names another currency than the webhook or the source"},
		{"$12.34", "", "", "$.totalAmount is no whole number of cents"},
	} {
		m := &lingav1.Check{Id: new("c1"), TotalAmount: &decimal.Decimal{Value: tt.cents}, TotalAmountStr: new(tt.text)}
		got, err := translate(connectors.Input{Source: newYork(t), Event: "close", Message: m})
		if tt.want == "" {
			if err == nil || err.Error() != tt.problem {
				t.Errorf("%s beside %q: %v", tt.cents, tt.text, err)
			}
			continue
		}
		if err != nil || (len(got.Drift) > 0) != (tt.problem == "drift") {
			t.Errorf("%s beside %q: drift %v, error %v", tt.cents, tt.text, got.Drift, err)
			continue
		}
		if total := got.Events[0].GetOrder().GetTotal(); printed(total.GetUnits(), total.GetNanos()) != tt.want {
			t.Errorf("%s beside %q is %v", tt.cents, tt.text, total)
		}
	}
}

func printed(units int64, nanos int32) string {
	text := fmt.Sprintf("%d.%09d", max(units, -units), max(nanos, -nanos))
	if units < 0 || nanos < 0 {
		text = "-" + text
	}
	return text
}
