package connectors_test

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/webhook-bridge/bridge/connectors"
)

func TestMoney(t *testing.T) {
	for _, tt := range []struct {
		text  string
		units int64
		nanos int32
	}{
		{"0", 0, 0},
		{"-0", 0, 0},
		{"-0.000", 0, 0},
		{"0e999999999999999999999", 0, 0},
		{"99", 99, 0},
		{"99.00", 99, 0},
		{"+99.10", 99, 100_000_000},
		{" 1.5\n", 1, 500_000_000},
		{".5", 0, 500_000_000},
		{"5.", 5, 0},
		{"007.70", 7, 700_000_000},
		{"-0.5", 0, -500_000_000},
		{"-1.75", -1, -750_000_000},
		{"0.000000001", 0, 1},
		{"-0.000000001", 0, -1},
		{"0.0000000010000", 0, 1},
		{"0.123456789", 0, 123_456_789},
		{"1e3", 1000, 0},
		{"1E+3", 1000, 0},
		{"-1.5e1", -15, 0},
		{"12.5e-1", 1, 250_000_000},
		{"1e-9", 0, 1},
		{"123456789e-9", 0, 123_456_789},
		{"5e-1", 0, 500_000_000},
		{"1000000000000000000000e-21", 1, 0},
		{"0.00000000000000000001e20", 1, 0},
		{"9e18", 9e18, 0},
		{"9223372036854775807.999999999", math.MaxInt64, 999_999_999},
		{"-9223372036854775808.999999999", math.MinInt64, -999_999_999},
		{"9007199254740993", 9_007_199_254_740_993, 0},
		{"0000000000000000000000000000000000000000000000000000000000000001", 1, 0},
	} {
		got, err := connectors.Money(&decimal.Decimal{Value: tt.text}, "CZK")
		if err != nil {
			t.Errorf("Money(%q): %v", tt.text, err)
			continue
		}
		want := &money.Money{CurrencyCode: "CZK", Units: tt.units, Nanos: tt.nanos}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("Money(%q) (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestMoneyOfNothing(t *testing.T) {
	for _, d := range []*decimal.Decimal{nil, {}, {Value: " "}} {
		if got, err := connectors.Money(d, "CZK"); got != nil || err != nil {
			t.Errorf("Money(%v) = %v, %v", d, got, err)
		}
	}
}

func TestMoneyRefuses(t *testing.T) {
	const notDecimal, decimals, tooLarge, tooLong = "not a decimal", "nine decimals", "out of range", "too many digits"
	for text, want := range map[string]string{
		"0.0000000001":                    decimals,
		"-1.0000000001":                   decimals,
		"1e-10":                           decimals,
		"1e-99999999999999999":            decimals,
		"12345e-13":                       decimals,
		"9223372036854775808":             tooLarge,
		"-9223372036854775809":            tooLarge,
		"1e19":                            tooLarge,
		"0.1e20":                          tooLarge,
		"9.3e18":                          tooLarge,
		"1e999999999999999999":            tooLarge,
		strings.Repeat("9", 64):           tooLarge,
		strings.Repeat("0", 65):           tooLong,
		"1." + strings.Repeat("0", 1<<20): tooLong,
		".":                               notDecimal,
		"-":                               notDecimal,
		"+":                               notDecimal,
		"e":                               notDecimal,
		"e5":                              notDecimal,
		"1e":                              notDecimal,
		"1e+":                             notDecimal,
		"1e++5":                           notDecimal,
		"1e+-5":                           notDecimal,
		"1e5e5":                           notDecimal,
		"1e0x1":                           notDecimal,
		"1e1_0":                           notDecimal,
		"1e1.5":                           notDecimal,
		"--5":                             notDecimal,
		"-+5":                             notDecimal,
		"+-5":                             notDecimal,
		"1.2.3":                           notDecimal,
		"1_000":                           notDecimal,
		"0x10":                            notDecimal,
		"NaN":                             notDecimal,
		"Infinity":                        notDecimal,
		"١":                               notDecimal,
		"12\x00":                          notDecimal,
	} {
		got, err := connectors.Money(&decimal.Decimal{Value: text}, "CZK")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Money(%.80q) = %v, %v; want the error %q", text, got, err, want)
		}
	}
}

// FuzzMoney compares with rational numbers, which are exact.
func FuzzMoney(f *testing.F) {
	for _, s := range []string{"-0.5", "1e3", "12.5e-1", "9223372036854775807.999999999", "1e-10", "1000e-12", "+.5E+0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := connectors.Money(&decimal.Decimal{Value: s}, "")
		if err != nil || got == nil {
			return
		}
		// Zero is zero under any exponent, also under one that rational numbers do not take.
		if mantissa, _, scaled := strings.Cut(strings.ToLower(s), "e"); scaled && !strings.ContainsAny(mantissa, "123456789") {
			return
		}
		proper(t, got)
		want, ok := new(big.Rat).SetString(strings.TrimSpace(s))
		if !ok {
			return // printed: FuzzPlain
		}
		if nanos(got).Cmp(new(big.Rat).Mul(want, big.NewRat(1e9, 1))) != 0 {
			t.Errorf("%q is taken for %v", s, got)
		}
	})
}

