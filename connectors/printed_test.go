package connectors_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"

	"github.com/webhook-bridge/bridge/connectors"
)

// TestPrintedAmounts has amounts of one meaning.
func TestPrintedAmounts(t *testing.T) {
	for text, want := range map[string]string{
		// Between thousands a comma, a point, a space of any kind, or an apostrophe.
		"1,234.00": "1234.00", "1,234,567": "1234567", "1,234,567.5": "1234567.5", "1.234,50": "1234.50", "1.234.567": "1234567",
		"1.234.567,89": "1234567.89", "1 234,50": "1234.50", "1 234": "1234", "1\u00a0234,50": "1234.50", "1\u202f234.50": "1234.50",
		"1\u2009234\u00a0567": "1234567", "1'234.50": "1234.50", "1’234": "1234", "12,34,567.00": "1234567.00", "1,23,456": "123456",
		"1 234,567": "1234.567", "1,234.567": "1234.567", "1,234.": "1234",
		// A comma that can only be a decimal comma.
		"7,50": "7.50", "0,123": "0.123", "1234,567": "1234.567", "1,2345": "1.2345", ",50": "0.50", "-7,5": "-7.5",
		// JSON's and google.type.Decimal's own forms, as they are defined.
		"1.234": "1.234", "-1.234": "-1.234", "+5": "5", "1e3": "1000",
		// Negative amounts.
		"-$5.00": "-5.00", "$-5.00": "-5.00", "$ -5.00": "-5.00", "- $ 5.00": "-5.00", "5.00-": "-5.00", "5-": "-5", "(5.00)": "-5.00",
		"($5.00)": "-5.00", "$(5.00)": "-5.00", "(5,00 Kč)": "-5.00", "\u22125.00": "-5.00", "\u22125,00\u00a0Kč": "-5.00", "5.00 USD-": "-5.00",
		"–5.00": "-5.00", "(0.00)": "0.00",
		// Currencies.
		"$1,234.00": "1234.00", "+$5": "5", "USD 5.00": "5.00", "5.00 USD": "5.00", "USD5": "5", "$5.00 USD": "5.00", "US$ 5": "5", "5,00 Kč": "5.00",
		"5,00Kč": "5.00", "€1.234,50": "1234.50", "1.234,50 €": "1234.50", "Rp 1.234.567": "1234567", "Rp.50": "50", "Rp. 50,00": "50.00", "1 234 kr.": "1234",
		"S/ 5.00": "5.00", "$.50": "0.50", "€ ,50": "0.50", "$5.": "5", "5. Kč": "5", "￥500": "500", "zł 1 234,50": "1234.50", "1234.567 Kč": "1234.567",
		"R$ 1.234,50": "1234.50", " \u00a05,00 Kč\n": "5.00",
	} {
		if got, err := connectors.Plain(text); err != nil || got != want {
			t.Errorf("Plain(%q) = %q, %v; want %s", text, got, err, want)
		}
	}
}

// TestAmountsOfTwoMeanings has amounts that have two meanings unless one knows who wrote them.
func TestAmountsOfTwoMeanings(t *testing.T) {
	for _, text := range []string{
		"1,234", "-1,234", "12,345", "123,456", "$1,234", "1,234 Kč", "(1,234)", "€1.234", "1.234 €", "Rp 100.000", "(1.234)", "1.234-", "$ 1.234", "USD 12.345",
	} {
		got, err := connectors.Plain(text)
		if err == nil || !strings.Contains(err.Error(), "two meanings") || got != "" {
			t.Errorf("Plain(%q) = %q, %v", text, got, err)
		}
	}
}

func TestPrintedAmountsRefused(t *testing.T) {
	for _, text := range []string{
		"-", "$", "()", "Kč", "-$", ".", ",", "1,", "5,-", "5.-", "5.00+", "--5", "(-5)", "((5))", "-(5)", "-5-", "(5", "5)", "1,2,3", "1.2.3", "1,23.4", "12 34",
		"1 2345", "1234,567.00", "1,234.567.890", "1.234,567,890", "1 234'567", "0,123,456", "1,234 567", "1__000", "1_000", "5 %", "21%", "5 pcs", "usd 5", "5 x",
		"5.00 CR", "$5 each", "USD.50", "a.5", "..a", "./a", "a/5", "1/2", "1:30", "5 USD USD5", "١", "5.00\n6.00", "1\t234", "0x10", "NaN", "1e3 Kč", "$1e3",
	} {
		if got, err := connectors.Plain(text); err == nil {
			t.Errorf("Plain(%q) = %q", text, got)
		}
	}
}

func TestPrintedCurrency(t *testing.T) {
	for _, tt := range []struct{ text, webhook, source, want string }{
		{"$5.00", "", "USD", "USD"},
		{"$5.00", "MXN", "USD", "MXN"},
		{"$5.00 USD", "", "USD", "USD"},
		{"US$5.00", "", "USD", "USD"},
		{"5,00 Kč", "", "CZK", "CZK"},
		{"EUR 5", "", "EUR", "EUR"},
		{"kr 5", "", "NOK", "NOK"},
		{"5", "", "USD", "USD"},
		// The text has the only currency.
		{"5 EUR", "", "", "EUR"},
		{"5,00 Kč", "", "", "CZK"},
		// Contradictions, and no currency at all.
		{"€5.00", "", "USD", ""},
		{"€5.00", "USD", "EUR", ""},
		{"$5.00", "", "EUR", ""},
		{"EUR 5", "", "CZK", ""},
		{"$5 EUR", "", "EUR", ""},
		{"$5 CAD", "", "USD", ""},
		{"$5.00", "", "", ""},
		{"0 Kč", "", "EUR", ""},
	} {
		f := connectors.NewFields(connectors.Source{Currency: tt.source, Zone: time.UTC})
		got := f.MoneyIn("$.amount", &decimal.Decimal{Value: tt.text}, tt.webhook)
		if err := f.Err(); (err != nil) != (tt.want == "") || err == nil && got.GetCurrencyCode() != tt.want {
			t.Errorf("%q for a webhook in %q and a source in %q: %v, %v; want %q", tt.text, tt.webhook, tt.source, got, err, tt.want)
		}
	}
}
