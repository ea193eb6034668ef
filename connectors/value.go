package connectors

import (
	"strconv"

	"google.golang.org/genproto/googleapis/type/money"
)

// The errors of these functions continue a sentence that begins with the field's path:
//
//	connectors.Errorf("$.amount", "%v", err)

// pow10 are the powers of ten up to the number of nanos in a unit.
var pow10 = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// Digits returns v in decimal, as ids are printed; empty for nil.
func Digits(v *int64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatInt(*v, 10)
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