// nanos is m in nanos of a unit.
func nanos(m *money.Money) *big.Rat {
	n := new(big.Int).Mul(big.NewInt(m.GetUnits()), big.NewInt(1e9))
	return new(big.Rat).SetInt(n.Add(n, big.NewInt(int64(m.GetNanos()))))
}

// proper checks what google.type.Money demands of units and nanos.
func proper(t *testing.T, m *money.Money) {
	t.Helper()
	n := m.GetNanos()
	if n <= -1e9 || n >= 1e9 || m.GetUnits() > 0 && n < 0 || m.GetUnits() < 0 && n > 0 {
		t.Errorf("units %d with nanos %d", m.GetUnits(), n)
	}
}

func TestScaledMoney(t *testing.T) {
	for _, tt := range []struct {
		v      int64
		digits int
		units  int64
		nanos  int32
	}{
		{0, 2, 0, 0},
		{7, 0, 7, 0},
		{50, 2, 0, 500_000_000},
		{-50, 2, 0, -500_000_000},
		{-151, 2, -1, -510_000_000},
		{3_331_000, 3, 3331, 0},
		{-1, 3, 0, -1_000_000},
		{-1, 9, 0, -1},
		{math.MaxInt64, 0, math.MaxInt64, 0},
		{math.MaxInt64, 3, 9_223_372_036_854_775, 807_000_000},
		{math.MinInt64, 9, -9_223_372_036, -854_775_808},
	} {
		got := connectors.ScaledMoney(&tt.v, tt.digits, "EUR")
		want := &money.Money{CurrencyCode: "EUR", Units: tt.units, Nanos: tt.nanos}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("ScaledMoney(%d, %d) (-want +got):\n%s", tt.v, tt.digits, diff)
		}
	}
	if got := connectors.ScaledMoney(nil, 2, "EUR"); got != nil {
		t.Errorf("ScaledMoney(nil) = %v", got)
	}
}

// TestMoneySums adds and subtracts all pairs of interesting amounts and compares with exact numbers.
func TestMoneySums(t *testing.T) {
	const limit = 1<<62 - 1
	var amounts []*money.Money
	for _, units := range []int64{math.MinInt64, -limit - 1, -limit, -2, -1, 0, 1, 2, limit, limit + 1, math.MaxInt64} {
		for _, n := range []int32{-999_999_999, -500_000_000, -1, 0, 1, 500_000_000, 999_999_999} {
			if units > 0 && n < 0 || units < 0 && n > 0 {
				continue
			}
			amounts = append(amounts, &money.Money{CurrencyCode: "CZK", Units: units, Nanos: n})
		}
	}
	check := func(op string, a, b, got *money.Money, want *big.Rat) {
		t.Helper()
		switch fits := max(a.GetUnits(), b.GetUnits()) <= limit && min(a.GetUnits(), b.GetUnits()) >= -limit; {
		case !fits && got != nil:
			t.Errorf("%v %s %v = %v, past the limit", a, op, b, got)
		case fits && (got == nil || nanos(got).Cmp(want) != 0):
			t.Errorf("%v %s %v = %v, want %v nanos", a, op, b, got, want)
		case fits:
			proper(t, got)
			if got.GetCurrencyCode() != "CZK" {
				t.Errorf("%v %s %v = %v", a, op, b, got)
			}
		}
	}
	for _, a := range amounts {
		for _, b := range amounts {
			check("+", a, b, connectors.AddMoney(a, b), new(big.Rat).Add(nanos(a), nanos(b)))
			check("-", a, b, connectors.SubtractMoney(a, b), new(big.Rat).Sub(nanos(a), nanos(b)))
		}
	}
}

