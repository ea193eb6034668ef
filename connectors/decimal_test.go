package connectors_test

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/decimal"

	"github.com/webhook-bridge/bridge/connectors"
)

func TestDecimal(t *testing.T) {
	for text, want := range map[string]string{
		"24.3150": "24.3150", "0.21000000000000002": "0.21000000000000002", "-1.50": "-1.50", "100.0": "100.0",
		// In plain form, which every parser takes.
		"1e3": "1000", "1E+3": "1000", "1.5e1": "15", "1.50e1": "15.0", "12e-3": "0.012", "1000e-3": "1.000", "+5": "5", "007": "7", ".5": "0.5",
		"5.": "5", "-0": "0", "-0.00": "0.00", "0e1000000000": "0", "0e-1000000000": "0", " 7 ": "7",
		// At the bounds.
		"9999999999999999999":         "9999999999999999999",
		"-9999999999999999999":        "-9999999999999999999",
		"1e18":                        "1" + strings.Repeat("0", 18),
		"1e-38":                       "0." + strings.Repeat("0", 37) + "1",
		"1e0000000001":                "10",
		"0.1e19":                      "1" + strings.Repeat("0", 18),
		"10000000000000000000000e-10": "1000000000000.0000000000",
		// As people print it.
		"1 234,50": "1234.50", "(5.00)": "-5.00",
	} {
		d := &decimal.Decimal{Value: text}
		if got, err := connectors.Decimal(d); err != nil || got.GetValue() != want {
			t.Errorf("Decimal(%q) = %v, %v; want %s", text, got, err, want)
		}
		if d.GetValue() != text {
			t.Errorf("Decimal(%q) changes its argument", text)
		}
	}
	for _, d := range []*decimal.Decimal{nil, {}, {Value: " "}} {
		if got, err := connectors.Decimal(d); got != nil || err != nil {
			t.Errorf("Decimal(%v) = %v, %v", d, got, err)
		}
	}
}

// TestDecimalIsBounded has the numbers that stop a consumer that expands them. None costs memory here either.
func TestDecimalIsBounded(t *testing.T) {
	const outOfRange, tooLong, decimals = "out of range", "too many digits", "more than 38 decimals"
	for text, want := range map[string]string{
		"1e1000000000": outOfRange, "-1E+1000000000": outOfRange, "1e19": outOfRange, "10000000000000000000": outOfRange, "0.1e20": outOfRange,
		"1e9223372036854775807": outOfRange, "1e99999999999999999999": outOfRange, "9e400": outOfRange,
		"1e-1000000000": decimals, "-1e-39": decimals, "1.5e-38": decimals, "1e-99999999999999999999": decimals,
		strings.Repeat("9", 5000): tooLong, "1." + strings.Repeat("0", 5000): tooLong, "1e" + strings.Repeat("0", 5000) + "1": tooLong,
		"NaN": "not a decimal", "Infinity": "not a decimal", "ten": "not a decimal", "1e": "not a decimal", "21 %": "not a decimal",
		"$5.00": "amount of money", "5 Kč": "amount of money",
		"1,234": "two meanings",
	} {
		f := connectors.NewFields(connectors.Source{Zone: time.UTC})
		got := f.Decimal("$.rate", &decimal.Decimal{Value: text})
		if err := f.Err(); err == nil || !strings.HasPrefix(err.Error(), "$.rate ") || !strings.Contains(err.Error(), want) || got != nil {
			t.Errorf("Decimal(%.40q) = %.40v, %v; want the error %q", text, got, err, want)
		}
	}
	allocated := testing.AllocsPerRun(100, func() {
		_, _ = connectors.Decimal(&decimal.Decimal{Value: "1e1000000000"})
		_, _ = connectors.Decimal(&decimal.Decimal{Value: "1e-1000000000"})
	})
	if allocated > 4 {
		t.Errorf("%v allocations for numbers out of range", allocated)
	}
}

var plain = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,38})?$`)

// FuzzPlain compares with rational numbers, which are exact.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"-0.5", "1e3", "12.5e-1", "1e1000000000", "$1,234.00", "(5.00)", "1 234,50", "5.00-", "1'234.5", "Kč.a", "5 S/."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := connectors.Plain(s)
		if err != nil || got == "" {
			return
		}
		if !plain.MatchString(got) {
			t.Fatalf("Plain(%q) = %q", s, got)
		}
		if again, err := connectors.Plain(got); err != nil || again != got {
			t.Fatalf("Plain(%q) = %q, %v", got, again, err)
		}
		mantissa, _, scaled := strings.Cut(strings.ToLower(s), "e")
		if want, ok := new(big.Rat).SetString(strings.TrimSpace(s)); ok && (!scaled || strings.ContainsAny(mantissa, "123456789")) {
			if r, _ := new(big.Rat).SetString(got); r.Cmp(want) != 0 {
				t.Errorf("Plain(%q) = %q", s, got)
			}
		}
	})
}
