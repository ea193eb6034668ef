package connectors

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The errors of these functions continue a sentence that begins with the field's path:
//
//	connectors.Errorf("$.amount", "%v", err)

// maxDecimal bounds the text that Money looks at: 19 digits of units, 9 of nanos, and ample room for zeros, sign, point and
// exponent.
const maxDecimal = 64

var (
	errMoneyRange = errors.New("is out of range for money")
	errDecimals   = errors.New("has more than nine decimals")
	errTimeRange  = errors.New("is out of range for a time")
)

// pow10 are the powers of ten up to the number of nanos in a unit.
var pow10 = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// Digits returns v in decimal, as ids are printed; empty for nil.
func Digits(v *int64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatInt(*v, 10)
}

// Money makes exact money of a decimal such as "99.00" or "1e3". It returns nil for nil and for an empty value.
//
// Errors: not a decimal; more than nine decimals that are not zero; more than 64 bits of whole units.
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
// returns nil for nil. It panics unless digits is between 0 and 9.
func ScaledMoney(v *int64, digits int, currency string) *money.Money {
	if v == nil {
		return nil
	}
	scale, nano := pow10[digits], pow10[9-digits]
	return &money.Money{CurrencyCode: currency, Units: *v / scale, Nanos: int32(*v % scale * nano)}
}

// maxTerm bounds the units of a term, so that no sum of two overflows.
const maxTerm = 1<<62 - 1

// AddMoney returns the sum of a and b, both of one currency; one of them if the other is nil, and nil if either has more
// than 2^62 units.
func AddMoney(a, b *money.Money) *money.Money {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return sum(a, b, 1)
}

// SubtractMoney returns a less b, both of one currency; nil if either is nil or has more than 2^62 units.
func SubtractMoney(a, b *money.Money) *money.Money {
	if a == nil || b == nil {
		return nil
	}
	return sum(a, b, -1)
}

// sum returns a + sign × b, its nanos below one unit and of the sign of its units.
func sum(a, b *money.Money, sign int64) *money.Money {
	if max(a.GetUnits(), b.GetUnits()) > maxTerm || min(a.GetUnits(), b.GetUnits()) < -maxTerm {
		return nil
	}
	units := a.GetUnits() + sign*b.GetUnits()
	nanos := int64(a.GetNanos()) + sign*int64(b.GetNanos())
	units, nanos = units+nanos/pow10[9], nanos%pow10[9]
	switch {
	case units > 0 && nanos < 0:
		units, nanos = units-1, nanos+pow10[9]
	case units < 0 && nanos > 0:
		units, nanos = units+1, nanos-pow10[9]
	}
	return &money.Money{CurrencyCode: a.GetCurrencyCode(), Units: units, Nanos: int32(nanos)}
}

// parseDecimal splits a decimal into whole units and nanos of the same sign.
func parseDecimal(s string) (units int64, nanos int32, err error) {
	if len(s) > maxDecimal {
		return 0, 0, errors.New("has too many digits for money")
	}
	sign, digits, exponent, ok := scanDecimal(s)
	switch {
	case !ok:
		return 0, 0, errors.New("is not a decimal number")
	case strings.Trim(digits, "0") == "":
		return 0, 0, nil
	case exponent >= 19:
		return 0, 0, errMoneyRange
	case exponent < -2*maxDecimal:
		return 0, 0, errDecimals
	case exponent >= 0:
		digits += strings.Repeat("0", exponent)
		exponent = 0
	}
	// A digit before the point at least, and -exponent of them after it.
	digits = strings.Repeat("0", max(0, 1-exponent-len(digits))) + digits
	point := len(digits) + exponent
	fraction := strings.TrimRight(digits[point:], "0")
	if len(fraction) > 9 {
		return 0, 0, errDecimals
	}
	if units, err = strconv.ParseInt(sign+digits[:point], 10, 64); err != nil {
		return 0, 0, errMoneyRange
	}
	n, err := strconv.ParseInt(sign+(fraction + "000000000")[:9], 10, 32)
	return units, int32(n), err
}

// scanDecimal splits "-12.5e3" into "-", "125" and the power of ten to multiply by, 2.
func scanDecimal(s string) (sign, digits string, exponent int, ok bool) {
	if s[0] == '-' || s[0] == '+' {
		sign, s = s[:1], s[1:]
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		n, err := strconv.Atoi(s[i+1:])
		if errors.Is(err, strconv.ErrSyntax) {
			return "", "", 0, false
		}
		// An exponent that is no int became the nearest one; this leaves room for the subtraction below.
		exponent, s = min(max(n, -1e6), 1e6), s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	digits = whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", "", 0, false
	}
	return sign, digits, exponent - len(fraction), true
}

// Millis makes a time of milliseconds since 1970; nil for nil. The error is for times that no timestamp holds.
func Millis(ms *int64) (*timestamppb.Timestamp, error) {
	if ms == nil {
		return nil, nil
	}
	return timestamp(time.UnixMilli(*ms))
}

func timestamp(t time.Time) (*timestamppb.Timestamp, error) {
	ts := timestamppb.New(t)
	if ts.CheckValid() != nil {
		return nil, errTimeRange
	}
	return ts, nil
}

// timeLayouts are the forms of ISO 8601 that vendors use. Go reads decimals of seconds wherever a layout has none.
var timeLayouts = [...]string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	time.DateOnly,
	"2006-01-02 15:04:05",
	"2006-01-02T15:04",
	"2006-01-02 15:04",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02 15:04:05Z07:00",
}

// Time reads an ISO 8601 time or date. One without zone is in zone; a date is the start of its day there. A time that the
// zone's clocks skipped, or showed twice, has one of the two offsets. Time returns nil for an empty text
// and for any time in the years 1 and 9999, which .NET systems send for "not set" and "never".
func Time(s string, zone *time.Location) (*timestamppb.Timestamp, error) {
	t, err := parseTime(s, zone)
	if err != nil || t.IsZero() {
		return nil, err
	}
	return timestamp(t)
}

// Date reads the day of an ISO 8601 time or date as it is written, without regard to its zone. It returns nil where [Time] does.
func Date(s string) (*date.Date, error) {
	t, err := parseTime(s, time.UTC)
	if err != nil || t.IsZero() {
		return nil, err
	}
	return &date.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}, nil
}

// parseTime returns the zero time for a time that is not set.
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
		if t.Year() <= 1 || t.Year() >= 9999 {
			return time.Time{}, nil
		}
		return t, nil
	}
	return time.Time{}, errors.New("is not an ISO 8601 time")
}