func TestMoneySumsOfNothing(t *testing.T) {
	one := &money.Money{CurrencyCode: "CZK", Units: 1}
	if got := connectors.AddMoney(one, nil); got != one {
		t.Errorf("1 + nil = %v", got)
	}
	if got := connectors.AddMoney(nil, one); got != one {
		t.Errorf("nil + 1 = %v", got)
	}
	if got := connectors.AddMoney(nil, nil); got != nil {
		t.Errorf("nil + nil = %v", got)
	}
	if got := connectors.SubtractMoney(one, nil); got != nil {
		t.Errorf("1 - nil = %v", got)
	}
	if got := connectors.SubtractMoney(nil, one); got != nil {
		t.Errorf("nil - 1 = %v", got)
	}
}

func TestDigits(t *testing.T) {
	for v, want := range map[int64]string{0: "0", -1: "-1", 9_007_199_254_740_993: "9007199254740993", math.MinInt64: "-9223372036854775808"} {
		if got := connectors.Digits(&v); got != want {
			t.Errorf("Digits(%d) = %q", v, got)
		}
	}
	if got := connectors.Digits(nil); got != "" {
		t.Errorf("Digits(nil) = %q", got)
	}
}

func TestMillis(t *testing.T) {
	for ms, want := range map[int64]string{
		0:               "1970-01-01T00:00:00Z",
		-1:              "1969-12-31T23:59:59.999Z",
		1541274974010:   "2018-11-03T19:56:14.01Z",
		253402300799999: "9999-12-31T23:59:59.999Z",
	} {
		got, err := connectors.Millis(&ms)
		if err != nil || got.AsTime().Format(time.RFC3339Nano) != want {
			t.Errorf("Millis(%d) = %v, %v; want %s", ms, got, err, want)
		}
	}
	for _, ms := range []int64{253402300800000, -62135596800001, math.MaxInt64, math.MinInt64} {
		if got, err := connectors.Millis(&ms); err == nil {
			t.Errorf("Millis(%d) = %v", ms, got)
		}
	}
	if got, err := connectors.Millis(nil); got != nil || err != nil {
		t.Errorf("Millis(nil) = %v, %v", got, err)
	}
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestTime(t *testing.T) {
	for _, tt := range []struct{ text, zone, want string }{
		// Retino, both forms.
		{"2023-01-23T10:28:10.010Z", "Europe/Prague", "2023-01-23T10:28:10.01Z"},
		{"2023-04-04T09:00:19.249525+00:00", "Europe/Prague", "2023-04-04T09:00:19.249525Z"},
		// Open Loyalty, with and without a colon in the offset.
		{"2019-08-09T14:08:28+02:00", "UTC", "2019-08-09T12:08:28Z"},
		{"2019-08-09T14:08:28+0200", "UTC", "2019-08-09T12:08:28Z"},
		{"2019-08-09 14:08:28+02:00", "UTC", "2019-08-09T12:08:28Z"},
		// DealPOS: no zone, from none to seven decimals, or a date.
		{"2020-09-02T13:52:18", "Asia/Jakarta", "2020-09-02T06:52:18Z"},
		{"2020-09-02T13:52:18.3", "Asia/Jakarta", "2020-09-02T06:52:18.3Z"},
		{"2020-09-02T13:52:18.33", "Asia/Jakarta", "2020-09-02T06:52:18.33Z"},
		{"2020-09-02T13:52:18.330", "Asia/Jakarta", "2020-09-02T06:52:18.33Z"},
		{"2020-09-02T13:52:18.3301", "Asia/Jakarta", "2020-09-02T06:52:18.3301Z"},
		{"2020-09-02T13:52:18.33012", "Asia/Jakarta", "2020-09-02T06:52:18.33012Z"},
		{"2020-09-02T13:52:18.330123", "Asia/Jakarta", "2020-09-02T06:52:18.330123Z"},
		{"2021-08-20T10:28:56.6691072", "Asia/Jakarta", "2021-08-20T03:28:56.6691072Z"},
		{"2020-07-31", "Asia/Jakarta", "2020-07-30T17:00:00Z"},
		{"2020-09-02T13:52", "Asia/Jakarta", "2020-09-02T06:52:00Z"},
		{"2020-09-02 13:52:18", "Asia/Jakarta", "2020-09-02T06:52:18Z"},
		{"2020-09-02 13:52", "Asia/Jakarta", "2020-09-02T06:52:00Z"},
		{" 2020-09-02T13:52:18Z\n", "UTC", "2020-09-02T13:52:18Z"},
		// Nine decimals are what a timestamp holds.
		{"2020-09-02T13:52:18.123456789Z", "UTC", "2020-09-02T13:52:18.123456789Z"},
		// The zone's offset is that of the day.
		{"2026-01-15T12:00:00", "America/New_York", "2026-01-15T17:00:00Z"},
		{"2026-07-15T12:00:00", "America/New_York", "2026-07-15T16:00:00Z"},
		{"2024-02-29", "UTC", "2024-02-29T00:00:00Z"},
		{"0002-01-01T00:00:00", "UTC", "0002-01-01T00:00:00Z"},
		{"9998-12-31T23:59:59-12:00", "UTC", "9999-01-01T11:59:59Z"},
	} {
		got, err := connectors.Time(tt.text, zone(t, tt.zone))
		if err != nil || got.AsTime().Format(time.RFC3339Nano) != tt.want || !got.IsValid() {
			t.Errorf("Time(%q, %s) = %v, %v; want %s", tt.text, tt.zone, got.AsTime(), err, tt.want)
		}
	}
}

func TestTimeNotSet(t *testing.T) {
	for _, text := range []string{
		"", " ", "0001-01-01T00:00:00", "0001-01-01", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+07:00", "0001-01-01T00:00:00-07:00",
		"0000-00-00T00:00:00", "0000-01-01T00:00:00", "9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59-05:00", "9999-12-31",
	} {
		got, err := connectors.Time(text, zone(t, "America/New_York"))
		if text == "0000-00-00T00:00:00" {
			if err == nil {
				t.Errorf("Time(%q) = %v", text, got)
			}
			continue
		}
		if got != nil || err != nil {
			t.Errorf("Time(%q) = %v, %v", text, got, err)
		}
	}
}

func TestTimeRefuses(t *testing.T) {
	for _, text := range []string{
		"yesterday", "2020-02-30", "2023-02-29T00:00:00Z", "2020-13-01", "2020-01-01T25:00:00", "2020-01-01T00:60:00Z", "01-Sep-2026",
		"2020-01-01T00:00:00 Europe/Prague", "1541274974010", "2020-01-01T00:00:00Z and more", "12020-01-01T00:00:00Z", "20200101", "10:28:10",
		strings.Repeat("2020-01-01", 1000), "2020-01-01T00:00:00.Z", "\x00",
	} {
		if got, err := connectors.Time(text, time.UTC); err == nil {
			t.Errorf("Time(%.40q) = %v", text, got.AsTime())
		}
	}
}

func TestDate(t *testing.T) {
	for text, want := range map[string]*date.Date{
		"2018-07-22":                {Year: 2018, Month: 7, Day: 22},
		"2018-07-22T00:00:00":       {Year: 2018, Month: 7, Day: 22},
		"2018-07-22T23:30:00-05:00": {Year: 2018, Month: 7, Day: 22},
		"2018-07-22T00:30:00+07:00": {Year: 2018, Month: 7, Day: 22},
		"":                          nil,
		"0001-01-01T00:00:00":       nil,
		"9999-12-31T23:59:59":       nil,
	} {
		got, err := connectors.Date(text)
		if err != nil {
			t.Errorf("Date(%q): %v", text, err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("Date(%q) (-want +got):\n%s", text, diff)
		}
	}
	if got, err := connectors.Date("22.07.2018"); err == nil {
		t.Errorf("Date of no date = %v", got)
	}
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"2020-09-02T13:52:18.33", "9999-12-31T23:59:59-05:00", "0001-01-01", "2019-08-09 14:08:28+02:00"} {
		f.Add(s)
	}
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := connectors.Time(s, newYork); err == nil && got != nil && !got.IsValid() {
			t.Errorf("Time(%q) = %v", s, got)
		}
	})
}
