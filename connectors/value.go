package connectors

import (
	"errors"
	"math/big"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxDecimal is the length of the longest decimal that Money looks at: 19 digits of units, 9 of nanos, a sign, a point, and
// ample room for zeros and an exponent.
const maxDecimal = 64

// errNotMoney is for text that is no number at all.
var errNotMoney = errors.New("is not a decimal number")

// Money makes exact money of a decimal such as "99.00" or "1e3". It returns nil for nil and for an empty value.
//
// Errors, all to be wrapped with the field's path: not a decimal; more than nine decimals that are not zero; more than
// 64 bits of whole units.
func Money(d *decimal.Decimal, currency string) (*money.Money, error) {
	s := strings.TrimSpace(d.GetValue())
	if s == "" {
		return nil, nil
	}
	units, nanos, err := parseDecimal(s)
	if err != nil {
		return nil, err
	}
	return &money.Money{CurrencyCode: currency, Units: units, Nanos: nanos}, nil
}

// ScaledMoney makes exact money of an integer that counts parts of a unit: digits is 2 for cents, 3 for thousandths. It
// returns nil for nil. digits must be between 0 and 9.
func ScaledMoney(v *int64, digits int, currency string) *money.Money {
	if v == nil {
		return nil
	}
	scale, nano := int64(1), int64(1_000_000_000)
	for range digits {
		scale *= 10
		nano /= 10
	}
	return &money.Money{CurrencyCode: currency, Units: *v / scale, Nanos: int32(*v % scale * nano)}
}

// SubtractMoney returns a less b, both of one currency; nil if either is nil or the result does not fit.
func SubtractMoney(a, b *money.Money) *money.Money {
	if a == nil || b == nil {
		return nil
	}
	return addNanos(a.GetCurrencyCode(), a, b, -1)
}

// AddMoney returns the sum of a and b, both of one currency; one of them if the other is nil, and nil if it does not fit.
func AddMoney(a, b *money.Money) *money.Money {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return addNanos(a.GetCurrencyCode(), a, b, 1)
}

func addNanos(currency string, a, b *money.Money, sign int64) *money.Money {
	giga := big.NewInt(1_000_000_000)
	total := func(m *money.Money) *big.Int {
		t := new(big.Int).Mul(big.NewInt(m.GetUnits()), giga)
		return t.Add(t, big.NewInt(int64(m.GetNanos())))
	}
	sum := total(b)
	sum.Add(total(a), sum.Mul(sum, big.NewInt(sign)))
	units, nanos := new(big.Int).QuoRem(sum, giga, new(big.Int))
	if !units.IsInt64() {
		return nil
	}
	return &money.Money{CurrencyCode: currency, Units: units.Int64(), Nanos: int32(nanos.Int64())}
}

// parseDecimal splits a decimal into whole units and nanos of the same sign.
func parseDecimal(s string) (units int64, nanos int32, err error) {
	if len(s) > maxDecimal {
		return 0, 0, errors.New("has too many digits for money")
	}
	digits, exponent, ok := scanDecimal(s)
	if !ok {
		return 0, 0, errNotMoney
	}
	n, _ := new(big.Int).SetString(digits, 10)
	if n.Sign() == 0 {
		return 0, 0, nil
	}
	if exponent > maxDecimal || exponent < -maxDecimal-9 {
		return 0, 0, errors.New("is out of range for money")
	}
	// In nanos: n × 10^(exponent+9).
	ten := big.NewInt(10)
	if shift := exponent + 9; shift >= 0 {
		n.Mul(n, new(big.Int).Exp(ten, big.NewInt(int64(shift)), nil))
	} else {
		var rest big.Int
		n.QuoRem(n, new(big.Int).Exp(ten, big.NewInt(int64(-shift)), nil), &rest)
		if rest.Sign() != 0 {
			return 0, 0, errors.New("has more than nine decimals")
		}
	}
	u, r := new(big.Int).QuoRem(n, big.NewInt(1_000_000_000), new(big.Int))
	if !u.IsInt64() {
		return 0, 0, errors.New("is out of range for money")
	}
	return u.Int64(), int32(r.Int64()), nil
}

// scanDecimal splits "-12.5e3" into "-125" and the power of ten to multiply it by, 2.
func scanDecimal(s string) (digits string, exponent int, ok bool) {
	mantissa, exp, hasExp := strings.Cut(strings.ToLower(s), "e")
	if hasExp {
		n, valid := new(big.Int).SetString(strings.TrimPrefix(exp, "+"), 10)
		if !valid || !n.IsInt64() || n.Int64() > 1000 || n.Int64() < -1000 || strings.HasPrefix(exp, "+-") {
			return "", 0, false
		}
		exponent = int(n.Int64())
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	sign := ""
	if rest, negative := strings.CutPrefix(whole, "-"); negative {
		sign, whole = "-", rest
	} else {
		whole = strings.TrimPrefix(whole, "+")
	}
	if whole+fraction == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return "", 0, false
	}
	return sign + whole + fraction, exponent - len(fraction), true
}

// Millis makes a time of milliseconds since 1970; nil for nil.
func Millis(ms *int64) *timestamppb.Timestamp {
	if ms == nil {
		return nil
	}
	return timestamppb.New(time.UnixMilli(*ms))
}

// timeLayouts are the forms of ISO 8601 that vendors use. Go reads decimals of seconds wherever a layout has none.
var timeLayouts = [...]string{
	time.RFC3339,
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006-01-02T15:04",
	time.DateOnly,
}

// Time reads an ISO 8601 time or date. One without zone is in zone; a date is the start of its day there. It returns nil
// for an empty text and for any time in the year 1, which .NET systems send for "not set".
func Time(s string, zone *time.Location) (*timestamppb.Timestamp, error) {
	t, err := parseTime(s, zone)
	if err != nil || t.IsZero() {
		return nil, err
	}
	return timestamppb.New(t), nil
}

// Date reads the day of an ISO 8601 time or date as it is written, whatever its zone. It returns nil for an empty text
// and for the year 1.
func Date(s string) (*date.Date, error) {
	t, err := parseTime(s, time.UTC)
	if err != nil || t.IsZero() {
		return nil, err
	}
	return &date.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}, nil
}

func parseTime(s string, zone *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range timeLayouts {
		t, err := time.ParseInLocation(layout, s, zone)
		if err != nil {
			continue
		}
		if t.Year() <= 1 {
			return time.Time{}, nil
		}
		return t, nil
	}
	return time.Time{}, errors.New("is not an ISO 8601 time")
}
